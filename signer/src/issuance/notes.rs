//! Bounds the records that one caller can have written to the journal: by refusals, and by verbs that write one for each request. Records
//! of refusals that are left out are counted, and the next record says how many.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use shared::{signing::Refusal, timestamp::Timestamp};

/// Records that a caller may cause at once.
const BURST: u64 = 1000;
/// Callers that are told apart; the records of more than these count as those of one.
const CALLERS: usize = 1024;
/// Orders that wait for a budget or an operator, and have the record of that refusal.
const REMEMBERED: usize = 4096;

/// The records of refusals that every caller has left.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    allowance: Allowance<BURST>,
    repeated: Mutex<Repeated>,
}

/// The records that every caller has left: one for each second, up to `BURST`.
#[derive(Debug, Default)]
pub(crate) struct Allowance<const BURST: u64>(Mutex<BTreeMap<String, Caller>>);

#[derive(Debug)]
struct Caller {
    left: u64,
    since: Timestamp,
    left_out: u64,
}

/// The records that an edge has left for `settle` and `bind`. A burst settles the orders of a signer that failed.
pub(crate) type Written = Allowance<10_000>;

/// The refusals of orders that have a record, the oldest first.
#[derive(Debug, Default)]
struct Repeated {
    hasher: RandomState,
    known: HashSet<u64>,
    by_age: VecDeque<u64>,
}

impl Notes {
    /// Decides whether a refusal is recorded. Returns how many before it were not; nothing when it is left out, because the caller has no
    /// records left, or because this order waits for a budget or an operator and has its record.
    pub(crate) fn take(&self, caller: &str, order: &str, reason: Refusal, now: Timestamp) -> Option<u64> {
        let waits = matches!(reason, Refusal::OverBudget | Refusal::Stopped) && !order.is_empty();
        let is_repeated = waits && self.repeated.lock().unwrap_or_else(PoisonError::into_inner).is_known(order, reason);
        if is_repeated { None } else { self.allowance.take(caller, now) }
    }
}

impl Repeated {
    /// Remembers a refusal. Returns true when it was known.
    fn is_known(&mut self, order: &str, reason: Refusal) -> bool {
        let hash = self.hasher.hash_one((order, reason));
        if !self.known.insert(hash) {
            return true;
        }
        self.by_age.push_back(hash);
        if self.by_age.len() > REMEMBERED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
        false
    }
}

impl<const BURST: u64> Allowance<BURST> {
    /// Takes one record of this caller. Returns how many it was denied since the last one, or nothing when it has none left.
    pub(crate) fn take(&self, caller: &str, now: Timestamp) -> Option<u64> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = callers.len() < CALLERS || callers.contains_key(caller);
        let caller = if known { caller } else { "" };
        let new = || Caller { left: BURST, since: now, left_out: 0 };
        let caller = callers.entry(caller.to_owned()).or_insert_with(new);
        caller.left = caller.left.saturating_add(now.since(caller.since)).min(BURST);
        // A clock that was ahead and is set back must not stop the count until then.
        caller.since = now;
        let Some(left) = caller.left.checked_sub(1) else {
            caller.left_out = caller.left_out.saturating_add(1);
            return None;
        };
        caller.left = left;
        Some(std::mem::take(&mut caller.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_is_refused_all_day_makes_a_record_a_second_and_each_refusal_is_counted() {
        let notes = Notes::default();
        let (mut records, mut counted) = (0, 0);
        for number in 0..864_000_u64 {
            if let Some(left_out) =
                notes.take("evil", "", Refusal::Malformed, Timestamp::from_seconds(1_800_000_000 + number / 10))
            {
                records += 1;
                counted += left_out + 1;
            }
        }
        assert!((86_400..=87_400).contains(&records), "{records}");
        assert!(864_000 - counted < 10, "{counted}");
        assert_eq!(
            notes.take("honest", "", Refusal::Malformed, Timestamp::from_seconds(1_800_000_000)),
            Some(0),
            "others have their own"
        );
    }

    #[test]
    fn a_refusal_that_is_repeated_for_one_order_has_one_record() {
        let (notes, now) = (Notes::default(), Timestamp::from_seconds(1_800_000_000));
        let take = |order: &str, reason| notes.take("edge", order, reason, now);
        assert_eq!(take("o", Refusal::OverBudget), Some(0));
        assert!((0..10_000).all(|_| take("o", Refusal::OverBudget).is_none()));
        assert_eq!(take("o", Refusal::Stopped), Some(0), "another reason is news");
        assert_eq!(take("o", Refusal::NotPermitted), Some(0));
        assert_eq!(take("o", Refusal::NotPermitted), Some(0), "a forbidden request has its record each time");
        assert_eq!(take("p", Refusal::OverBudget), Some(0), "and so is another order");
    }

    #[test]
    fn a_clock_that_was_ahead_costs_a_caller_no_records_once_it_is_set_right() {
        let (allowance, at) = (Allowance::<2>::default(), Timestamp::from_seconds);
        assert_eq!(allowance.take("edge", at(1_900_000_000)), Some(0));
        assert_eq!(allowance.take("edge", at(1_800_000_000)), Some(0));
        assert_eq!(allowance.take("edge", at(1_800_000_000)), None);
        assert_eq!(allowance.take("edge", at(1_800_000_001)), Some(1));
    }
}
