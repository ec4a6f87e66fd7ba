//! What a client presents when it answers a kubernetes-01 challenge.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use shared::jws::Verified;

use crate::acme::{
    challenge::{ChallengeType, dns_value},
    problem::Problem,
    record::AuthorizationRecord,
    step::{Context, payload},
};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 8192;

/// A token as text. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceAccountToken(String);

/// What is to be checked. Stored only while the challenge is `processing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presented {
    /// The workload's proof.
    pub proof: Proof,
    /// base64url of SHA-256 of the key authorization, by the key that signed the answer: what a bound audience ends in.
    pub digest: String,
}

/// The workload's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The token that its cluster gave it.
    Token(ServiceAccountToken),
    /// Nothing but the address that its request came from.
    Address(IpAddr),
}

/// Reads the answer to a challenge; nothing for the types whose answer is an empty object.
///
/// # Errors
/// `malformed` without a token where the address does not do, and for one that is overlong or has another character than a
/// token has.
pub fn read(
    kind: ChallengeType,
    request: &Verified,
    record: &AuthorizationRecord,
    context: &Context<'_>,
) -> Result<Option<Presented>, Problem> {
    const EXPECTED: &str = "an object with \"token\": a projected ServiceAccount token of at most 8192 bytes";
    if kind != ChallengeType::Kubernetes01 {
        return Ok(None);
    }
    let answer: Answer = payload(request, EXPECTED)?;
    let proof = match (answer.token, context.client) {
        (Some(token), _) if is_token(&token) => Proof::Token(ServiceAccountToken(token)),
        (None, Some(address)) if context.scope.kubernetes.by_address().is_some() => {
            Proof::Address(address.to_canonical())
        }
        _ => return Err(Problem::Payload(EXPECTED)),
    };
    Ok(Some(Presented { proof, digest: dns_value(&record.token, request.signer()) }))
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

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(allowed)
}

/// The payload of the answer. Other members are ignored (RFC 8555 §7.5.1).
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
}
