//! When tokens begin. A burst makes all of a signer begin at the same moment, and again at each end, so that a renewal, which goes before
//! the burst, finds all of them busy for a whole signature when it comes at the wrong time. Where much waits, each token begins well apart
//! from the others: then one is soon free. Waiting for that once costs a part of a signature; from then on nothing, as all take
//! the same time. Where they do not, or come and go, each has only so much time to wait with, and is left alone when that is spent.

use std::{
    collections::BTreeMap,
    iter,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Of faster tokens nobody waits long for one.
const LEAST: Duration = Duration::from_millis(50);

/// The distance of a token to the nearest other, in tenths of what it could be: where it stays, and where it goes otherwise.
const GOOD: u64 = 6;
const BETTER: u64 = 8;

/// A token waits for one part in so many of the time in which it signs, and at most once for as long as a signature takes.
const PART: u64 = 100;

/// The tokens of a signer.
#[derive(Debug)]
pub(crate) struct Rhythm {
    epoch: Instant,
    beats: Mutex<BTreeMap<usize, Beat>>,
}

/// A token, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Beat {
    /// When its last signature began, or the next one will; nothing when it has nothing to sign.
    begins: Option<u64>,
    takes: u64,
    /// How long it may still wait.
    left: u64,
}

impl Rhythm {
    /// Nobody signs. Times count from this one.
    pub(crate) const fn new(epoch: Instant) -> Self {
        Self { epoch, beats: Mutex::new(BTreeMap::new()) }
    }

    /// This token begins to sign at this moment, which takes it so long as a rule.
    pub(super) fn begins(&self, token: usize, at: Instant, takes: Duration) {
        let (begins, takes) = (Some(self.micros(at)), micros(takes));
        let mut beats = self.beats();
        let beat = beats.entry(token).or_insert(Beat { begins, takes, left: takes });
        let left = beat.left.saturating_add(takes.checked_div(PART).unwrap_or_default()).min(takes);
        *beat = Beat { begins, takes, left };
    }

    /// This token has nothing to sign.
    pub(super) fn rests(&self, token: usize) {
        self.beats().entry(token).and_modify(|beat| beat.begins = None);
    }

    /// Tokens that sign.
    pub(super) fn signing(&self) -> usize {
        self.beats().values().filter(|beat| beat.begins.is_some()).count()
    }

    /// How long this token, which signs now, should wait after its end before it begins anew. It is taken to do so.
    pub(super) fn wait(&self, token: usize) -> Duration {
        let mut beats = self.beats();
        let present = beats.get(&token).filter(|beat| beat.takes >= micros(LEAST));
        let Some(Beat { begins: Some(begins), takes, left }) = present.copied() else { return Duration::ZERO };
        let is_like = |other: &Beat| other.takes.abs_diff(takes).saturating_mul(10) <= takes;
        let others = beats.iter().filter(|(number, beat)| **number != token && is_like(beat));
        let others: Vec<_> = others.filter_map(|(_, beat)| beat.begins).collect();
        let end = begins.saturating_add(takes);
        let wait = wait(end, takes, &others).filter(|wait| *wait <= left).unwrap_or_default();
        if wait > 0 {
            let left = left.saturating_sub(wait);
            beats.insert(token, Beat { begins: Some(end.saturating_add(wait)), takes, left });
        }
        Duration::from_micros(wait)
    }

