//! What a probe waits for, so that one whose time is over can say it.

use std::cell::RefCell;

use crate::acme::probe::Waiting;

/// What a probe waits for now.
#[derive(Debug)]
pub(super) struct Progress(RefCell<Waiting>);

impl Progress {
    /// Begins with this.
    pub(super) const fn new(first: Waiting) -> Self {
        Self(RefCell::new(first))
    }

    /// Notes what comes next.
    pub(super) fn waits_for(&self, next: Waiting) {
        self.0.replace(next);
    }

    /// Returns what was noted last.
    pub(super) fn last(&self) -> Waiting {
        self.0.borrow().clone()
    }
}
