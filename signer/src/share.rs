//! How many of the connections, and of the places in the queue, one identity has, so that whoever holds its key can keep no other
//! edge out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Semaphore;

/// How much of the daemon the requests of one identity have, over all of its connections.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Requests that are answered.
    pub(crate) requests: Semaphore,
    /// Requests whose bodies are read.
    pub(crate) bodies: Semaphore,
}

/// The admission of each identity, by the names in client certificates.
#[derive(Debug)]
pub(crate) struct Admissions {
    requests: usize,
    bodies: usize,
    by_names: Mutex<BTreeMap<Vec<String>, Weak<Admission>>>,
}

impl Admissions {
    /// Makes room for `requests` requests of each identity, and for `bodies` bodies that are read.
    pub(crate) fn new(requests: usize, bodies: usize) -> Self {
        Self { requests, bodies, by_names: Mutex::default() }
    }

    /// Returns what all connections of this identity share.
    pub(crate) fn of(&self, names: &[String]) -> Arc<Admission> {
        let mut by_names = self.by_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_names.get(names).and_then(Weak::upgrade) {
            return known;
        }
        by_names.retain(|_, admission| admission.strong_count() > 0);
        let admission =
            Arc::new(Admission { requests: Semaphore::new(self.requests), bodies: Semaphore::new(self.bodies) });
        by_names.insert(names.to_vec(), Arc::downgrade(&admission));
        admission
    }
}

/// What is taken of something, by the names in client certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    most: usize,
    taken: Arc<Mutex<BTreeMap<Vec<String>, usize>>>,
}

/// What one identity has taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    names: Vec<String>,
}

impl Shares {
    /// So many for each identity.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// One more for this identity; nothing when it has as many as it may.
    pub(crate) fn take(&self, names: &[String]) -> Option<Share> {
        let mut taken = self.taken();
        let count = taken.entry(names.to_vec()).or_default();
        if *count >= self.most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Share { shares: self.clone(), names: names.to_vec() })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Vec<String>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(count) = taken.get_mut(&self.names) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_identity_share_its_admission_until_the_last_one_ends() {
        let admissions = Admissions::new(1, 1);
        let names = ["a".to_owned()];
        let (one, two) = (admissions.of(&names), admissions.of(&names));
        let _request = one.requests.try_acquire().unwrap();
        assert!(two.requests.try_acquire().is_err());
        assert!(admissions.of(&["b".to_owned()]).requests.try_acquire().is_ok());
        drop(two);
        drop(admissions.of(&["c".to_owned()]));
        assert_eq!(admissions.by_names.lock().unwrap().len(), 2, "those of identities without a connection are gone");
    }

    #[test]
    fn an_identity_has_its_share_and_gets_back_what_ends() {
        let shares = Shares::new(2);
        let (one, other) = (["a".to_owned()], ["b".to_owned()]);
        let held = [shares.take(&one), shares.take(&one)];
        assert!(held.iter().all(Option::is_some) && shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        drop(held);
        assert!(shares.taken().is_empty());
        assert!(shares.take(&one).is_some());
    }
}
