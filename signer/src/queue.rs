//! The queue in front of the tokens: bounded, by class and fair within one (see [`class`] and [`lane`]). Any token of any issuer takes
//! the first job that it can do, so a certificate gets the issuer that is free first, and no job waits behind a dead one.

mod class;
mod lane;
mod ring;
mod schedule;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use shared::timestamp::Timestamp;
use tokio::sync::Notify;

pub(crate) use self::class::Class;
use self::schedule::Schedule;
use crate::clock;

/// Where a job waits or has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    class: Class,
    number: u64,
}

impl Place {
    /// True when the job should not wait for what could as well wait for it.
    pub(crate) const fn is_urgent(self) -> bool {
        self.class.is_urgent()
    }
}

/// A token that takes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It has nothing to do.
    Idle,
    /// It signs. It takes one ahead only when there are more jobs than idle tokens.
    Busy,
    /// It signs, and has the next one: it takes one that should not wait for that.
    Ready,
}

/// The thumbprint of an account's key.
pub(crate) type AccountKey = [u8; 32];

/// Whose job it is, as far as fairness is concerned: first an account's holder's, then the account's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) holder: Holder,
    pub(crate) account: AccountKey,
}

/// Who answers for accounts. An operator decides how many of these there are; accounts open as many as they like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// An external account binding, by its key id.
    Binding(String),
    /// All accounts of an edge without one that get their names from this scope: together they have as many turns as a single
    /// binding, so that a flood of accounts of no worth delays nobody who has one, and none of another edge.
    Open { edge: String, scope: String },
    /// The signer itself, for what it says about certificates.
    Signer,
}

impl Party {
    /// What is said about certificates is nobody's more than another's.
    pub(crate) const SIGNER: Self = Self { holder: Holder::Signer, account: [0; 32] };
}

/// Something that waits for a token.
pub(crate) trait Waits: Send {
    /// Between holders the queue is fair, and between the accounts of one.
    fn party(&self) -> Party;
    /// After this it is of no use.
    fn deadline(&self) -> Timestamp;
    /// True when the tokens of this issuer can do it.
    fn fits(&self, issuer: usize) -> bool;
    /// True when nobody has asked for it for so long that nobody will.
    fn is_forsaken(&self, now: Timestamp) -> bool;
    /// Told when its deadline has passed before a token was free, or when it is forsaken.
    fn expire(self);
    /// Told when the queue closes.
    fn turn_away(self);
}

/// Why a job cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// As many wait as may.
    Full,
    /// The daemon is stopping.
    Closed,
    /// It would be signed after its deadline, so much from now.
    TooLate(Duration),
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    limit: usize,
    started: Instant,
    state: Mutex<State<J>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<J> {
    schedule: Schedule<J>,
    /// Tokens that have nothing to do.
    idle: usize,
    closed: bool,
}

impl<J: Waits> Queue<J> {
    /// An empty queue for at most `limit` jobs, in front of so many tokens.
    pub(crate) fn new(limit: usize, tokens: usize) -> Self {
        let state = State { schedule: Schedule::new(tokens), idle: 0, closed: false };
        Self { limit, started: clock::instant(), state: Mutex::new(state), changed: Notify::new() }
    }

    /// A place for a job, to be put in or not.
    pub(crate) fn place(&self, class: Class) -> Place {
        self.state().schedule.place(class)
    }

    /// Puts a job in. Gives it back when it cannot wait; `pace` is the time between two signatures of all tokens together.
    pub(crate) fn push(&self, place: Place, job: J, now: Timestamp, pace: Duration) -> Result<(), (J, NoRoom)> {
        let mut state = self.state();
        if state.closed {
            return Err((job, NoRoom::Closed));
        }
        if state.schedule.len() >= self.limit || state.schedule.is_full(place.class) {
            return Err((job, NoRoom::Full));
        }
        let since = self.started.elapsed();
        let wait = state.schedule.wait_of_new(place.class, &job.party(), since, pace);
        if now.plus(wait.as_secs()) > job.deadline() {
            return Err((job, NoRoom::TooLate(wait)));
        }
        state.schedule.push(place, job, since);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Puts a job back that a token could not do, whatever the limit.
    pub(crate) fn put_back(&self, place: Place, job: J) {
        let mut state = self.state();
        if state.closed {
            drop(state);
            return job.turn_away();
        }
        state.schedule.put_back(place, job);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next job for a token of this issuer; nothing when the queue closes. Cancel-safe: a job is taken at the very end.
    pub(crate) async fn take(&self, issuer: usize, by: By, now: impl Fn() -> Timestamp) -> Option<(Place, J)> {
        let _idle = (by == By::Idle).then(|| Idle::new(self));
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that what changes in between is not missed.
            changed.as_mut().enable();
            let now = now();
            let (gone, taken, closed) = {
                let mut state = self.state();
                let mut gone = state.schedule.expired(now);
                let taken = state.take(issuer, by, now, self.started.elapsed(), &mut gone);
                (gone, taken, state.closed)
            };
            gone.into_iter().for_each(Waits::expire);
            if taken.is_some() || closed {
                return taken;
            }
            changed.await;
        }
    }

    /// Lets nobody in any more and turns everybody away who waits.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            state.schedule.clear()
        };
        self.changed.notify_waiters();
        waiting.into_iter().for_each(Waits::turn_away);
    }

    /// Waits until the queue closes. Cancel-safe.
    pub(crate) async fn closed(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state().closed {
                return;
            }
            changed.await;
        }
    }

    /// Jobs that wait.
    pub(crate) fn len(&self) -> usize {
        self.state().schedule.len()
    }

    /// Jobs of a class that wait.
    pub(crate) fn len_of(&self, class: Class) -> usize {
        self.state().schedule.len_of(class)
    }

    /// When the job at this place can be expected, if nobody comes before it.
    pub(crate) fn estimate(&self, place: Place, pace: Duration) -> Duration {
        self.state().schedule.wait_at(place, self.started.elapsed(), pace)
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Waits> State<J> {
    /// The next job; those that nobody wants any more go to `gone`.
    fn take(
        &mut self,
        issuer: usize,
        by: By,
        now: Timestamp,
        since: Duration,
        gone: &mut Vec<J>,
    ) -> Option<(Place, J)> {
        loop {
            if by != By::Idle && self.schedule.len() <= self.idle {
                return None;
            }
            let of = |class: Class| by != By::Ready || class.is_urgent();
            let (place, job) = self.schedule.take(of, |job| job.fits(issuer), since)?;
            if !job.is_forsaken(now) {
                return Some((place, job));
            }
            gone.push(job);
        }
    }
}

/// Counts a token as idle as long as it lives.
struct Idle<'a, J: Waits>(&'a Queue<J>);

impl<'a, J: Waits> Idle<'a, J> {
    fn new(queue: &'a Queue<J>) -> Self {
        let mut state = queue.state();
        state.idle = state.idle.saturating_add(1);
        drop(state);
        Self(queue)
    }
}

impl<J: Waits> Drop for Idle<'_, J> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.idle = state.idle.saturating_sub(1);
        drop(state);
        // One idle token less: a busy one may now take a job ahead.
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
