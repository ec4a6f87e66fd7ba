//! How many of the connections, and of the places in the queue, one identity has, so that whoever holds its key can keep no other
//! edge out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
