//! Members that take turns: whoever comes goes to the end, and so does whoever had its turn and still wants something. Nobody is
//! passed by another member twice, and leaving and coming back gains nothing.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Members of a name with something each, in the order of their turns.
#[derive(Debug)]
pub(super) struct Ring<K, V> {
    members: BTreeMap<u64, (K, V)>,
    turns: HashMap<K, u64>,
    /// The turn of whoever comes next.
    end: u64,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { members: BTreeMap::new(), turns: HashMap::new(), end: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Ring<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What the members have, in the order of their turns.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.members.values().map(|(_, value)| value)
    }

    /// As [`Self::values`], for ever gone from here.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.members.into_values().map(|(_, value)| value)
    }

    pub(super) fn value(&self, key: &K) -> Option<&V> {
        self.members.get(self.turns.get(key)?).map(|(_, value)| value)
    }

    pub(super) fn value_mut(&mut self, key: &K) -> Option<&mut V> {
        self.members.get_mut(self.turns.get(key)?).map(|(_, value)| value)
    }

    /// What a member has; one that is new has nothing, and comes last.
    pub(super) fn join(&mut self, key: &K) -> &mut V
    where
        V: Default,
    {
        let turn = *self.turns.entry(key.clone()).or_insert_with(|| {
            self.end = self.end.saturating_add(1);
            self.end
        });
        &mut self.members.entry(turn).or_insert_with(|| (key.clone(), V::default())).1
    }

    /// A member had its turn: the next one is after everybody else's.
    pub(super) fn had_its_turn(&mut self, key: &K) {
        if let Some(value) = self.leave(key) {
            self.end = self.end.saturating_add(1);
            self.turns.insert(key.clone(), self.end);
            self.members.insert(self.end, (key.clone(), value));
        }
    }

    /// Takes a member out.
    pub(super) fn leave(&mut self, key: &K) -> Option<V> {
        let turn = self.turns.remove(key)?;
        self.members.remove(&turn).map(|(_, value)| value)
    }

    /// Turns that others have before this member has been given `before` turns and gets the next one; `wants` says how many each
    /// wants. A member that is not here yet would come last.
    pub(super) fn turns_before(&self, key: &K, before: usize, wants: impl Fn(&V) -> usize) -> usize {
        let own = self.turns.get(key).copied().unwrap_or(u64::MAX);
        let others = self.members.iter().filter(|(turn, _)| **turn != own);
        let had = others.map(|(turn, (_, value))| wants(value).min(before.saturating_add(usize::from(*turn < own))));
        had.fold(0, usize::saturating_add)
    }
}
