//! Budgets of scopes: how many certificates there may be in a second, an hour and a day, whatever an edge says. What was spent is in
//! the journal: a restart forgets nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use shared::{jwk::Thumbprint, timestamp::Timestamp};

use crate::place::At;

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// A budget as an operator writes it. What is left out is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetConfig {
    /// Certificates in one second of the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<u32>,
    /// In any 3600 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_hour: Option<u32>,
    /// In any 86400 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_day: Option<u32>,
    /// Of all these, certificates of one account in any 86400 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) per_account_per_day: Option<u32>,
}

/// A checked budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Seconds with the certificates that fit into them, the shortest first.
    windows: Vec<(u64, usize)>,
    /// The same for each account.
    per_account: Vec<(u64, usize)>,
}

/// Scopes and accounts above which those that have spent nothing for a day are looked for and forgotten.
const MANY: usize = 10_000;

/// It is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{most} certificates in {window} s are spent; there is more in {retry_after} s")]
pub(crate) struct Exhausted {
    window: u64,
    most: usize,
    /// Whole seconds, at least 1.
    retry_after: u64,
}

/// What all scopes have spent in the last day. Times are of [`crate::clock::steady`], which no change of the system's clock moves.
#[derive(Debug, Default)]
pub(crate) struct Spendings(Mutex<BTreeMap<String, VecDeque<Timestamp>>>);

impl Exhausted {
    /// Whole seconds until there is more, at least 1.
    pub(crate) const fn retry_after(&self) -> u64 {
        self.retry_after
    }
}

impl BudgetConfig {
    /// # Errors
    /// When a number is zero: a scope that may nothing is left out, or stopped.
    pub(crate) fn check(self) -> anyhow::Result<Budget> {
        let windows =
            [("per_second", 1, self.per_second), ("per_hour", HOUR, self.per_hour), ("per_day", DAY, self.per_day)];
        let mut budget = Vec::new();
        for (key, window, most) in windows {
            if let Some(most) = most {
                let enough = if most > 0 { Ok(()) } else { Err(anyhow!("a budget is at least 1")) };
                enough.at(key)?;
                budget.push((window, usize::try_from(most).unwrap_or(usize::MAX)));
            }
        }
        let mut per_account = Vec::new();
        if let Some(most) = self.per_account_per_day {
            let enough = if most > 0 { Ok(()) } else { Err(anyhow!("a budget is at least 1")) };
            enough.at("per_account_per_day")?;
            per_account.push((DAY, usize::try_from(most).unwrap_or(usize::MAX)));
        }
        Ok(Budget { windows: budget, per_account })
    }
}

impl Budget {
    /// So many in any 86400 seconds.
    pub(crate) fn per_day(most: u32) -> Self {
        Self { windows: vec![(DAY, usize::try_from(most).unwrap_or(usize::MAX))], per_account: Vec::new() }
    }
}

impl Spendings {
    /// One more certificate of this scope, if its budget has it.
    ///
    /// # Errors
    /// When it has not; then nothing was spent.
    pub(crate) fn spend(&self, scope: &str, budget: &Budget, now: Timestamp) -> Result<(), Exhausted> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = all.entry(scope.to_owned()).or_default();
        check(spent, &budget.windows, now)?;
        note(spent, now);
        Ok(())
    }

    /// The same for a certificate of this account, which may have a budget of its own in the scope's.
    ///
    /// # Errors
    /// When either has no more; then nothing was spent.
    pub(crate) fn spend_for(
        &self,
        scope: &str,
        account: &Thumbprint,
        budget: &Budget,
        now: Timestamp,
    ) -> Result<(), Exhausted> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !budget.per_account.is_empty() {
            if all.len() >= MANY {
                all.retain(|_, spent| spent.back().is_some_and(|last| last.plus(DAY) > now));
            }
            check(all.entry(of_account(scope, account)).or_default(), &budget.per_account, now)?;
        }
        let spent = all.entry(scope.to_owned()).or_default();
        check(spent, &budget.windows, now)?;
        note(spent, now);
        if !budget.per_account.is_empty() {
            note(all.entry(of_account(scope, account)).or_default(), now);
        }
        Ok(())
    }

    /// Checks that the budget has one more for this account now.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) fn check_for(
        &self,
        scope: &str,
        account: &Thumbprint,
        budget: &Budget,
        now: Timestamp,
    ) -> Result<(), Exhausted> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&of_account(scope, account)).map_or(Ok(()), |spent| check(spent, &budget.per_account, now))?;
        all.get(scope).map_or(Ok(()), |spent| check(spent, &budget.windows, now))
    }
}

