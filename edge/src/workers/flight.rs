//! Single flight in one object: of all who want the same, one asks, and all get what it got.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
};

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

/// Single flight of what goes stale: who asks while one is under way waits for the next, which begins after he has asked.
#[derive(Debug)]
pub(super) struct Successive<T> {
    flights: Flights<u64, T>,
    /// The number of the one that began last.
    last: Cell<u64>,
    /// True while that one is under way.
    flying: Cell<bool>,
}

impl<T> Default for Successive<T> {
    fn default() -> Self {
        Self { flights: Flights::default(), last: Cell::default(), flying: Cell::default() }
    }
}

impl<T: Clone> Successive<T> {
    /// What this gets, or another like it that begins from now on; nothing when who has begun that went away.
    pub(super) async fn join(&self, flight: impl Future<Output = T>) -> Option<T> {
        let number = self.last.get().wrapping_add(1);
        let (landed, first) = self.flights.board(&number);
        if !first {
            return landed.await.ok();
        }
        let pilot = Pilot { of: self, number };
        if self.flying.get() {
            // However that ends.
            let _ = self.flights.board(&self.last.get()).0.await;
        }
        self.last.set(number);
        self.flying.set(true);
        let value = flight.await;
        self.flights.land(&number, &value);
        drop(pilot);
        Some(value)
    }
}

/// Who sees to a flight. When it goes away before the end, nobody waits for it any more.
struct Pilot<'a, T> {
    of: &'a Successive<T>,
    number: u64,
}

impl<T> Drop for Pilot<'_, T> {
    fn drop(&mut self) {
        self.of.flights.0.borrow_mut().remove(&self.number);
        if self.of.last.get() == self.number {
            self.of.flying.set(false);
        }
    }
}
