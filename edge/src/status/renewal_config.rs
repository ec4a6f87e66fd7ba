//! When clients are told to renew: the key `renewal` of the configuration.

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use shared::{base64url::Base64Url, timestamp::Timestamp};

use crate::acme::rate_limit::Rate;

/// The configuration as an operator writes it; all of it can be left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalConfig {
    /// False: the directory has no `renewalInfo`, and nothing is placed.
    pub offered: bool,
    /// Clients ask again after so many seconds, 60 to 86400, a little sooner or after a quarter of the certificate's life.
    pub retry_after_seconds: u64,
    /// No window begins before so many hundredths of the certificate's life.
    pub earliest_percent: u64,
    /// No window ends after so many hundredths of the certificate's life.
    pub latest_percent: u64,
    /// URL of a page that says why a window is another one than it was (RFC 9773 §4.2).
    pub explanation_url: Option<String>,
    /// Issuers whose certificates are to be replaced ahead of their time.
    pub pull_forward: Vec<PullForward>,
}

/// An issuer that is drained, or was lost: its certificates are renewed from now on, so many at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullForward {
    /// Its subject key identifier.
    pub issuer: KeyIdentifier,
    /// When that begins.
    pub since: Timestamp,
    /// How fast: what the other issuers can carry beside their own.
    pub rate: Rate,
}

/// A key identifier; as text hex, as OpenSSL prints it with or without its colons.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyIdentifier(pub Base64Url);

impl TryFrom<String> for KeyIdentifier {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.replace(':', "").as_bytes()).unwrap_or_default();
        if bytes.is_empty() { Err("not a key identifier in hex") } else { Ok(Self(Base64Url(bytes))) }
    }
}

impl Default for RenewalConfig {
    fn default() -> Self {
        Self {
            offered: true,
            retry_after_seconds: 21_600,
            earliest_percent: 50,
            latest_percent: 83,
            explanation_url: None,
            pull_forward: Vec::new(),
        }
    }
}

impl RenewalConfig {
    /// The key that cannot be served, and what it must be; nothing when all can.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let (first, last) = (self.earliest_percent, self.latest_percent);
        if !(60..=86_400).contains(&self.retry_after_seconds) {
            Some("retry_after_seconds: 60 to 86400")
        } else if first == 0 || first >= last || last > 95 {
            Some("earliest_percent and latest_percent: 1 to 95, the first below the second")
        } else if self.pull_forward.iter().any(|pull| pull.rate.count == 0 || pull.rate.seconds == 0) {
            Some("pull_forward: a rate must not be zero")
        } else {
            None
        }
    }
}
