//! Probes: what the edge fetches to see a challenge's answer, and what it can come back with. Fetching is the platform's
//! work; judging is [`super::challenge`]'s. Both travel as JSON to and from perspectives.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};
use shared::identifier::Identifier;

use super::{
    challenge::ChallengeType,
    dns::DnsFault,
    kubernetes::{judgement::Seen, presented::Presented},
    object_id::ObjectId,
    probe_redirect::BadRedirect,
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
    /// http-01: the final response (RFC 8555 §8.3).
    Http {
        /// The status of the last answer.
        status: u16,
        /// The whole body where the status is 200, at most [`MAX_BODY`] bytes: a longer one is [`ProbeFault::LongBody`]. Empty for
        /// every other status.
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

/// Bytes that the body of an answer may have; a key authorization has about 90.
pub const MAX_BODY: usize = 4096;

/// Redirects that http-01 follows at most.
pub const MAX_REDIRECTS: usize = 10;

/// The server that a probe talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// Over a socket of our own.
    Address(SocketAddr),
    /// `host:port`, by the platform's fetch, which chooses the address itself.
    Host(String),
}

/// One address that could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Where.
    pub peer: Peer,
    /// True when the time for one connection was over; false when it was refused, or no route leads there.
    pub timed_out: bool,
}

/// What a probe waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Waiting {
    /// A resolver.
    #[error("an answer of a resolver about {0}")]
    Resolver(String),
    /// A connection.
    #[error("a connection to {0}")]
    Connection(Peer),
    /// The end of a handshake.
    #[error("the end of the TLS handshake with {0}")]
    Handshake(Peer),
    /// The end of an answer.
    #[error("the end of the HTTP answer of {0}")]
    Answer(Peer),
    /// An API server or a key set.
    #[error("the cluster")]
    Cluster,
}

/// Why a TLS handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TlsFault {
    /// Something else than TLS answered.
    #[error("the answer is not TLS")]
    NotTls,
    /// The server has no version of TLS, no cipher suite or no signature scheme in common with us.
    #[error("the server speaks neither TLS 1.2 nor TLS 1.3 with an algorithm that is offered")]
    Incompatible,
    /// The server ended the handshake because it does not speak the protocol that is offered (RFC 7301 §3.2).
    #[error("the server does not speak the protocol that is offered")]
    Protocol,
    /// The certificate is larger than [`super::tls_alpn::MAX_CERTIFICATE`].
    #[error("the server's certificate has more than {max} bytes", max = super::tls_alpn::MAX_CERTIFICATE)]
    LargeCertificate,
    /// The handshake failed otherwise; a certificate whose key did not sign it, too.
    #[error("the TLS handshake failed")]
    Handshake,
}

/// Why nothing was seen. Nothing in it tells a stranger more about a private network than that it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProbeFault {
    /// A question to the DNS has no answer.
    #[error("{asked}: {fault}")]
    Lookup {
        /// The question, for people.
        asked: String,
        /// What came in place of an answer.
        fault: DnsFault,
    },
    /// All addresses of this host are in networks where probes may not go, or it is one of the deployment's own.
    #[error("the address of {0} is refused: probes do not go there")]
    Refused(String),
    /// None of the addresses could be connected to.
    #[error("no connection: {}", list(.0))]
    Unreached(Vec<Attempt>),
    /// The connection broke.
    #[error("the connection to {0} was closed before the answer was complete")]
    Broken(Peer),
    /// Not done in time.
    #[error("the time for validation ended while waiting for {0}")]
    Timeout(Waiting),
    /// No handshake.
    #[error("{0}: {1}")]
    Tls(Peer, TlsFault),
    /// Not an HTTP/1.1 answer.
    #[error("the answer of {0} is not HTTP")]
    NotHttp(Peer),
    /// A body of more than [`MAX_BODY`] bytes.
    #[error("the body of the answer of {0} has more than {MAX_BODY} bytes; it must be the key authorization alone")]
    LongBody(Peer),
    /// More than [`MAX_REDIRECTS`] redirects.
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects,
    /// A redirect that is not followed.
    #[error("the redirect to {to} is not followed: {why}")]
    BadRedirect {
        /// The beginning of the `Location`, escaped.
        to: String,
        /// Why.
        why: BadRedirect,
    },
    /// The object that was to look from elsewhere did not come back.
    #[error("the object that validates from there did not answer")]
    NoPerspective,
    /// An API server or a key set that is not there or answers with an error; the log says more.
    #[error("the cluster cannot be asked")]
    Cluster,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(f, "{} port {} ({family})", address.ip(), address.port())
            }
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// All attempts: `192.0.2.1 port 80 (IPv4): refused or unreachable`.
fn list(attempts: &[Attempt]) -> String {
    let one = |Attempt { peer, timed_out }: &Attempt| {
        format!("{peer}: {}", if *timed_out { "no answer in time" } else { "refused or unreachable" })
    };
    attempts.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// What a probe came back with.
pub type ProbeOutcome = Result<Evidence, ProbeFault>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_what_they_speak_of() {
        let four = || Peer::Address("192.0.2.1:80".parse().unwrap());
        let six = || Peer::Address("[2001:db8::1]:443".parse().unwrap());
        let redirect = |to: &str, why| ProbeFault::BadRedirect { to: format!("\"{to}\""), why };
        let lookup = |fault| ProbeFault::Lookup { asked: "AAAA and A b.test".to_owned(), fault };
        let table = [
            (
                ProbeFault::Unreached(vec![
                    Attempt { peer: six(), timed_out: true },
                    Attempt { peer: four(), timed_out: false },
                ]),
                "no connection: 2001:db8::1 port 443 (IPv6): no answer in time; \
                 192.0.2.1 port 80 (IPv4): refused or unreachable",
            ),
            (
                ProbeFault::Timeout(Waiting::Answer(four())),
                "the time for validation ended while waiting for the end of the HTTP answer of 192.0.2.1 port 80 (IPv4)",
            ),
            (
                ProbeFault::Timeout(Waiting::Resolver("b.test".to_owned())),
                "the time for validation ended while waiting for an answer of a resolver about b.test",
            ),
            (ProbeFault::Tls(six(), TlsFault::NotTls), "2001:db8::1 port 443 (IPv6): the answer is not TLS"),
            (ProbeFault::Refused("b.test".to_owned()), "the address of b.test is refused: probes do not go there"),
            (lookup(DnsFault::NoSuchName), "AAAA and A b.test: the name does not exist (NXDOMAIN)"),
            (
                lookup(DnsFault::Malformed),
                "AAAA and A b.test: the resolver's answer is not a well-formed DNS message for this question",
            ),
            (
                lookup(DnsFault::Aliases),
                "AAAA and A b.test: the name is an alias, and its CNAME records form a loop or a chain of more than 8",
            ),
            (
                redirect("ftp://b.test/", BadRedirect::Scheme),
                "the redirect to \"ftp://b.test/\" is not followed: its scheme is neither http nor https",
            ),
            (
                redirect("http://b.test:8080/", BadRedirect::Port(80)),
                "the redirect to \"http://b.test:8080/\" is not followed: its port is not 80, the only one that is \
                 followed for its scheme",
            ),
        ];
        for (fault, words) in table {
            assert_eq!(fault.to_string(), words);
        }
    }
}
