//! The line of one class: fair between parties, first come, first served within one. A party with a thousand jobs delays another
//! one's single job by one place, not by a thousand (start-time fair queueing with jobs of equal cost).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use shared::timestamp::Timestamp;

use super::{Party, Waits};

/// Jobs of one class.
#[derive(Debug)]
pub(super) struct Lane<J> {
    /// By the round in which it is their turn, then by their numbers.
    waiting: BTreeMap<(u64, u64), J>,
    /// The rounds of the jobs that wait, by their numbers.
    rounds: HashMap<u64, u64>,
    /// By their deadlines.
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// The last round that a party has a job in.
    last: HashMap<Party, u64>,
    /// The round of the job that was taken last.
    round: u64,
    /// Since when the patience of those at the head runs, oldest first.
    window: VecDeque<Duration>,
    width: usize,
}

impl<J: Waits> Lane<J> {
    /// An empty line whose first `width` jobs are losing patience.
    pub(super) fn new(width: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            rounds: HashMap::new(),
            deadlines: BTreeSet::new(),
            last: HashMap::new(),
            round: 0,
            window: VecDeque::new(),
            width: width.max(1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Since when the oldest of those at the head has been there.
    pub(super) const fn window(&self) -> &VecDeque<Duration> {
        &self.window
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// Puts a job at the end of its party's.
    pub(super) fn push(&mut self, number: u64, job: J, now: Duration) {
        let last = self.last.get(&job.party()).copied().unwrap_or(0);
        let round = self.round.max(last).saturating_add(1);
        self.last.insert(job.party(), round);
        self.insert(round, number, job);
        self.fill(now);
    }

    /// Puts a job back that had its turn: it is the next.
    pub(super) fn put_back(&mut self, number: u64, job: J) {
        self.insert(0, number, job);
        self.window.push_front(Duration::ZERO);
        self.window.truncate(self.width);
    }

    /// Takes out the first job that fits.
    pub(super) fn take(&mut self, fits: impl Fn(&J) -> bool, now: Duration) -> Option<(u64, J)> {
        let (round, number) = self.waiting.iter().find(|(_, job)| fits(job)).map(|(key, _)| *key)?;
        let job = self.remove(number)?;
        self.round = self.round.max(round);
        self.window.pop_front();
        self.fill(now);
        // Parties that have had all their turns are forgotten, now and then.
        if self.last.len() > self.waiting.len().saturating_mul(2).saturating_add(64) {
            let current = self.round;
            self.last.retain(|_, last| *last > current);
        }
        Some((number, job))
    }

    /// True when the job of some party fits.
    pub(super) fn any(&self, fits: impl Fn(&J) -> bool) -> bool {
        self.waiting.values().any(fits)
    }

    /// Takes out all whose deadline has passed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<J> {
        let late: Vec<_> = self.deadlines.range(..(now, 0)).map(|(_, number)| *number).collect();
        let late = late.into_iter().filter_map(|number| self.remove(number)).collect();
        self.window.truncate(self.waiting.len());
        late
    }

    /// Jobs before this one; nothing when it does not wait.
    pub(super) fn ahead_of(&self, number: u64) -> Option<usize> {
        let round = self.rounds.get(&number)?;
        Some(self.waiting.range(..(*round, number)).count())
    }

    /// Jobs that would be before a new one of this party.
    pub(super) fn ahead_of_new(&self, party: &Party) -> usize {
        let last = self.last.get(party).copied().unwrap_or(0);
        let round = self.round.max(last).saturating_add(1);
        self.waiting.range(..(round, u64::MAX)).count()
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = J> + use<J> {
        self.rounds.clear();
        self.deadlines.clear();
        self.last.clear();
        self.window.clear();
        std::mem::take(&mut self.waiting).into_values()
    }

    fn insert(&mut self, round: u64, number: u64, job: J) {
        self.deadlines.insert((job.deadline(), number));
        self.rounds.insert(number, round);
        self.waiting.insert((round, number), job);
    }

    fn remove(&mut self, number: u64) -> Option<J> {
        let round = self.rounds.remove(&number)?;
        let job = self.waiting.remove(&(round, number))?;
        self.deadlines.remove(&(job.deadline(), number));
        Some(job)
    }

    fn fill(&mut self, now: Duration) {
        while self.window.len() < self.width.min(self.waiting.len()) {
            self.window.push_back(now);
        }
    }
}
