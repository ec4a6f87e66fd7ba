//! Challenges: what a client must show, and the judgement of what was seen (RFC 8555 §8). Pure: the evidence comes in as a value.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{base64url, identifier::Identifier, jwk::Thumbprint, timestamp::Timestamp};
use subtle::ConstantTimeEq;

use super::{
    dns::{DnsFault, Question},
    dns_account,
    dns_persist::{self, NotPersistent},
    found,
    kubernetes::{judgement, presented::Presented, refusal::Refusal},
    object_id::ObjectId,
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome},
    problem::ProblemDocument,
    record::{AuthorizationRecord, AuthorizationState},
    route::Resource,
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
    /// draft-ietf-acme-dns-account-label.
    #[serde(rename = "dns-account-01")]
    DnsAccount01,
    /// draft-ietf-acme-dns-persist.
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
    /// Ours: docs/kubernetes-01.md.
    #[serde(rename = "kubernetes-01")]
    Kubernetes01,
}

impl ChallengeType {
    /// All types.
    pub const ALL: [Self; 6] =
        [Self::Http01, Self::Dns01, Self::TlsAlpn01, Self::DnsAccount01, Self::DnsPersist01, Self::Kubernetes01];

    /// Those that are offered where the configuration does not list others: the challenges that every client can parse, and
    /// kubernetes-01, which needs a cluster of the configuration. Older clients refuse a whole authorization for one challenge
    /// without a token, as dns-persist-01 is.
    pub const DEFAULT: [Self; 4] = [Self::Http01, Self::Dns01, Self::TlsAlpn01, Self::Kubernetes01];

