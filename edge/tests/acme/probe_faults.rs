//! What probes come back with when nothing was seen, for tests of what follows from it.

use edge::acme::{
    dns::DnsFault,
    probe::{Attempt, Peer, ProbeFault, Waiting},
};

/// A server over a socket.
pub(crate) fn peer() -> Peer {
    Peer::Address("192.0.2.1:80".parse().unwrap())
}

/// The time was over.
pub(crate) fn late() -> ProbeFault {
    ProbeFault::Timeout(Waiting::Answer(peer()))
}

/// No address could be connected to.
pub(crate) fn unreached() -> ProbeFault {
    ProbeFault::Unreached(vec![Attempt { peer: peer(), timed_out: false }])
}

/// A question to the DNS had no answer.
pub(crate) fn lookup(fault: DnsFault) -> ProbeFault {
    ProbeFault::Lookup { asked: "TXT _acme-challenge.a.test".to_owned(), fault }
}
