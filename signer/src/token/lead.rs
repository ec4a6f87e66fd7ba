//! When a token that still signs is given its next job: as late as can be, so that a renewal that comes meanwhile goes before it,
//! but early enough that the token never waits for the journal's disk.

use std::time::Duration;

/// The least time that a job is taken ahead.
const LEAST: Duration = Duration::from_millis(20);

/// How long jobs have taken from the queue to their worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lead {
    /// The slowest of them, forgotten by an eighth with each that is faster.
    slowest: Duration,
}

impl Lead {
    /// A job took so long.
    pub(super) fn took(&mut self, duration: Duration) {
        let faded = self.slowest.saturating_sub(self.slowest.checked_div(8).unwrap_or_default());
        self.slowest = duration.max(faded);
    }

    /// How long the next job stays in the queue yet, when the token has been with this one for so long and needs at least `usual`
    /// for one. Where that is not known: not at all.
    pub(super) fn pause(self, usual: Option<Duration>, elapsed: Duration) -> Duration {
        let ahead = self.slowest.saturating_mul(2).max(LEAST);
        usual.unwrap_or_default().saturating_sub(ahead).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_next_job_is_taken_shortly_before_the_token_is_free() {
        let lead = Lead::default();
        assert_eq!(lead.pause(Some(ms(250)), ms(0)), ms(230));
        assert_eq!(lead.pause(Some(ms(250)), ms(200)), ms(30));
        assert_eq!(lead.pause(Some(ms(250)), ms(240)), ms(0));
    }

    #[test]
    fn it_is_taken_at_once_by_a_token_that_is_fast_or_not_known_yet() {
        assert_eq!(Lead::default().pause(None, ms(0)), ms(0));
        assert_eq!(Lead::default().pause(Some(ms(15)), ms(0)), ms(0));
    }

    #[test]
    fn a_slow_disk_is_allowed_for_twice_and_forgotten_when_it_is_fast_again() {
        let mut lead = Lead::default();
        lead.took(ms(80));
        lead.took(ms(3));
        assert_eq!(lead.pause(Some(ms(250)), ms(0)), ms(250 - 140));
        (0..100).for_each(|_| lead.took(ms(3)));
        assert_eq!(lead.pause(Some(ms(250)), ms(0)), ms(230));
    }
}
