//! The queue in front of the tokens: bounded, renewals before first issues, then by deadline. Any token of any issuer takes the
//! first job that it can do, so a certificate gets the issuer that is free first, and no job waits behind a dead one.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shared::{signing::Priority, timestamp::Timestamp};
use tokio::sync::Notify;

/// Where in the queue a job stands: earlier is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    priority: Priority,
    deadline: Timestamp,
    number: u64,
}

/// Something that waits for a token.
pub(crate) trait Waits: Send {
    /// True when the tokens of this issuer can do it.
    fn fits(&self, issuer: usize) -> bool;
    /// Told when its deadline has passed before a token was free.
    fn expire(self);
    /// Told when the queue closes.
    fn turn_away(self);
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    limit: usize,
    state: Mutex<State<J>>,
    changed: Notify,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct State<J> {
    waiting: BTreeMap<Place, J>,
    /// Tokens that have nothing to do.
    idle: usize,
    /// Moving average of a signature's duration in microseconds; zero before the first.
    service_micros: u64,
    closed: bool,
}

impl<J: Waits> Queue<J> {
    /// An empty queue for at most `limit` jobs.
    pub(crate) fn new(limit: usize) -> Self {
        let state = State { waiting: BTreeMap::new(), idle: 0, service_micros: 0, closed: false };
        Self { limit, state: Mutex::new(state), changed: Notify::new(), numbers: AtomicU64::new(0) }
    }

    /// A place behind everything that is as urgent.
    pub(crate) fn place(&self, priority: Priority, deadline: Timestamp) -> Place {
        Place { priority, deadline, number: self.numbers.fetch_add(1, Ordering::Relaxed) }
    }

    /// Puts a job in. Gives it back when the queue is full or closed.
    pub(crate) fn push(&self, place: Place, job: J) -> Result<(), J> {
        let mut state = self.state();
        if state.closed || state.waiting.len() >= self.limit {
            return Err(job);
        }
        state.waiting.insert(place, job);
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
        state.waiting.insert(place, job);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next job for a token of this issuer; nothing when the queue closes. A token that is busy takes one ahead only when
    /// there are more jobs than idle tokens. Cancel-safe: a job is taken at the very end.
    pub(crate) async fn take(&self, issuer: usize, busy: bool, now: impl Fn() -> Timestamp) -> Option<(Place, J)> {
        let _idle = (!busy).then(|| Idle::new(self));
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that what changes in between is not missed.
            changed.as_mut().enable();
            let now = now();
            let (expired, taken, closed) = {
                let mut state = self.state();
                (state.expire(now), state.take(issuer, busy), state.closed)
            };
            expired.into_iter().for_each(Waits::expire);
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
            std::mem::take(&mut state.waiting)
        };
        self.changed.notify_waiters();
        waiting.into_values().for_each(Waits::turn_away);
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
        self.state().waiting.len()
    }

    /// When a job at this place can be expected, with so many tokens that work: ceil((ahead + 1) / tokens) signatures from now.
    pub(crate) fn estimate(&self, place: Place, live_tokens: usize) -> Duration {
        let state = self.state();
        let rounds = state.waiting.range(..place).count().saturating_add(1).div_ceil(live_tokens.max(1));
        Duration::from_micros(state.service_micros.saturating_mul(u64::try_from(rounds).unwrap_or(u64::MAX)))
    }

    /// Takes in how long a signature took.
    pub(crate) fn served(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut state = self.state();
        state.service_micros = match state.service_micros {
            0 => micros,
            // An eighth of the news: a slow signature is noticed, a single one does not frighten.
            old => old.saturating_sub(old >> 3).saturating_add(micros >> 3),
        };
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Waits> State<J> {
    /// Takes out all whose deadline has passed. In each class they stand first.
    fn expire(&mut self, now: Timestamp) -> Vec<J> {
        let late: Vec<_> = [Priority::Renewal, Priority::New]
            .into_iter()
            .flat_map(|priority| {
                let first = Place { priority, deadline: Timestamp::from_seconds(0), number: 0 };
                let end = Place { priority, deadline: now, number: 0 };
                self.waiting.range(first..end).map(|(place, _)| *place).collect::<Vec<_>>()
            })
            .collect();
        late.into_iter().filter_map(|place| self.waiting.remove(&place)).collect()
    }

    fn take(&mut self, issuer: usize, busy: bool) -> Option<(Place, J)> {
        if busy && self.waiting.len() <= self.idle {
            return None;
        }
        let place = self.waiting.iter().find(|(_, job)| job.fits(issuer)).map(|(place, _)| *place)?;
        self.waiting.remove(&place).map(|job| (place, job))
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
mod tests;
