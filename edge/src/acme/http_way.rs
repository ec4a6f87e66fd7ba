//! How http-01 reaches a name: over a socket of our own, which connects to the very address that was checked, or by the
//! platform's fetch, which alone reaches hosts behind the platform's own proxy, and looks names up itself.

use serde::Deserialize;

use super::probe::{Evidence, ProbeFault, ProbeOutcome};

/// The ways. Addresses are always asked over a socket: the platform fetches no bare address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpWay {
    /// A TCP socket.
    #[default]
    Socket,
    /// The platform's fetch. Only where no private networks are listed.
    Fetch,
    /// The platform's fetch, and where that does not get through, a socket.
    FetchThenSocket,
}

impl HttpWay {
    /// True when names are fetched first.
    #[must_use]
    pub const fn fetches(self) -> bool {
        matches!(self, Self::Fetch | Self::FetchThenSocket)
    }

    /// True when this outcome of a fetch says that it did not get through, and a socket is to be tried.
    #[must_use]
    pub const fn falls_back(self, outcome: &ProbeOutcome) -> bool {
        matches!(self, Self::FetchThenSocket) && did_not_get_through(outcome)
    }
}

/// The platform answers in place of a host that it cannot reach, with statuses that no host has: 520 to 530.
const fn did_not_get_through(outcome: &ProbeOutcome) -> bool {
    match outcome {
        Ok(Evidence::Http { status, .. }) => matches!(status, 520..=530),
        Err(fault) => matches!(
            fault,
            ProbeFault::Unreached(_) | ProbeFault::Broken(_) | ProbeFault::Timeout(_) | ProbeFault::NotHttp(_)
        ),
        Ok(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::{
        probe::{Peer, Waiting},
        probe_redirect::BadRedirect,
    };

    #[test]
    fn only_a_fetch_that_did_not_get_through_is_followed_by_a_socket() {
        let status = |status| Ok(Evidence::Http { status, body: Vec::new() });
        let peer = || Peer::Host("a.test:80".to_owned());
        let redirect = ProbeFault::BadRedirect { to: String::new(), why: BadRedirect::Scheme };
        let table = [
            (status(200), false),
            (status(404), false),
            (status(500), false),
            (status(519), false),
            (status(520), true),
            (status(530), true),
            (status(531), false),
            (Err(ProbeFault::Broken(peer())), true),
            (Err(ProbeFault::Unreached(Vec::new())), true),
            (Err(ProbeFault::Timeout(Waiting::Answer(peer()))), true),
            (Err(ProbeFault::NotHttp(peer())), true),
            (Err(ProbeFault::LongBody(peer())), false),
            (Err(ProbeFault::Refused("a.test".to_owned())), false),
            (Err(redirect), false),
        ];
        for (outcome, back) in table {
            assert_eq!(HttpWay::FetchThenSocket.falls_back(&outcome), back, "{outcome:?}");
            assert!(!HttpWay::Fetch.falls_back(&outcome) && !HttpWay::Socket.falls_back(&outcome));
        }
        assert!(HttpWay::Fetch.fetches() && HttpWay::FetchThenSocket.fetches() && !HttpWay::Socket.fetches());
    }
}
