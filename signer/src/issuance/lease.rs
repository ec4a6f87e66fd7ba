//! How long an order is this signer's alone, where the edge has several signers. After that another signer may have it, so nothing is
//! signed for it here; and what is settled before that is not begun any more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::timestamp::Timestamp;

/// The lease of a running job, as everybody sees it who asks for its order.
#[derive(Debug)]
pub(crate) struct Lease(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Nothing: for good.
    until: Option<Timestamp>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No token has seen it.
    Waiting,
    /// It is decided on.
    Begun,
    /// It is not to be begun.
    Ended,
}

/// Why a job cannot be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotEnd {
    /// It is in a token, or was.
    Begun,
    /// A later lease was given since.
    Later,
}

impl Lease {
    pub(crate) const fn new(until: Option<Timestamp>) -> Self {
        Self(Mutex::new(State { until, phase: Phase::Waiting }))
    }

    /// The edge has given it for longer. A late request does not shorten it.
    pub(crate) fn extend(&self, until: Option<Timestamp>) {
        let mut state = self.state();
        state.until = match (state.until, until) {
            (Some(before), Some(until)) => Some(before.max(until)),
            (None, _) | (_, None) => None,
        };
    }

    /// True when another signer may have the order, or will.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let state = self.state();
        state.phase == Phase::Ended || state.until.is_some_and(|until| until < now)
    }

    /// The order is about to be decided on; false when it must not be.
    pub(crate) fn begin(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Ended || state.until.is_some_and(|until| until < now) {
            return false;
        }
        state.phase = Phase::Begun;
        true
    }

    /// Nothing is begun under leases that end then or sooner, if that is allowed. It is asked for only where it can be done.
    ///
    /// # Errors
    /// That of `allowed`: then all is as it was.
    pub(crate) fn end<E>(
        &self,
        until: Timestamp,
        allowed: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<(), CannotEnd>, E> {
        let mut state = self.state();
        if state.until.is_none_or(|present| present > until) {
            return Ok(Err(CannotEnd::Later));
        }
        if state.phase == Phase::Begun {
            return Ok(Err(CannotEnd::Begun));
        }
        allowed()?;
        state.phase = Phase::Ended;
        Ok(Ok(()))
    }

    /// True when it was ended.
    pub(crate) fn is_ended(&self) -> bool {
        self.state().phase == Phase::Ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn end(lease: &Lease, until: Timestamp) -> Result<(), CannotEnd> {
        assert_eq!(Lease::new(Some(at(1))).end(at(1), || Err("no")), Err("no"));
        lease.end(until, || Ok::<_, ()>(())).unwrap()
    }

    #[test]
    fn a_lease_is_extended_and_never_shortened() {
        let lease = Lease::new(Some(at(10)));
        assert!(!lease.is_over(at(10)) && lease.is_over(at(11)));
        lease.extend(Some(at(20)));
        lease.extend(Some(at(15)));
        assert!(!lease.is_over(at(20)) && lease.is_over(at(21)));
        assert!(lease.begin(at(20)) && !lease.begin(at(21)));
        let for_good = Lease::new(None);
        assert!(!for_good.is_over(Timestamp::MAX) && for_good.begin(Timestamp::MAX));
        assert_eq!(end(&for_good, Timestamp::MAX), Err(CannotEnd::Later), "for good is later than everything");
    }

    #[test]
    fn what_is_ended_is_not_begun_and_what_is_begun_is_not_ended() {
        let lease = Lease::new(Some(at(10)));
        assert_eq!(end(&lease, at(9)), Err(CannotEnd::Later));
        assert_eq!(end(&lease, at(10)), Ok(()));
        assert!(lease.is_ended() && !lease.begin(at(1)) && lease.is_over(at(1)));
        let lease = Lease::new(Some(at(10)));
        assert!(lease.begin(at(1)));
        assert_eq!(end(&lease, at(10)), Err(CannotEnd::Begun));
    }
}
