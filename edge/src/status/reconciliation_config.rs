//! What becomes of certificates that nobody has: the key `reconciliation` of the configuration.

use serde::Deserialize;

/// The configuration as an operator writes it; all of it can be left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReconciliationConfig {
    /// True: signers are asked to revoke those that can be revoked. False: they are only shown.
    pub disown: bool,
    /// A certificate is called undelivered no sooner than so many seconds after it was first looked at: 1 to 86400.
    pub grace_seconds: u64,
    /// Seconds between two looks at each signer's journal: 1 to 3600.
    pub interval_seconds: u64,
}

impl Default for ReconciliationConfig {
    fn default() -> Self {
        Self { disown: true, grace_seconds: 600, interval_seconds: 60 }
    }
}

impl ReconciliationConfig {
    /// The key that cannot be served, and what it must be; nothing when all can.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if !(1..=86_400).contains(&self.grace_seconds) {
            Some("grace_seconds: 1 to 86400")
        } else if !(1..=3600).contains(&self.interval_seconds) {
            Some("interval_seconds: 1 to 3600")
        } else {
            None
        }
    }
}
