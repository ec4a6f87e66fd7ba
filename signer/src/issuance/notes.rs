//! How many refusals of one caller the journal records: whoever is refused again and again must not fill the disk by it. What is left
//! out is counted, and the next record says how many.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use shared::timestamp::Timestamp;

/// Records that a caller may cause at once.
const BURST: u64 = 1000;
/// Callers that are told apart; the records of more than these count as those of one.
const CALLERS: usize = 1024;

/// What every caller has left: a record for each second, up to [`BURST`].
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<BTreeMap<String, Caller>>);

#[derive(Debug)]
struct Caller {
    left: u64,
    since: Timestamp,
    left_out: u64,
}

impl Notes {
    /// Whether a refusal of this caller is recorded; then, how many before it were not.
    pub(crate) fn take(&self, caller: &str, now: Timestamp) -> Option<u64> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = callers.len() < CALLERS || callers.contains_key(caller);
        let caller = if known { caller } else { "" };
        let new = || Caller { left: BURST, since: now, left_out: 0 };
        let caller = callers.entry(caller.to_owned()).or_insert_with(new);
        caller.left = caller.left.saturating_add(now.since(caller.since)).min(BURST);
        caller.since = caller.since.max(now);
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
            if let Some(left_out) = notes.take("evil", Timestamp::from_seconds(1_800_000_000 + number / 10)) {
                records += 1;
                counted += left_out + 1;
            }
        }
        assert!((86_400..=87_400).contains(&records), "{records}");
        assert!(864_000 - counted < 10, "{counted}");
        assert_eq!(notes.take("honest", Timestamp::from_seconds(1_800_000_000)), Some(0), "others have their own");
    }
}
