//! What a client presents when it answers a kubernetes-01 challenge.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use shared::{
    jws::Verified,
    kubernetes::evidence::{MAX_TOKEN, ServiceAccountToken},
};

use crate::acme::{
    authorization,
    challenge::{ChallengeType, dns_value},
    object_id::ObjectId,
    problem::Problem,
    record::{AuthorizationRecord, AuthorizationState},
    step::{Context, payload},
    storage::{Change, StorageFault},
};

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
        (Some(token), _) if is_token(&token) => Proof::Token(token.into()),
        (None, Some(address)) if context.scope.kubernetes.by_address().is_some() => {
            Proof::Address(address.to_canonical())
        }
        _ => return Err(Problem::Payload(EXPECTED)),
    };
    Ok(Some(Presented { proof, digest: dns_value(&record.token, request.signer()) }))
}

/// The token that a challenge under way was answered with.
#[must_use]
pub fn token(state: &AuthorizationState) -> Option<ServiceAccountToken> {
    let AuthorizationState::Processing(probing) = state else { return None };
    match &probing.presented.as_ref()?.proof {
        Proof::Token(token) => Some(token.clone()),
        Proof::Address(_) => None,
    }
}

/// Forgets the token that proved an authorization. True when there was one.
pub fn forget(state: &mut AuthorizationState) -> bool {
    match state {
        AuthorizationState::Valid { evidence, .. } => evidence.take().is_some(),
        _ => false,
    }
}

/// An order was finalized by these authorizations: what they hold for its signer alone is not needed any more, unless another
/// order may rely on it.
///
/// # Errors
/// Never: an authorization can be serialized.
pub fn used(
    ids: &[ObjectId],
    records: Vec<AuthorizationRecord>,
    context: &Context<'_>,
) -> Result<Vec<Change>, StorageFault> {
    let mut changes = Vec::new();
    for (id, mut record) in ids.iter().zip(records) {
        let is_shared = record.in_advance || context.config.lifetimes.authorization_reuse > 0;
        if !is_shared && forget(&mut record.state) {
            changes.push(authorization::put(*id, &record, context)?);
        }
    }
    Ok(changes)
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