/// The name under which an account's spendings of a scope are kept. No name of a scope has a line feed.
fn of_account(scope: &str, account: &Thumbprint) -> String {
    format!("{scope}\n{account}")
}

/// What the journal says was spent, taken in in its order at start. A record of the future was written by a clock that was wrong: it counts as
/// of the next record that is not of the future, or of now, so that it costs at most one window however often the signer starts.
#[derive(Debug)]
pub(crate) struct Replay {
    now: Timestamp,
    spent: BTreeMap<String, Vec<Timestamp>>,
    /// True when some of `spent` are of the future.
    is_ahead: bool,
}

impl Replay {
    /// Of a start at this time.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { now, spent: BTreeMap::new(), is_ahead: false }
    }

    /// Takes in the time of a record, of whatever kind.
    pub(crate) fn see(&mut self, at: Timestamp) {
        if self.is_ahead && at <= self.now {
            let ahead = self.spent.values_mut().flatten().filter(|spent| **spent > self.now);
            ahead.for_each(|spent| *spent = at);
            self.is_ahead = false;
        }
    }

    /// Takes in what the journal says was spent then.
    pub(crate) fn spend(&mut self, scope: &str, at: Timestamp) {
        self.see(at);
        self.is_ahead |= at > self.now;
        if at.plus(DAY) > self.now {
            self.spent.entry(scope.to_owned()).or_default().push(at);
        }
    }

    /// Takes in a certificate of this account.
    pub(crate) fn spend_for(&mut self, scope: &str, account: &Thumbprint, at: Timestamp) {
        self.spend(scope, at);
        self.spend(&of_account(scope, account), at);
    }

    /// What has been spent.
    pub(crate) fn end(mut self) -> Spendings {
        self.see(self.now);
        let sorted = self.spent.into_iter().map(|(scope, mut spent)| {
            spent.sort_unstable();
            (scope, VecDeque::from(spent))
        });
        Spendings(Mutex::new(sorted.collect()))
    }
}

fn check(spent: &VecDeque<Timestamp>, windows: &[(u64, usize)], now: Timestamp) -> Result<(), Exhausted> {
    for (window, most) in windows.iter().copied() {
        if within(spent, window, now) >= most {
            // The oldest that must leave the window before another fits.
            let leaving =
                spent.len().checked_sub(most).and_then(|position| spent.get(position)).copied().unwrap_or(now);
            let retry_after = leaving.plus(window).since(now).max(1);
            return Err(Exhausted { window, most, retry_after });
        }
    }
    Ok(())
}

/// How many are younger than the window. They are in the order of time.
fn within(spent: &VecDeque<Timestamp>, window: u64, now: Timestamp) -> usize {
    let old = spent.partition_point(|at| at.plus(window) <= now);
    spent.len().saturating_sub(old)
}

