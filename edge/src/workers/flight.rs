//! Single flight in one object: of all who want the same, one asks, and all get what it got.

use std::{cell::RefCell, collections::BTreeMap};

use futures_channel::oneshot;

/// Who waits for what.
#[derive(Debug)]
pub(super) struct Flights<K, T>(RefCell<BTreeMap<K, Vec<oneshot::Sender<T>>>>);

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Ord + Clone, T: Clone> Flights<K, T> {
    /// Waits for this; true when nobody did, so that the caller must see to it and [`Self::land`] it.
    pub(super) fn board(&self, key: &K) -> (oneshot::Receiver<T>, bool) {
        let (sender, receiver) = oneshot::channel();
        let mut flights = self.0.borrow_mut();
        let first = !flights.contains_key(key);
        flights.entry(key.clone()).or_default().push(sender);
        (receiver, first)
    }

    /// Here it is, for all who wait.
    pub(super) fn land(&self, key: &K, value: &T) {
        for waiting in self.0.borrow_mut().remove(key).into_iter().flatten() {
            // Who went away needs none.
            let _ = waiting.send(value.clone());
        }
    }
}
