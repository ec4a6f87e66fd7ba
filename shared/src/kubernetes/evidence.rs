//! What a client presented for kubernetes-01, on its way from the edge to a signer.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{base64url, jwk::Thumbprint};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8192;

/// A ServiceAccount token as text. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceAccountToken(String);

/// A token, and the challenge that it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEvidence {
    /// The challenge's `token` (RFC 8555 §8).
    pub challenge: String,
    /// What was presented for it.
    pub token: ServiceAccountToken,
}

impl TokenEvidence {
    /// What a bound audience ends in: base64url of SHA-256 of the key authorization (RFC 8555 §8.1) of this account's key.
    #[must_use]
    pub fn digest(&self, account_key: Thumbprint) -> String {
        base64url::encode(&Sha256::digest(format!("{}.{account_key}", self.challenge)))
    }
}

impl ServiceAccountToken {
    /// The text, for the one who checks it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for ServiceAccountToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for ServiceAccountToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountToken(..)")
    }
}