fn note(spent: &mut VecDeque<Timestamp>, at: Timestamp) {
    // They stay in the order of time.
    let at = spent.back().map_or(at, |last| at.max(*last));
    while spent.front().is_some_and(|first| first.plus(DAY) <= at) {
        spent.pop_front();
    }
    spent.push_back(at);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000_u64.saturating_add(seconds))
    }

    fn budget(per_second: Option<u32>, per_hour: Option<u32>, per_day: Option<u32>) -> Budget {
        BudgetConfig { per_second, per_hour, per_day, per_account_per_day: None }.check().unwrap()
    }

    #[test]
    fn each_window_is_kept_and_says_when_there_is_more() {
        let (spendings, budget) = (Spendings::default(), budget(Some(2), Some(3), None));
        assert!(spendings.spend("a", &budget, at(0)).is_ok());
        assert!(spendings.spend("a", &budget, at(0)).is_ok());
        assert_eq!(spendings.spend("a", &budget, at(0)), Err(Exhausted { window: 1, most: 2, retry_after: 1 }));
        assert!(spendings.spend("a", &budget, at(1)).is_ok());
        let hour = Exhausted { window: HOUR, most: 3, retry_after: HOUR - 2 };
        assert_eq!(spendings.spend("a", &budget, at(2)), Err(hour));
        assert!(spendings.spend("b", &budget, at(2)).is_ok(), "another scope");
        assert!(spendings.spend("a", &budget, at(HOUR)).is_ok());
    }

    #[test]
    fn an_account_has_its_share_of_a_budget_across_restarts_and_leaves_others_theirs() {
        let config = BudgetConfig { per_day: Some(5), per_account_per_day: Some(2), ..BudgetConfig::default() };
        let (budget, [one, other]) = (config.check().unwrap(), [1, 2].map(|number| Thumbprint([number; 32])));
        let mut replay = Replay::new(at(10));
        replay.spend_for("a", &one, at(0));
        let spendings = replay.end();
        assert!(spendings.spend_for("a", &one, &budget, at(10)).is_ok());
        let share = Exhausted { window: DAY, most: 2, retry_after: DAY - 10 };
        assert_eq!(spendings.check_for("a", &one, &budget, at(10)), Err(share));
        assert_eq!(spendings.spend_for("a", &one, &budget, at(10)), Err(share));
        assert!(spendings.spend_for("b", &one, &budget, at(10)).is_ok(), "another scope");
        assert!((0..2).all(|_| spendings.spend_for("a", &other, &budget, at(10)).is_ok()));
        let third = Thumbprint([3; 32]);
        assert!(spendings.spend_for("a", &third, &budget, at(10)).is_ok());
        let all = spendings.spend_for("a", &third, &budget, at(10)).unwrap_err();
        assert_eq!((all.most, all.window), (5, DAY), "and all together have the scope's");
        assert!(spendings.spend_for("a", &one, &budget, at(DAY)).is_ok());
    }

    #[test]
    fn what_was_said_about_the_wait_is_true() {
        let (spendings, budget) = (Spendings::default(), budget(None, Some(5), Some(7)));
        let mut now = 0;
        for _ in 0..40 {
            match spendings.spend("a", &budget, at(now)) {
                Ok(()) => now += 11,
                Err(Exhausted { retry_after, .. }) => {
                    assert!(
                        spendings.check_for("a", &Thumbprint([1; 32]), &budget, at(now + retry_after - 1)).is_err()
                    );
                    now += retry_after;
                }
            }
        }
    }

    fn replayed(now: u64, records: &[u64]) -> Spendings {
        let mut replay = Replay::new(at(now));
        records.iter().for_each(|record| replay.spend("a", at(*record)));
        replay.end()
    }

    #[test]
    fn a_restart_and_a_clock_that_was_set_back_forget_nothing() {
        let (spendings, budget) = (replayed(100, &[100, 50]), budget(None, None, Some(2)));
        assert!(spendings.spend("a", &budget, at(100)).is_err());
        assert!(spendings.spend("a", &budget, at(100 + DAY)).is_ok());
    }

    #[test]
    fn records_of_the_future_cost_one_window_and_no_more_however_often_the_signer_starts() {
        let (budget, year) = (budget(None, None, Some(2)), 365 * DAY);
        // The clock was a year ahead, and nothing is written since it was set right.
        let spendings = replayed(100, &[year, year + 1]);
        assert!(spendings.spend("a", &budget, at(100)).is_err());
        assert!(spendings.spend("a", &budget, at(100 + DAY)).is_ok());
        // The next record, whatever it is of, tells when they were written at the latest: later starts count from that.
        for start in [200, 50_000, DAY] {
            let mut replay = Replay::new(at(start));
            replay.spend("a", at(year));
            replay.spend("a", at(year + 1));
            replay.see(at(150));
            let spendings = replay.end();
            assert!(spendings.check_for("a", &Thumbprint([1; 32]), &budget, at(150 + DAY - 1)).is_err(), "{start}");
            assert!(spendings.check_for("a", &Thumbprint([1; 32]), &budget, at(150 + DAY)).is_ok(), "{start}");
        }
        // A clock that was behind for a while, as one without a battery is at boot, frees nothing.
        assert!(replayed(1000, &[900, 0, 950]).check_for("a", &Thumbprint([1; 32]), &budget, at(1000)).is_err());
    }

    #[test]
    fn a_budget_of_nothing_is_a_mistake() {
        assert!(BudgetConfig { per_day: Some(0), ..BudgetConfig::default() }.check().is_err());
    }
}