    /// The registered name (RFC 8555 §9.7.8).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::DnsAccount01 => "dns-account-01",
            Self::DnsPersist01 => "dns-persist-01",
            Self::Kubernetes01 => "kubernetes-01",
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
        Self::ALL.into_iter().filter(move |kind| match kind {
            Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01 | Self::Kubernetes01 => is_dns,
            Self::Http01 | Self::TlsAlpn01 => !wildcard,
        })
    }

    /// Whether the proof is a DNS record: such a one proves a wildcard, and never an address.
    #[must_use]
    pub const fn is_by_dns(self) -> bool {
        matches!(self, Self::Dns01 | Self::DnsAccount01 | Self::DnsPersist01)
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

/// What a challenge by DNS asks a resolver.
///
/// # Errors
/// [`DnsFault::NoSuchName`] when the name to ask for is too long to exist, [`DnsFault::NoRecords`] for an address, which
/// has no such challenge (RFC 8738 §7).
pub fn question(probe: &Probe) -> Result<Question, DnsFault> {
    match (probe.challenge, &probe.identifier) {
        (ChallengeType::DnsAccount01, Identifier::Dns(name)) => dns_account::question(name, &probe.account),
        (ChallengeType::DnsPersist01, Identifier::Dns(name)) => dns_persist::question(name),
        (_, Identifier::Dns(name)) => Question::challenge(name),
        (_, Identifier::Ip(_)) => Err(DnsFault::NoRecords),
    }
}

/// Judges what a probe came back with. The problem names the identifier and what was expected, and of a body or a record it shows
/// a few escaped bytes only: it could be of a host that the client may not read. A proof may say itself until when it holds.
///
/// # Errors
/// The problem to store with the challenge.
pub fn judge(
    record: &AuthorizationRecord,
    probe: &Probe,
    account_key: Thumbprint,
    outcome: &ProbeOutcome,
    context: &Context<'_>,
) -> Result<Option<Timestamp>, Box<ProblemDocument>> {
    let refuse = |kind, detail: String| {
        Err(Box::new(ProblemDocument::new(kind, Some(403), detail).about(record.identifier.clone().into())))
    };
    let same = |seen: &[u8], expected: &str| bool::from(seen.ct_eq(expected.as_bytes()));
    match (probe.challenge, outcome) {
        (ChallengeType::Http01, Ok(Evidence::Http { status: 200, body })) => {
            // Trailing white space is ignored (RFC 8555 §8.3).
            let expected = key_authorization(&record.token, account_key);
            if same(body.trim_ascii_end(), &expected) {
                Ok(None)
            } else {
                let found = found::body(body, &expected);
                let detail = format!("The answer's body is not the key authorization {expected}: it is {found}.");
                refuse("incorrectResponse", detail)
            }
        }
        (ChallengeType::Http01, Ok(Evidence::Http { status, .. })) => {
            refuse("incorrectResponse", format!("The answer has the status {status}, not 200."))
        }
        (ChallengeType::Dns01 | ChallengeType::DnsAccount01, Ok(Evidence::Txt(records))) => {
            let expected = dns_value(&record.token, account_key);
            if records.iter().any(|seen| same(seen, &expected)) {
                Ok(None)
            } else {
                let found = found::records(records, &expected, &key_authorization(&record.token, account_key));
                let detail = format!("{}: no record has the expected value {expected}. Found: {found}.", asked(probe));
                refuse("incorrectResponse", detail)
            }
        }
        (ChallengeType::TlsAlpn01, Ok(Evidence::Tls(handshake))) => {
            let expected = key_authorization(&record.token, account_key);
            tls_alpn::check(handshake, &record.identifier, &expected)
                .map(|()| None)
                .or_else(|mismatch| refuse("incorrectResponse", format!("The handshake proves nothing: {mismatch}.")))
        }
        (ChallengeType::DnsPersist01, Ok(Evidence::Txt(records))) => {
            persistent(record, probe, account_key, records, context).or_else(|why| {
                let (number, asked) = (records.len(), asked(probe));
                let issuer = context.config.caa_identities.first().map_or("", |issuer| issuer.as_str());
                let wildcard = if record.wildcard { "; policy=wildcard" } else { "" };
                let expected = format!("{issuer}; accounturi={}{wildcard}", probe.account);
                refuse("unauthorized", format!("{asked}: of the {number} records {why}. Expected: {expected}"))
            })
        }
        (ChallengeType::Kubernetes01, Ok(Evidence::Kubernetes(seen))) => {
            let digest = dns_value(&record.token, account_key);
            let judged = presented(record).ok_or(Refusal::NothingPresented).and_then(|presented| {
                let question = judgement::question(&context.scope.kubernetes, presented, &digest, context.now)?;
                judgement::judge(&question, seen, &record.identifier, record.wildcard)
            });
            judged.map(|()| None).or_else(|refusal| refuse(refusal.kind(), format!("The proof is refused: {refusal}.")))
        }
        (_, Ok(_)) => refuse("serverInternal", "The evidence is not of this challenge's kind.".to_owned()),
        (kind, Err(fault @ ProbeFault::Lookup { .. })) if kind.is_by_dns() => {
            refuse(fault_kind(fault), format!("{fault}."))
        }
        (kind, Err(fault)) if kind.is_by_dns() => refuse(fault_kind(fault), format!("{}: {fault}.", asked(probe))),
        (_, Err(fault)) => refuse(fault_kind(fault), format!("Looking at the challenge failed: {fault}.")),
    }
}

/// The question of a challenge by DNS, for people.
fn asked(probe: &Probe) -> String {
    question(probe).map_or_else(|_| format!("TXT {}", probe.identifier), |question| question.to_string())
}

/// Whether a record proves the name for good, and until when.
fn persistent(
    record: &AuthorizationRecord,
    probe: &Probe,
    account_key: Thumbprint,
    records: &[Vec<u8>],
    context: &Context<'_>,
) -> Result<Option<Timestamp>, NotPersistent> {
    let Identifier::Dns(name) = &record.identifier else { return Err(NotPersistent::OtherIssuer) };
    let expected = dns_persist::Expected {
        issuers: &context.config.caa_identities,
        name,
        wildcard: record.wildcard,
        account_url: &probe.account,
        // Since a rollover the first key still names the account.
        keys: &[account_key, context.account.0],
        hash_prefix: &dns_persist::hash_prefix(context.config),
        now: context.now,
    };
    Ok(expected.judge(records)?.until)
}

/// The probe that this challenge needs.
#[must_use]
pub fn probe(id: ObjectId, record: &AuthorizationRecord, challenge: ChallengeType, context: &Context<'_>) -> Probe {
    Probe {
        authorization: id,
        challenge,
        identifier: record.identifier.clone(),
        account: context.urls.resource(context.account, Resource::Account),
        token: record.token.clone(),
        scope: context.scope.name.clone(),
        presented: presented(record).cloned(),
    }
}

/// What the client presented with the answer that is being looked at.
const fn presented(record: &AuthorizationRecord) -> Option<&Presented> {
    match &record.state {
        AuthorizationState::Processing(probing) => probing.presented.as_ref(),
        _ => None,
    }
}

/// RFC 8555 §6.7.
const fn fault_kind(fault: &ProbeFault) -> &'static str {
    match fault {
        ProbeFault::Lookup { .. } => "dns",
        ProbeFault::Refused(_) | ProbeFault::Unreached(_) | ProbeFault::Broken(_) | ProbeFault::Timeout(_) => {
            "connection"
        }
        ProbeFault::NoPerspective | ProbeFault::Cluster => "serverInternal",
        ProbeFault::Tls(..) => "tls",
        ProbeFault::NotHttp(_)
        | ProbeFault::LongBody(_)
        | ProbeFault::TooManyRedirects
        | ProbeFault::BadRedirect { .. } => "incorrectResponse",
    }
}