    fn micros(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.epoch))
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<usize, Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long one that is free at `end` should wait, where all take so long and others begin then; nothing where it is well placed.
fn wait(end: u64, takes: u64, others: &[u64]) -> Option<u64> {
    // How long after its own beginning each other one would begin.
    let after = |begins: u64| {
        let behind = end.checked_rem(takes)?;
        begins.checked_rem(takes)?.saturating_add(takes).saturating_sub(behind).checked_rem(takes)
    };
    let mut after: Vec<_> = others.iter().filter_map(|begins| after(*begins)).collect();
    after.sort_unstable();
    let (first, last) = (*after.first()?, *after.last()?);
    let next = after.iter().skip(1).copied().chain(iter::once(first.saturating_add(takes)));
    let gaps = || after.iter().zip(next.clone()).map(|(from, to)| (*from, to.saturating_sub(*from)));
    let best = gaps().map(|(_, length)| length).max()?.checked_div(2)?;
    let tenths = |tenths| best.saturating_mul(tenths).checked_div(10);
    if first.min(takes.saturating_sub(last)) >= tenths(GOOD)? {
        return None;
    }
    // The first moment that is far enough from the one before it and from the one behind it.
    let apart = tenths(BETTER)?;
    let wide = gaps().filter(|(_, length)| *length >= apart.saturating_mul(2));
    wide.filter_map(|(from, _)| from.saturating_add(apart).checked_rem(takes)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES: Duration = Duration::from_millis(250);

    /// Tokens that begin at the same moment and always have something to sign: how far apart the nearest two begin at last, and how long
    /// they have waited together. Each signature takes up to so many microseconds more.
    fn play(tokens: usize, rounds: u64, noise: u64) -> (Duration, Duration) {
        let epoch = crate::clock::instant();
        let rhythm = Rhythm::new(epoch);
        let (mut begins, mut waited) = (vec![Duration::ZERO; tokens], Duration::ZERO);
        let mut random = 1_u64;
        for _ in 0..rounds * tokens as u64 {
            let token = (0..tokens).min_by_key(|token| begins[*token]).unwrap();
            rhythm.begins(token, epoch + begins[token], TAKES);
            let wait = rhythm.wait(token);
            waited += wait;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            begins[token] += TAKES + wait + Duration::from_micros((random >> 33) % (noise + 1));
        }
        let mut phases: Vec<_> = begins.iter().map(|begin| begin.as_micros() % TAKES.as_micros()).collect();
        phases.sort_unstable();
        let wrapped = phases[0] + TAKES.as_micros();
        let next = phases.iter().skip(1).copied().chain([wrapped]);
        let nearest = phases.iter().zip(next).map(|(one, next)| next - one).min().unwrap();
        (Duration::from_micros(nearest as u64), waited)
    }

    #[test]
    fn tokens_that_began_together_soon_begin_one_after_the_other() {
        for tokens in 2..=6 {
            let (nearest, waited) = play(tokens, 10, 0);
            assert!(nearest * tokens as u32 * 10 >= TAKES * 5, "{tokens}: {nearest:?}");
            assert!(waited <= TAKES * tokens as u32, "{tokens}: {waited:?}");
        }
    }

    #[test]
    fn what_it_costs_in_the_long_run_is_one_percent_whatever_tokens_do() {
        for (tokens, noise) in [(2, 3000), (3, 30_000), (6, 3000), (6, 100_000)] {
            let (_, waited) = play(tokens, 1000, noise);
            let most = TAKES * tokens as u32 * (1 + 1000 / PART as u32);
            assert!(waited <= most, "{tokens}: {waited:?} of {:?}", TAKES * tokens as u32 * 1000);
        }
    }

    #[test]
    fn one_that_comes_and_goes_has_no_more_to_wait_with() {
        let epoch = crate::clock::instant();
        let rhythm = Rhythm::new(epoch);
        let waited = (0..20).map(|number| {
            let at = epoch + TAKES * number;
            rhythm.begins(1, at, TAKES);
            rhythm.begins(2, at, TAKES);
            let waited = rhythm.wait(1);
            rhythm.rests(1);
            waited
        });
        assert!(waited.sum::<Duration>() <= TAKES * 6 / 5);
        assert_eq!(rhythm.signing(), 1);
    }

    #[test]
    fn one_alone_a_fast_one_and_one_beside_slower_ones_never_wait() {
        let epoch = crate::clock::instant();
        let rhythm = Rhythm::new(epoch);
        rhythm.begins(1, epoch, TAKES);
        assert_eq!(rhythm.wait(1), Duration::ZERO);
        rhythm.begins(2, epoch, TAKES * 2);
        assert_eq!(rhythm.wait(1), Duration::ZERO);
        rhythm.begins(3, epoch, LEAST / 2);
        rhythm.begins(4, epoch, LEAST / 2);
        assert_eq!(rhythm.wait(3), Duration::ZERO);
        rhythm.begins(5, epoch, TAKES);
        assert_eq!(rhythm.wait(1), TAKES / 2 * 8 / 10);
        rhythm.rests(1);
        assert_eq!(rhythm.wait(5), Duration::ZERO);
    }
}
