//! Challenges: what a client must show, and the judgement of what was seen (RFC 8555 §8). Pure: the evidence comes in as a value.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{base64url, identifier::Identifier, jwk::Thumbprint};
use subtle::ConstantTimeEq;

use super::{
    object_id::ObjectId,
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome},
    problem::ProblemDocument,
    record::AuthorizationRecord,
    step::Context,
    tls_alpn,
};

/// The ways to prove an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChallengeType {
    /// RFC 8555 §8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8555 §8.4.
    #[serde(rename = "dns-01")]
    Dns01,
    /// RFC 8737 §3, RFC 8738 §6.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl ChallengeType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Http01, Self::Dns01, Self::TlsAlpn01];

    /// The registered name (RFC 8555 §9.7.8).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    /// By its registered name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The types that can prove this identifier: a wildcard only by DNS (RFC 8555 §7.1.3, §8.3, RFC 8737 §3), an address
    /// never by it (RFC 8738 §7).
    pub fn offered(identifier: &Identifier, wildcard: bool) -> impl Iterator<Item = Self> {
        let is_dns = matches!(identifier, Identifier::Dns(_));
        Self::ALL.into_iter().filter(move |kind| if *kind == Self::Dns01 { is_dns } else { !wildcard })
    }
}

/// What http-01 must find: token, dot, thumbprint of the account's key (RFC 8555 §8.1).
#[must_use]
pub fn key_authorization(token: &str, account_key: Thumbprint) -> String {
    format!("{token}.{account_key}")
}

/// What dns-01 must find: base64url of SHA-256 of the key authorization (RFC 8555 §8.4).
#[must_use]
pub fn dns_value(token: &str, account_key: Thumbprint) -> String {
    base64url::encode(&Sha256::digest(key_authorization(token, account_key)))
}

/// Judges what a probe came back with. The problem names the identifier and what was expected, and never repeats a body: a
/// body could be of a host that the client may not read.
///
/// # Errors
/// The problem to store with the challenge.
pub fn judge(
    record: &AuthorizationRecord,
    challenge: ChallengeType,
    account_key: Thumbprint,
    outcome: &ProbeOutcome,
) -> Result<(), Box<ProblemDocument>> {
    let refuse = |kind, detail: String| {
        Err(Box::new(ProblemDocument::new(kind, Some(403), detail).about(record.identifier.clone().into())))
    };
    let same = |seen: &[u8], expected: &str| bool::from(seen.ct_eq(expected.as_bytes()));
    match (challenge, outcome) {
        (ChallengeType::Http01, Ok(Evidence::Http { status: 200, body })) => {
            // Trailing white space is ignored (RFC 8555 §8.3).
            if same(body.trim_ascii_end(), &key_authorization(&record.token, account_key)) {
                Ok(())
            } else {
                refuse(
                    "incorrectResponse",
                    "The answer's body is not the key authorization of this account.".to_owned(),
                )
            }
        }
        (ChallengeType::Http01, Ok(Evidence::Http { status, .. })) => {
            refuse("incorrectResponse", format!("The answer has the status {status}, not 200."))
        }
        (ChallengeType::Dns01, Ok(Evidence::Txt(records))) => {
            let expected = dns_value(&record.token, account_key);
            if records.iter().any(|seen| same(seen, &expected)) {
                Ok(())
            } else {
                let number = records.len();
                refuse(
                    "incorrectResponse",
                    format!("None of the {number} TXT records at _acme-challenge has the expected value."),
                )
            }
        }
        (ChallengeType::TlsAlpn01, Ok(Evidence::Tls(handshake))) => {
            let expected = key_authorization(&record.token, account_key);
            tls_alpn::check(handshake, &record.identifier, &expected)
                .or_else(|mismatch| refuse("incorrectResponse", format!("The handshake proves nothing: {mismatch}.")))
        }
        (_, Ok(_)) => refuse("serverInternal", "The evidence is not of this challenge's kind.".to_owned()),
        (_, Err(fault)) => refuse(fault_kind(*fault), format!("Looking at the challenge failed: {fault}.")),
    }
}

/// The probe that this challenge needs.
#[must_use]
pub fn probe(id: ObjectId, record: &AuthorizationRecord, challenge: ChallengeType, context: &Context<'_>) -> Probe {
    Probe {
        authorization: id,
        challenge,
        identifier: record.identifier.clone(),
        token: record.token.clone(),
        scope: context.scope.name.clone(),
    }
}

/// RFC 8555 §6.7.
const fn fault_kind(fault: ProbeFault) -> &'static str {
    match fault {
        ProbeFault::NoSuchName
        | ProbeFault::NoRecords
        | ProbeFault::DnsUnreachable
        | ProbeFault::DnsFailure(_)
        | ProbeFault::DnsMalformed => "dns",
        ProbeFault::Refused | ProbeFault::Connection | ProbeFault::Timeout => "connection",
        ProbeFault::NoPerspective => "serverInternal",
        ProbeFault::NotTls | ProbeFault::TlsIncompatible | ProbeFault::TlsProtocol | ProbeFault::Tls => "tls",
        ProbeFault::NotHttp | ProbeFault::TooManyRedirects | ProbeFault::BadRedirect => "incorrectResponse",
    }
}
