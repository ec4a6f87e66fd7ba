//! What a token has to do: the jobs that its worker was given, and the one that is ready behind them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{clock, queue::Place, work::Work};

/// Jobs that are out for one token: one that it signs, and one behind that, whose intent is being written or that waits in the
/// worker's pipe already; for one that is faster than a disk, as many more as it signs in this time.
pub(super) const AHEAD: usize = 2;
const AHEAD_TIME: Duration = Duration::from_millis(5);
/// Never more than so many: what is out is no longer overtaken.
const MOST_AHEAD: usize = 24;

/// So long before the token has signed it is handed the next one, which cannot be overtaken then: what a message to its worker may take.
const HANDING: Duration = Duration::from_millis(10);

/// What a worker was given and has not answered, oldest first.
#[derive(Default)]
pub(super) struct Given {
    pub(super) jobs: VecDeque<(Place, Work)>,
    /// Since when the oldest is the token's.
    pub(super) since: Option<Instant>,
    /// What a signature takes, the last ones counting most; nothing before the first.
    typical: Option<Duration>,
    /// Since when the oldest was the token's when the rhythm last heard of it.
    pub(super) beat: Option<Instant>,
    /// Before this the next one does not begin, so that tokens begin one after the other.
    pub(super) begins: Option<Instant>,
}

/// A job that is ready before the token is.
pub(super) struct Ready {
    pub(super) place: Place,
    pub(super) job: Work,
    /// Another one went before it. No second one does.
    pub(super) overtaken: bool,
}

impl Given {
    pub(super) fn push(&mut self, place: Place, job: Work) {
        if self.jobs.is_empty() {
            self.since = Some(clock::instant());
        }
        self.jobs.push_back((place, job));
    }

    /// Takes out the oldest. From now on the token is with the one behind it.
    pub(super) fn next(&mut self) -> Option<(Place, Work)> {
        let oldest = self.jobs.pop_front();
        self.since = (!self.jobs.is_empty()).then(clock::instant);
        oldest
    }

    /// How long a job that is ready can still be overtaken, where a signature takes at least `usual`.
    pub(super) fn rest(&self, usual: Option<Duration>) -> Duration {
        let left = |since: Instant| usual.unwrap_or_default().saturating_sub(since.elapsed());
        self.since.map_or(Duration::ZERO, left).saturating_sub(HANDING).max(self.wait())
    }

    /// How long the token is not to begin anew yet.
    pub(super) fn wait(&self) -> Duration {
        self.begins.map_or(Duration::ZERO, |begins| begins.saturating_duration_since(clock::instant()))
    }

    /// How long the oldest was with the token.
    pub(super) fn took(&mut self) -> Duration {
        let took = self.since.map(|since| since.elapsed()).unwrap_or_default();
        let weighed = |typical: Duration| typical.saturating_mul(7).saturating_add(took).checked_div(8);
        self.typical = Some(self.typical.and_then(weighed).unwrap_or(took));
        took
    }

    /// How many jobs may be out.
    pub(super) fn most(&self) -> usize {
        let fit = self.typical.and_then(|typical| AHEAD_TIME.as_micros().checked_div(typical.as_micros()));
        let more = fit.and_then(|fit| usize::try_from(fit).ok()).unwrap_or_default();
        AHEAD.saturating_add(more).min(MOST_AHEAD)
    }

    /// Ends when the oldest has been with the token for too long; never when there is none.
    pub(super) async fn late(&self, deadline: Duration) {
        match self.since {
            Some(since) => sleep(deadline.saturating_sub(since.elapsed())).await,
            None => std::future::pending().await,
        }
    }
}
