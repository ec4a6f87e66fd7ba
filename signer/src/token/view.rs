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

    /// What `status` says of it.
    pub(crate) fn status(&self) -> TokenStatus {
        let shown = self.shown();
        let mut recent: Vec<_> = shown.recent.iter().copied().collect();
        recent.sort_unstable();
        let median = recent.get(recent.len().checked_div(2).unwrap_or(0));
        TokenStatus {
            state: shown.state,
            reason: shown.reason.clone(),
            median_ms: median.map(|median| u64::try_from(median.as_millis()).unwrap_or(u64::MAX)),
            signatures: shown.signatures,
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
