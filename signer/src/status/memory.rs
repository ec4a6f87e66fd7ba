//! A bounded memory: of what was not asked for longest the first is forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// At most so many values by their keys.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    most: usize,
    clock: u64,
    values: HashMap<K, (u64, V)>,
    /// By when they were asked for last.
    order: BTreeMap<u64, K>,
}

impl<K: Hash + Eq + Copy, V: Clone> Memory<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, clock: 0, values: HashMap::new(), order: BTreeMap::new() }
    }

    /// The value, which is now the last to be forgotten.
    pub(super) fn recall(&mut self, key: &K) -> Option<V> {
        let now = self.tick();
        let (used, value) = self.values.get_mut(key)?;
        self.order.remove(used);
        *used = now;
        self.order.insert(now, *key);
        Some(value.clone())
    }

    /// Takes in a value, in the place of an older one.
    pub(super) fn keep(&mut self, key: K, value: V) {
        let now = self.tick();
        if let Some((used, _)) = self.values.insert(key, (now, value)) {
            self.order.remove(&used);
        }
        self.order.insert(now, key);
        while self.values.len() > self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
    }

    const fn tick(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_is_forgotten_first() {
        let mut memory = Memory::new(2);
        memory.keep(1, "one");
        memory.keep(2, "two");
        assert_eq!(memory.recall(&1), Some("one"));
        memory.keep(3, "three");
        assert_eq!((memory.recall(&1), memory.recall(&2), memory.recall(&3)), (Some("one"), None, Some("three")));
        memory.keep(1, "another");
        assert_eq!((memory.recall(&1), memory.values.len(), memory.order.len()), (Some("another"), 2, 2));
    }
}
