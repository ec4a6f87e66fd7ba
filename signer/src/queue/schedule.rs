//! Whose turn it is: earliest deadline first between the classes, where each class has a few deadlines running at a time. Pure: time
//! comes in as a value, so that a day of it can be tried in seconds.

use std::{collections::VecDeque, time::Duration};

use shared::timestamp::Timestamp;

use super::{Class, Party, Place, Waits, lane::Lane};

/// All jobs that wait.
#[derive(Debug)]
pub(super) struct Schedule<J> {
    lanes: [(Class, Lane<J>); Class::ALL.len()],
    tokens: usize,
    numbers: u64,
}

impl<J: Waits> Schedule<J> {
    /// Nothing waits. `tokens` are all that there are, whether they work or not.
    pub(super) fn new(tokens: usize) -> Self {
        let tokens = tokens.max(1);
        let lane = |class: Class| (class, Lane::new(class.window().saturating_mul(tokens)));
        Self { lanes: Class::ALL.map(lane), tokens, numbers: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.len()).fold(0, usize::saturating_add)
    }

    /// Jobs of a class that wait.
    pub(super) fn len_of(&self, class: Class) -> usize {
        self.lane(class).map_or(0, Lane::len)
    }

    /// A place that nobody else has.
    pub(super) const fn place(&mut self, class: Class) -> Place {
        self.numbers = self.numbers.saturating_add(1);
        Place { class, number: self.numbers }
    }

    /// True when the class has as many jobs as may wait.
    pub(super) fn is_full(&self, class: Class) -> bool {
        class.most().is_some_and(|most| self.len_of(class) >= most.saturating_mul(self.tokens))
    }

    pub(super) fn push(&mut self, place: Place, job: J, now: Duration) {
        if let Some(lane) = self.lane_mut(place.class) {
            lane.push(place.number, job, now);
        }
    }

    pub(super) fn put_back(&mut self, place: Place, job: J) {
        if let Some(lane) = self.lane_mut(place.class) {
            lane.put_back(place.number, job);
        }
    }

    /// Takes out the job whose turn it is, of those that fit in these classes.
    pub(super) fn take(
        &mut self,
        of: impl Fn(Class) -> bool,
        fits: impl Fn(&J) -> bool,
        now: Duration,
    ) -> Option<(Place, J)> {
        let able = self.lanes.iter_mut().filter(|(class, lane)| of(*class) && lane.any(&fits));
        let (class, lane) = able.min_by_key(|(class, lane)| due(*class, lane.window()))?;
        let (number, job) = lane.take(fits, now)?;
        Some((Place { class: *class, number }, job))
    }

    /// Takes out all whose deadline has passed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<J> {
        self.lanes.iter_mut().flat_map(|(_, lane)| lane.expired(now)).collect()
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> Vec<J> {
        self.lanes.iter_mut().flat_map(|(_, lane)| lane.clear()).collect()
    }

    /// When the job at this place will be signed if nobody comes meanwhile and a signature leaves every `pace`; soon when its
    /// turn has been.
    pub(super) fn wait_at(&self, place: Place, now: Duration, pace: Duration) -> Duration {
        match self.lane(place.class).and_then(|lane| lane.ahead_of(place.number)) {
            Some(ahead) => self.wait_behind(place.class, ahead, 0, now, pace),
            None => pace,
        }
    }

    /// As [`Self::wait_at`] for a job of this party that does not wait yet.
    pub(super) fn wait_of_new(&self, class: Class, party: &Party, now: Duration, pace: Duration) -> Duration {
        let ahead = self.lane(class).map_or(0, |lane| lane.ahead_of_new(party));
        self.wait_behind(class, ahead, 1, now, pace)
    }

    /// Plays the future: the same rule on numbers of jobs.
    fn wait_behind(&self, class: Class, ahead: usize, more: usize, now: Duration, pace: Duration) -> Duration {
        let mut lanes: Vec<_> = self.lanes.iter().map(|(class, lane)| Line::of(*class, lane)).collect();
        if more > 0
            && let Some(line) = lanes.iter_mut().find(|line| line.class == class)
        {
            line.len = line.len.saturating_add(more);
            line.fill(now);
        }
        let (mut time, mut ahead) = (now, ahead);
        loop {
            time = time.saturating_add(pace);
            let waiting = lanes.iter_mut().filter(|line| line.len > 0);
            let Some(next) = waiting.min_by_key(|line| due(line.class, &line.window)) else { break };
            next.len = next.len.saturating_sub(1);
            next.window.pop_front();
            next.fill(time);
            if next.class == class {
                match ahead.checked_sub(1) {
                    Some(fewer) => ahead = fewer,
                    None => break,
                }
            }
        }
        time.saturating_sub(now)
    }

    fn lane(&self, class: Class) -> Option<&Lane<J>> {
        self.lanes.iter().find(|(of, _)| *of == class).map(|(_, lane)| lane)
    }

    fn lane_mut(&mut self, class: Class) -> Option<&mut Lane<J>> {
        self.lanes.iter_mut().find(|(of, _)| *of == class).map(|(_, lane)| lane)
    }
}

/// A lane without its jobs.
struct Line {
    class: Class,
    len: usize,
    width: usize,
    window: VecDeque<Duration>,
}

impl Line {
    fn of<J: Waits>(class: Class, lane: &Lane<J>) -> Self {
        Self { class, len: lane.len(), width: lane.width(), window: lane.window().clone() }
    }

    fn fill(&mut self, now: Duration) {
        while self.window.len() < self.width.min(self.len) {
            self.window.push_back(now);
        }
    }
}

/// When the patience of the head of a line is at its end.
fn due(class: Class, window: &VecDeque<Duration>) -> Duration {
    window.front().copied().unwrap_or_default().saturating_add(class.patience())
}
