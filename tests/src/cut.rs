//! Where and how the way between the edge and a signer is cut. What is cut is chosen by what a request asks, so that many cuts can
//! wait beside each other and each hits its own order.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// How long a way that is cut by [`Way::Delay`] is slow.
const DELAY: Duration = Duration::from_secs(2);

/// The last byte that is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody listens.
    Refused,
    /// TCP's handshake and nothing else.
    Accepted,
    /// Half of the first flight of TLS, in either direction.
    FirstFlight,
    /// TLS's handshake; the first request is not read.
    Established,
    /// A request was sent, and nothing of it arrives.
    Request,
    /// Half of a request's head.
    RequestHead,
    /// The head and half of the body.
    RequestBody,
    /// A whole request, just now.
    Sent,
    /// A whole request; the signer is at work on it.
    Work,
    /// The whole request; the answer is there, and nothing of it arrives.
    Answer,
    /// Half of the answer's head.
    AnswerHead,
    /// The head and half of the body.
    AnswerBody,
    /// All but the last byte.
    LastByte,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// RST to both sides.
    Reset,
    /// An orderly end to both sides: close_notify where there is TLS, and FIN.
    Close,
    /// Nothing any more, for as long as anybody waits.
    Silence,
    /// Nothing for two seconds, then everything.
    Delay,
}

/// One cut: of the first exchange that asks this verb about that.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The path of the request: `/v1/issue`.
    pub path: &'static str,
    /// What its body holds and no other one does.
    pub about: String,
    /// Where.
    pub place: Place,
    /// How.
    pub way: Way,
    /// How often.
    pub times: usize,
}

/// The cuts that are still to come, of all ways to all signers.
#[derive(Clone, Debug, Default)]
pub struct Cuts(Arc<Mutex<Vec<Making>>>);

/// How often a cut was made, and on the way to which signer.
#[derive(Debug, Default)]
pub struct Struck(Mutex<Vec<usize>>);

/// A cut that is to be made, or is being made.
#[derive(Clone, Debug)]
pub(crate) struct Making(Cut, Arc<Struck>);

impl Place {
    /// Those of a connection, whatever is asked through it.
    pub const OF_CONNECTIONS: [Self; 4] = [Self::Refused, Self::Accepted, Self::FirstFlight, Self::Established];
    /// Those of one exchange.
    pub const OF_EXCHANGES: [Self; 9] = [
        Self::Request,
        Self::RequestHead,
        Self::RequestBody,
        Self::Sent,
        Self::Work,
        Self::Answer,
        Self::AnswerHead,
        Self::AnswerBody,
        Self::LastByte,
    ];

    /// True when the signer does not have the whole request.
    #[must_use]
    pub const fn is_in_the_request(self) -> bool {
        matches!(self, Self::Request | Self::RequestHead | Self::RequestBody)
    }

    /// How many bytes of a message with a head and a body of these lengths are let through.
    #[must_use]
    pub const fn of(self, head: usize, body: usize) -> usize {
        match self {
            Self::RequestHead | Self::AnswerHead => head / 2,
            Self::RequestBody | Self::AnswerBody => head + body / 2,
            Self::LastByte => (head + body).saturating_sub(1),
            _ => 0,
        }
    }
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reset, Self::Close, Self::Silence, Self::Delay];

    /// Waits where the way is only slow; false where it has ended.
    #[must_use]
    pub fn goes_on(self) -> bool {
        if self == Self::Delay {
            thread::sleep(DELAY);
        }
        self == Self::Delay
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} at {:?} of {}", self.way, self.place, self.path)
    }
}

impl Cuts {
    /// Has this cut made.
    pub fn expect(&self, cut: Cut) -> Arc<Struck> {
        let struck = Arc::<Struck>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Making(cut, Arc::clone(&struck)));
        struck
    }

    /// The cut of this request.
    pub(crate) fn of(&self, path: &str, body: &[u8]) -> Option<Making> {
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8_lossy(body);
        let is_it = |Making(cut, _): &Making| cut.path == path && body.contains(&cut.about);
        let position = cuts.iter().position(is_it)?;
        let Making(cut, struck) = cuts.get_mut(position)?;
        let making = Making(cut.clone(), Arc::clone(struck));
        cut.times = cut.times.saturating_sub(1);
        if cut.times == 0 {
            cuts.remove(position);
        }
        Some(making)
    }

    /// Forgets all cuts of what holds this.
    pub fn forget(&self, about: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|Making(cut, _)| cut.about != about);
    }
}

impl Making {
    pub(crate) const fn place(&self) -> Place {
        self.0.place
    }

    pub(crate) const fn way(&self) -> Way {
        self.0.way
    }

    /// What was let through is on its way, to or from the signer of this number. True when the rest is to follow.
    pub(crate) fn is_made(&self, signer: usize) -> bool {
        self.1.signers().push(signer);
        self.way().goes_on()
    }
}

impl Struck {
    /// How often.
    #[must_use]
    pub fn times(&self) -> usize {
        self.signers().len()
    }

    /// Waits until it was made, and gives the number of the first signer.
    ///
    /// # Errors
    /// When it is not within the time.
    pub fn wait(&self, patience: Duration) -> Result<usize> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(signer) = self.signers().first() {
                return Ok(*signer);
            }
            ensure!(Instant::now() < deadline, "no cut was made within {patience:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn signers(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_of_its_own_request_alone_and_made_as_often_as_it_says() {
        let cuts = Cuts::default();
        let cut =
            Cut { path: "/v1/issue", about: "order/1".to_owned(), place: Place::Answer, way: Way::Reset, times: 2 };
        let struck = cuts.expect(cut);
        assert!(cuts.of("/v1/settle", b"order/1").is_none() && cuts.of("/v1/issue", b"order/2").is_none());
        for signer in [3, 1] {
            assert!(!cuts.of("/v1/issue", b"about order/1").unwrap().is_made(signer), "nothing follows");
        }
        assert!(cuts.of("/v1/issue", b"order/1").is_none());
        assert_eq!((struck.times(), struck.wait(Duration::ZERO).unwrap()), (2, 3));
    }

    #[test]
    fn half_of_a_message_is_let_through_where_it_says_so() {
        let through = Place::OF_EXCHANGES.map(|place| place.of(100, 1000));
        assert_eq!(through, [0, 50, 600, 0, 0, 0, 50, 600, 1099]);
    }
}
