//! Probes: what the edge fetches to see a challenge's answer, and what it can come back with. Fetching is the platform's
//! work; judging is [`super::challenge`]'s. Both travel as JSON to and from perspectives.

use serde::{Deserialize, Serialize};
use shared::identifier::Identifier;

use super::{
    challenge::ChallengeType,
    kubernetes::{judgement::Seen, presented::Presented},
    object_id::ObjectId,
    scope::ScopeName,
    tls_alpn::Handshake,
};

/// One thing to look at. Idempotent: a lost probe is simply done again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The authorization that waits for it.
    pub authorization: ObjectId,
    /// How to look.
    pub challenge: ChallengeType,
    /// The name or the address to look at; a name is without its wildcard.
    pub identifier: Identifier,
    /// The URL of the account that wants it.
    pub account: String,
    /// The challenge's token (RFC 8555 §8.1).
    pub token: String,
    /// Whose networks it may go to.
    pub scope: ScopeName,
    /// What the client presented, for kubernetes-01. Never travels: a token is for this object and its cluster.
    #[serde(skip)]
    pub presented: Option<Presented>,
}

/// What was seen, not judged yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Evidence {
    /// http-01: the final response (RFC 8555 §8.3). The body is cut at [`MAX_BODY`] bytes.
    Http {
        /// The status of the last answer.
        status: u16,
        /// Its body.
        body: Vec<u8>,
    },
    /// dns-01, dns-account-01, dns-persist-01: every TXT record of the owner name, its character strings joined (RFC 8555 §8.4).
    Txt(Vec<Vec<u8>>),
    /// tls-alpn-01: the handshake (RFC 8737 §3).
    Tls(Handshake),
    /// kubernetes-01: what the cluster says of the proof. Never travels.
    #[serde(skip)]
    Kubernetes(Seen),
}

/// Bytes of a body that are read at most; a key authorization is well below.
pub const MAX_BODY: usize = 4096;

/// Redirects that http-01 follows at most.
pub const MAX_REDIRECTS: usize = 10;

/// Why nothing was seen. Nothing in it tells a stranger more about a private network than that it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProbeFault {
    /// NXDOMAIN.
    #[error("the name does not exist")]
    NoSuchName,
    /// No A and no AAAA record, or no TXT record.
    #[error("the name has no record of the type that is needed")]
    NoRecords,
    /// No resolver could be reached.
    #[error("no resolver can be reached")]
    DnsUnreachable,
    /// No resolver answered in time.
    #[error("no resolver answered in time")]
    DnsTimeout,
    /// A resolver answered with this response code (SERVFAIL is 2).
    #[error("the resolver failed with response code {0} ({name})", name = response_code(*.0))]
    DnsFailure(u16),
    /// An answer that is not a DNS message for the question.
    #[error("the resolver's answer is malformed, or its aliases do not end")]
    DnsMalformed,
    /// An answer that is cut off, over a transport that has room for all of it.
    #[error("the resolver's answer is truncated")]
    DnsTruncated,
    /// All addresses are in networks where probes may not go.
    #[error("the address is refused")]
    Refused,
    /// No connection, or it broke.
    #[error("the connection failed")]
    Connection,
    /// Not done in time.
    #[error("the answer did not come in time")]
    Timeout,
    /// Something else than TLS answered.
    #[error("the answer is not TLS")]
    NotTls,
    /// The server has no version of TLS, no cipher suite or no signature scheme in common with us.
    #[error("the server speaks neither TLS 1.2 nor TLS 1.3 with an algorithm that is offered")]
    TlsIncompatible,
    /// The server ended the handshake because it does not speak the protocol that is offered (RFC 7301 §3.2).
    #[error("the server does not speak the protocol that is offered")]
    TlsProtocol,
    /// The handshake failed otherwise; a certificate whose key did not sign it, too.
    #[error("the TLS handshake failed")]
    Tls,
    /// Not an HTTP/1.1 answer.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// More than [`MAX_REDIRECTS`] redirects.
    #[error("too many redirects")]
    TooManyRedirects,
    /// A redirect to another scheme or port, or to an address that is not the one that was asked already.
    #[error("the redirect leads where probes do not go")]
    BadRedirect,
    /// The object that was to look from elsewhere did not come back.
    #[error("nobody could look from there")]
    NoPerspective,
    /// An API server or a key set that is not there or answers with an error; the log says more.
    #[error("the cluster cannot be asked")]
    Cluster,
}

impl ProbeFault {
    /// True when it says something about the resolver alone, so that another one may know the answer.
    #[must_use]
    pub const fn is_of_resolver(self) -> bool {
        matches!(
            self,
            Self::DnsUnreachable | Self::DnsTimeout | Self::DnsFailure(_) | Self::DnsMalformed | Self::DnsTruncated
        )
    }
}

/// What a probe came back with.
pub type ProbeOutcome = Result<Evidence, ProbeFault>;

/// As RFC 1035 §4.1.1 and RFC 2136 §2.2 name it.
const fn response_code(code: u16) -> &'static str {
    match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "unusual",
    }
}
