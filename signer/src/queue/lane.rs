//! The line of one class: fair between holders, then between the accounts of one holder, then first come, first served. A holder
//! or an account with a thousand jobs delays another one's single job by one place, not by a thousand, and a holder with a thousand
//! accounts does not have more turns than one with a single account (start-time fair queueing on two levels; as all jobs cost the
//! same, that is taking turns).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use shared::timestamp::Timestamp;

use super::{AccountKey, Holder, Party, Waits, ring::Ring};

/// The jobs of an account, by their numbers.
type Jobs<J> = BTreeMap<u64, J>;

/// Jobs of one class.
#[derive(Debug)]
pub(super) struct Lane<J> {
    /// Those that had their turn and were put back, by their numbers: they go before all others.
    returned: Jobs<J>,
    waiting: Ring<Holder, Ring<AccountKey, Jobs<J>>>,
    /// Whose those are that wait for their turn, by their numbers.
    parties: HashMap<u64, Party>,
    /// By their deadlines.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// Since when the patience of those at the head runs, oldest first.
    window: VecDeque<Duration>,
    width: usize,
}

impl<J: Waits> Lane<J> {
    /// An empty line whose first `width` jobs are losing patience.
    pub(super) fn new(width: usize) -> Self {
        Self {
            returned: BTreeMap::new(),
            waiting: Ring::default(),
            parties: HashMap::new(),
            deadlines: BTreeSet::new(),
            window: VecDeque::new(),
            width: width.max(1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.returned.len().saturating_add(self.parties.len())
    }

    /// Since when the oldest of those at the head has been there.
    pub(super) const fn window(&self) -> &VecDeque<Duration> {
        &self.window
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Puts a job at the end of its account's.
    pub(super) fn push(&mut self, number: u64, job: J, now: Duration) {
        let party = job.party();
        self.deadlines.insert((job.deadline(), number));
        self.waiting.join(&party.holder).join(&party.account).insert(number, job);
        self.parties.insert(number, party);
        self.fill(now);
    }

    /// Puts a job back that had its turn: it is the next.
    pub(super) fn put_back(&mut self, number: u64, job: J) {
        self.deadlines.insert((job.deadline(), number));
        self.returned.insert(number, job);
        self.window.push_front(Duration::ZERO);
        self.window.truncate(self.width);
    }

    /// Takes out the first job that fits.
    pub(super) fn take(&mut self, fits: impl Fn(&J) -> bool, now: Duration) -> Option<(u64, J)> {
        let number = self.jobs().find(|(_, job)| fits(job)).map(|(number, _)| *number)?;
        let party = self.parties.get(&number).cloned();
        let job = self.remove(number)?;
        // One that was put back had its turn before.
        if let Some(Party { holder, account }) = party {
            if let Some(accounts) = self.waiting.value_mut(&holder) {
                accounts.had_its_turn(&account);
            }
            self.waiting.had_its_turn(&holder);
        }
        self.window.pop_front();
        self.fill(now);
        Some((number, job))
    }

    /// True when the job of some party fits.
    pub(super) fn any(&self, fits: impl Fn(&J) -> bool) -> bool {
        self.jobs().any(|(_, job)| fits(job))
    }

    /// Takes out all whose deadline has passed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<J> {
        let late: Vec<_> = self.deadlines.range(..(now, 0)).map(|(_, number)| *number).collect();
        let late = late.into_iter().filter_map(|number| self.remove(number)).collect();
        self.window.truncate(self.len());
        late
    }

    /// Jobs before this one; nothing when it does not wait.
    pub(super) fn ahead_of(&self, number: u64) -> Option<usize> {
        if self.returned.contains_key(&number) {
            return Some(self.returned.range(..number).count());
        }
        let party = self.parties.get(&number)?;
        let own = self.waiting.value(&party.holder)?.value(&party.account)?;
        Some(self.ahead(party, own.range(..number).count()))
    }

    /// Jobs that would be before a new one of this party.
    pub(super) fn ahead_of_new(&self, party: &Party) -> usize {
        let own = self.waiting.value(&party.holder).and_then(|accounts| accounts.value(&party.account));
        self.ahead(party, own.map_or(0, BTreeMap::len))
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = J> + use<J> {
        self.parties.clear();
        self.deadlines.clear();
        self.window.clear();
        let accounts = std::mem::take(&mut self.waiting).into_values().flat_map(Ring::into_values);
        std::mem::take(&mut self.returned).into_values().chain(accounts.flat_map(BTreeMap::into_values))
    }

    /// Jobs before one of this party that has so many of its account's before it.
    fn ahead(&self, party: &Party, own: usize) -> usize {
        let accounts = self.waiting.value(&party.holder);
        let accounts = accounts.map_or(0, |accounts| accounts.turns_before(&party.account, own, BTreeMap::len));
        let holders = own.saturating_add(accounts);
        let others = self.waiting.turns_before(&party.holder, holders, all);
        self.returned.len().saturating_add(holders).saturating_add(others)
    }

    /// All that wait; one that fits is taken from the front.
    fn jobs(&self) -> impl Iterator<Item = (&u64, &J)> {
        self.returned.iter().chain(self.waiting.values().flat_map(Ring::values).flatten())
    }

    fn remove(&mut self, number: u64) -> Option<J> {
        let job = match self.parties.remove(&number) {
            Some(Party { holder, account }) => {
                let accounts = self.waiting.value_mut(&holder)?;
                let jobs = accounts.value_mut(&account)?;
                let job = jobs.remove(&number)?;
                if jobs.is_empty() {
                    accounts.leave(&account);
                }
                if accounts.is_empty() {
                    self.waiting.leave(&holder);
                }
                job
            }
            None => self.returned.remove(&number)?,
        };
        self.deadlines.remove(&(job.deadline(), number));
        Some(job)
    }

    fn fill(&mut self, now: Duration) {
        while self.window.len() < self.width.min(self.len()) {
            self.window.push_back(now);
        }
    }
}

/// Jobs of a holder.
fn all<J>(accounts: &Ring<AccountKey, Jobs<J>>) -> usize {
    accounts.values().map(BTreeMap::len).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests;
