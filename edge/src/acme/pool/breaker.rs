//! When a signer that does not answer is left alone, and when it is tried again.

use super::Millis;

/// So many failures in a row, and a signer is left alone.
const TOLERATED: u32 = 2;

/// Milliseconds until the first probe; twice as many until each one after it, up to the last.
const FIRST_PAUSE: Millis = 1000;
const LONGEST_PAUSE: Millis = 16_000;

/// The failures of a signer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breaker {
    /// In a row.
    failures: u32,
    /// Until then it is left alone, if it is.
    until: Millis,
}

impl Breaker {
    /// True when it takes no orders: from too many failures until a probe has been answered.
    pub(super) const fn is_open(self) -> bool {
        self.failures >= TOLERATED
    }

    /// True when it takes no orders and is not to be probed yet.
    pub(super) const fn rests(self, now: Millis) -> bool {
        self.is_open() && now < self.until
    }

    /// It answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not. What fails while it is left alone was asked before that, and says nothing new.
    pub(super) fn failed(&mut self, now: Millis) {
        if self.rests(now) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(tries) = self.failures.checked_sub(TOLERATED) {
            let pause = FIRST_PAUSE.checked_shl(tries.min(16)).unwrap_or(LONGEST_PAUSE);
            self.until = now.saturating_add(pause.min(LONGEST_PAUSE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_at_the_second_failure_in_a_row_and_closes_at_the_first_answer() {
        let mut breaker = Breaker::default();
        breaker.failed(0);
        breaker.succeeded();
        breaker.failed(0);
        assert!(!breaker.is_open());
        breaker.failed(0);
        assert!(breaker.is_open() && breaker.rests(999) && !breaker.rests(1000));
        breaker.succeeded();
        assert!(!breaker.is_open());
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_its_bound() {
        let (mut breaker, mut now, mut pauses) = (Breaker::default(), 0, Vec::new());
        breaker.failed(now);
        for _ in 0..7 {
            breaker.failed(now);
            // Questions that were on their way.
            (0..50).for_each(|_| breaker.failed(now));
            pauses.push(breaker.until - now);
            now = breaker.until;
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
    }
}
