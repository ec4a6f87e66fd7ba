//! A token as the rest of the daemon sees it: its state, and how fast it has been.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shared::signing::{TokenState, TokenStatus};
use tokio::sync::Notify;

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
    recent: VecDeque<Duration>,
    signatures: u64,
}

impl TokenView {
    /// A token whose worker is about to be started.
    pub(crate) const fn new(changed: Arc<Notify>) -> Self {
        let shown =
            Shown { state: TokenState::Starting, reason: String::new(), recent: VecDeque::new(), signatures: 0 };
        Self { shown: Mutex::new(shown), changed }
    }

    /// Its state.
    pub(crate) fn state(&self) -> TokenState {
        self.shown().state
    }

    /// Changes its state. The reason is for the operator; empty for a token that works.
    pub(crate) fn set(&self, state: TokenState, reason: &str) {
        let mut shown = self.shown();
        shown.state = state;
        reason.clone_into(&mut shown.reason);
        drop(shown);
        self.changed.notify_one();
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
