//! External account bindings (RFC 8555 §7.3.4) as the edge has them: it reads their form, asks a signer whether they are right, and
//! keeps what the signer gave for them. Their keys are the signer's: see [`shared::grant`].

use serde::{Deserialize, Serialize};
pub use shared::external_account::{BadBinding, BindingClaim, MacAlgorithm};
use shared::{
    grant::{Bound, GrantToken},
    jws::Flattened,
    signing::{Grant, Refusal},
    timestamp::Timestamp,
};

use super::{pool::config::SignerConfig, problem::Problem, record::AccountRecord};

/// Whether accounts need a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingPolicy {
    /// Bindings are ignored, and never shown with an account.
    #[default]
    Off,
    /// A binding that is there must be right.
    Optional,
    /// No account without one.
    Required,
}

/// A binding that a signer found right, as it is stored with its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which of the operator's keys.
    pub key_id: String,
    /// What the client sent, to be shown with the account.
    pub proof: Flattened,
    /// What the signer gave for it; nothing in accounts that were bound before signers gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<HeldGrant>,
}

/// A signer's grant for the account's current key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldGrant {
    /// What the signer is shown.
    pub token: GrantToken,
    /// From then on the next finalize has it renewed first.
    pub renew_after: Timestamp,
    /// After this it is worth nothing.
    pub expires: Timestamp,
}

impl Binding {
    /// The claim that a signer found right, with what it gave.
    #[must_use]
    pub fn new(claim: BindingClaim, grant: HeldGrant) -> Self {
        Self { key_id: claim.key_id().to_owned(), proof: claim.proof().clone(), grant: Some(grant) }
    }
}

impl From<Bound> for HeldGrant {
    fn from(bound: Bound) -> Self {
        Self { token: bound.token, renew_after: bound.renew_after, expires: bound.expires }
    }
}

impl AccountRecord {
    /// Its binding and the grant that it holds.
    #[must_use]
    pub fn bound(&self) -> Option<(&Binding, &HeldGrant)> {
        let binding = self.binding.as_ref()?;
        Some((binding, binding.grant.as_ref()?))
    }

    /// The same account with another grant, where it has a binding.
    #[must_use]
    pub fn with_grant(mut self, grant: Option<HeldGrant>) -> Self {
        if let (Some(binding), Some(grant)) = (&mut self.binding, grant) {
            binding.grant = Some(grant);
        }
        self
    }
}

/// What gives the account its rights at the signer.
#[must_use]
pub fn grant_of(token: Option<&GrantToken>) -> Grant {
    token.map_or(Grant::Open, |token| Grant::Bound(token.clone()))
}

/// All signers, the one first that counts the accounts of this binding: a fixed function of its key id.
pub fn signers<'a>(signers: &'a [SignerConfig], key_id: &str) -> impl Iterator<Item = &'a SignerConfig> {
    let number = key_id.bytes().fold(0_usize, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
    let first = number.checked_rem(signers.len()).unwrap_or_default();
    signers.iter().cycle().skip(first).take(signers.len())
}

/// What a client is told when a signer refuses to bind its account.
#[must_use]
pub const fn refusal(reason: Refusal) -> Problem {
    match reason {
        // Which of both a stranger need not learn.
        Refusal::BadBinding | Refusal::UnknownBinding => Problem::Binding(BadBinding::Mac),
        Refusal::BindingUsed => Problem::Unauthorized(
            "This external account binding has as many accounts as it may have. Get another one from the operator.",
        ),
        Refusal::BadGrant | Refusal::GrantExpired => Problem::Unauthorized(
            "The account's external account binding was revoked or has expired. Get another one from the operator.",
        ),
        _ => Problem::Internal("a signer refuses to bind"),
    }
}
