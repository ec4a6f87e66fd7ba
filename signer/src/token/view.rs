//! A token as the rest of the daemon sees it: its state, and how fast it has been.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::{
    signing::{TokenState, TokenStatus},
    timestamp::Timestamp,
};
use tokio::sync::Notify;

use crate::clock;

/// Signatures that the median is of.
const RECENT: usize = 64;

/// What is known about one token.
#[derive(Debug)]
pub(crate) struct TokenView {
    shown: Mutex<Shown>,
    /// Shared by all tokens: somebody's state has changed.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Shown {
    state: TokenState,
    reason: String,
    /// What the token in use calls itself.
    token: String,
    since: Timestamp,
    /// The first failure after which it has not been ready.
    failing: Option<Timestamp>,
    failures: u64,
    hangs: u64,
    refusals: u64,
    recent: VecDeque<Duration>,
    signatures: u64,
}

impl TokenView {
    /// A token whose worker is about to be started.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        let shown = Shown {
            state: TokenState::Starting,
            reason: String::new(),
            token: String::new(),
            since: clock::now(),
            failing: None,
            failures: 0,
            hangs: 0,
            refusals: 0,
            recent: VecDeque::new(),
            signatures: 0,
        };
        Self { shown: Mutex::new(shown), changed }
    }

    /// Its state.
    pub(crate) fn state(&self) -> TokenState {
        self.shown().state
    }

    /// It is ready. The remark is for the operator; empty when there is nothing to say.
    pub(crate) fn found(&self, token: &str, remark: &str) {
        let mut shown = self.shown();
        token.clone_into(&mut shown.token);
        shown.failing = None;
        drop(shown);
        self.set(TokenState::Ready, remark);
    }

    /// Changes its state. The reason is for the operator.
    pub(crate) fn set(&self, state: TokenState, reason: &str) {
        let mut shown = self.shown();
        if shown.state != state {
            shown.since = clock::now();
        }
        shown.state = state;
        reason.clone_into(&mut shown.reason);
        drop(shown);
        self.changed.notify_one();
    }

    /// Counts a worker that was lost or could not be started, and `hung` if it was killed for its silence. The token is
    /// not ready from this moment on: a reader who sees the failure never sees [`TokenState::Ready`] with it.
    pub(crate) fn lost(&self, hung: bool) {
        let mut shown = self.shown();
        if shown.state == TokenState::Ready {
            shown.state = TokenState::Starting;
            shown.since = clock::now();
            shown.reason.clear();
        }
        shown.failing.get_or_insert_with(clock::now);
        shown.failures = shown.failures.saturating_add(1);
        shown.hangs = shown.hangs.saturating_add(u64::from(hung));
    }

    /// It did not take something that it was to sign.
    pub(crate) fn refused(&self) {
        let mut shown = self.shown();
        shown.refusals = shown.refusals.saturating_add(1);
    }

    /// Takes in a signature.
    pub(crate) fn signed(&self, duration: Duration) {
        let mut shown = self.shown();
        shown.signatures = shown.signatures.saturating_add(1);
        if shown.recent.len() >= RECENT {
            shown.recent.pop_front();
        }
        shown.recent.push_back(duration);
    }

    /// The median of its last signatures; nothing before the first.
    pub(crate) fn median(&self) -> Option<Duration> {
        self.shown().quantile(50)
    }

    /// What nearly all of its last signatures took at least; nothing before the first.
    pub(crate) fn quick(&self) -> Option<Duration> {
        self.shown().quantile(10)
    }

    /// What `status` says of it.
    pub(crate) fn status(&self) -> TokenStatus {
        let shown = self.shown();
        let milliseconds =
            |part| shown.quantile(part).map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        TokenStatus {
            state: shown.state,
            reason: shown.reason.clone(),
            median_ms: milliseconds(50),
            tail_ms: milliseconds(95),
            signatures: shown.signatures,
            token: shown.token.clone(),
            since: Some(shown.failing.unwrap_or(shown.since)),
            failures: shown.failures,
            hangs: shown.hangs,
            refusals: shown.refusals,
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// So many percent of the last signatures took no longer.
    fn quantile(&self, percent: usize) -> Option<Duration> {
        let mut recent: Vec<_> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        let last = recent.len().saturating_sub(1);
        recent.get(last.saturating_mul(percent).div_ceil(100)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_is_counted_and_its_token_not_ready_at_once() {
        let view = TokenView::new(Arc::default());
        view.found("token", "");
        view.lost(true);
        let status = view.status();
        assert_eq!((status.state, status.failures, status.hangs), (TokenState::Starting, 1, 1));
        view.set(TokenState::PinRejected, "rejected");
        view.lost(false);
        assert_eq!(view.status().state, TokenState::PinRejected);
    }
}
