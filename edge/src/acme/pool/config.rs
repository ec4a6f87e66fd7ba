//! The signers as an operator writes them.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{profile::ProfileName, public_key::KeyKind};

/// The greatest weight.
const MAX_WEIGHT: u8 = 100;

/// The most places that one signer is preferred at.
const MAX_COLOS: usize = 100;

/// One signer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerConfig {
    /// The service binding that presents our client certificate.
    pub binding: String,
    /// The URL to fetch through it: `https://host[:port]`, no trailing slash.
    pub url: String,
    /// 1 to 100: what is expected to take so many times as long as at another one is taken for the same.
    #[serde(default = "SignerConfig::usual_weight")]
    pub weight: u8,
    /// Where it is preferred: names of the platform's places (IATA codes). Without any it is as good everywhere.
    #[serde(default)]
    pub colos: BTreeSet<String>,
    /// True: it is taken only when no other can be used.
    #[serde(default)]
    pub last_resort: bool,
    /// True: it gets no new orders, but is asked about what it has.
    #[serde(default)]
    pub drain: bool,
    /// The profiles that it issues by; all where it is left out.
    #[serde(default)]
    pub profiles: Option<BTreeSet<ProfileName>>,
    /// The kinds of keys that it certifies; all where it is left out.
    #[serde(default)]
    pub keys: Option<BTreeSet<KeyName>>,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyName {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of any size that is taken at all.
    Rsa,
}

/// Why the signers are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSigners {
    /// There is none, or a binding stands twice.
    #[error("at least one, each binding once")]
    Bindings,
    /// No signer would get orders.
    #[error("every one has drain = true: no certificate could be issued")]
    Drained,
    /// A weight is out of its bounds.
    #[error("{0}: weight: 1 to 100")]
    Weight(String),
    /// A place is no IATA code, or there are too many.
    #[error("{0}: colos: at most 100 places, each of three capital letters")]
    Colos(String),
    /// A profile that the configuration does not have, or an empty list of profiles or keys.
    #[error("{0}: profiles and keys: at least one each; profiles are those of the configuration")]
    Serves(String),
    /// A profile that no signer issues by.
    #[error("profiles.{0}: no signer issues by it")]
    Unserved(String),
}

impl SignerConfig {
    const fn usual_weight() -> u8 {
        1
    }

    /// True when it may get an order of this profile and kind of key.
    #[must_use]
    pub fn serves(&self, profile: &ProfileName, key: KeyKind) -> bool {
        let name = match key {
            KeyKind::P256 => KeyName::P256,
            KeyKind::P384 => KeyName::P384,
            KeyKind::Rsa(_) => KeyName::Rsa,
        };
        self.issues_by(profile) && self.keys.as_ref().is_none_or(|keys| keys.contains(&name))
    }

    fn issues_by(&self, profile: &ProfileName) -> bool {
        self.profiles.as_ref().is_none_or(|profiles| profiles.contains(profile))
    }

    fn check<'a>(&self, profiles: impl Iterator<Item = &'a ProfileName> + Clone) -> Result<(), BadSigners> {
        let code = |colo: &String| colo.len() == 3 && colo.bytes().all(|byte| byte.is_ascii_uppercase());
        if !(1..=MAX_WEIGHT).contains(&self.weight) {
            return Err(BadSigners::Weight(self.binding.clone()));
        }
        if self.colos.len() > MAX_COLOS || !self.colos.iter().all(code) {
            return Err(BadSigners::Colos(self.binding.clone()));
        }
        let known = |name: &ProfileName| profiles.clone().any(|profile| profile == name);
        let named = self.profiles.as_ref().is_none_or(|named| !named.is_empty() && named.iter().all(known));
        if named && self.keys.as_ref().is_none_or(|keys| !keys.is_empty()) {
            Ok(())
        } else {
            Err(BadSigners::Serves(self.binding.clone()))
        }
    }
}

/// Checks all signers; their URLs are checked with the others of the configuration.
///
/// # Errors
/// What is wrong, with the binding.
pub fn check<'a>(
    signers: &[SignerConfig],
    profiles: impl Iterator<Item = &'a ProfileName> + Clone,
) -> Result<(), BadSigners> {
    let bindings: BTreeSet<_> = signers.iter().map(|signer| &signer.binding).collect();
    if signers.is_empty() || bindings.len() != signers.len() {
        return Err(BadSigners::Bindings);
    }
    if signers.iter().all(|signer| signer.drain) {
        return Err(BadSigners::Drained);
    }
    signers.iter().try_for_each(|signer| signer.check(profiles.clone()))?;
    match profiles.clone().find(|profile| !signers.iter().any(|signer| signer.issues_by(profile))) {
        Some(profile) => Err(BadSigners::Unserved(profile.to_string())),
        None => Ok(()),
    }
}
