//! When a certificate is to be renewed, as arithmetic: time is cut into slots, and a certificate gets the one with the fewest
//! others among those that its life allows. Each status object balances its own certificates, which serial numbers spread evenly
//! over all of them: so the sum is balanced too, and nobody has to know it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use shared::{serial::SerialNumber, timestamp::Timestamp};

use super::renewal_config::{PullForward, RenewalConfig};

/// Seconds of a slot. Stored loads are counts of slots of this length: it stays.
pub const SLOT: u64 = 900;

/// Fewer slots than these to choose from are none.
const FEWEST: u64 = 4;

/// Seconds of a window that was pulled forward: the rate must not drown in the choice of a moment within it.
const PULLED: u64 = 60;

/// Status objects: serial numbers have a first byte below 128.
const SHARDS: u64 = 128;

/// Within these times a client renews: at a moment that it draws, at once when that has passed (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its first second.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
}

/// Where a window may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    first: Timestamp,
    last: Timestamp,
}

impl Allowed {
    /// Of a certificate of this validity.
    #[must_use]
    pub fn of(not_before: Timestamp, not_after: Timestamp, config: &RenewalConfig) -> Self {
        let life = not_after.since(not_before);
        let after = |percent: u64| not_before.plus(life.saturating_mul(percent).checked_div(100).unwrap_or(0));
        Self { first: after(config.earliest_percent), last: after(config.latest_percent) }
    }

    /// The numbers of the slots that lie in it completely; none when they are too few to spread anything over.
    #[must_use]
    pub fn slots(&self) -> Range<u64> {
        let (first, end) = (self.first.seconds().div_ceil(SLOT), slot_of(self.last));
        if end.saturating_sub(first) < FEWEST { first..first } else { first..end }
    }

    /// The window of a certificate whose life is too short for slots: half of what is allowed, anywhere in it.
    #[must_use]
    pub fn half(&self, serial: SerialNumber) -> Window {
        let half = self.last.since(self.first).checked_div(2).unwrap_or(0);
        let start = self.first.plus(below(half, serial));
        Window { start, end: start.plus(half.max(1)) }
    }
}

impl Window {
    /// A slot.
    #[must_use]
    pub const fn slot(number: u64) -> Self {
        let start = Timestamp::from_seconds(number.saturating_mul(SLOT));
        Self { start, end: start.plus(SLOT) }
    }

    /// What says: now. It has passed.
    #[must_use]
    pub const fn past(end: Timestamp) -> Self {
        Self { start: end.minus(SLOT), end }
    }

    /// The same for the certificate of this rank among those of its issuer in its status object, counted in the order in which they
    /// would have been renewed: never later than it was.
    #[must_use]
    pub fn pulled(self, rank: u64, serial: SerialNumber, pull: &PullForward) -> Self {
        // Those of all objects take turns.
        let place = rank.saturating_mul(SHARDS).saturating_add(shard_of(serial));
        let wait = place.saturating_mul(pull.rate.seconds).checked_div(pull.rate.count.into()).unwrap_or(0);
        let start = pull.since.plus(wait);
        if start < self.start { Self { start, end: start.plus(PULLED) } } else { self }
    }
}

/// The slot with the least load; of several the first one behind where the serial number, which is random, says to begin.
#[must_use]
pub fn least_loaded(slots: Range<u64>, serial: SerialNumber, load: impl Fn(u64) -> u64) -> Option<u64> {
    let count = slots.end.saturating_sub(slots.start);
    let begin = slots.start.saturating_add(below(count, serial));
    let (from, to) = (slots.start, slots.end);
    (begin..to).chain(from..begin.min(to)).min_by_key(|slot| load(*slot))
}

/// The slot that a time is in.
#[must_use]
pub fn slot_of(at: Timestamp) -> u64 {
    at.seconds().checked_div(SLOT).unwrap_or(0)
}

/// Seconds after which a client may ask again: the configured time, at most a quarter of the certificate's life; by up to an eighth
/// sooner, always as much for the same certificate, so that those of one minute do not stay together.
#[must_use]
pub fn retry_after(life: u64, serial: SerialNumber, config: &RenewalConfig) -> u64 {
    let most = config.retry_after_seconds.min(life.checked_div(4).unwrap_or(0)).max(60);
    most.saturating_sub(below(most.checked_div(8).unwrap_or(0), serial))
}

/// A number below this that a serial number stands for; zero when it is zero.
pub(super) fn below(count: u64, serial: SerialNumber) -> u64 {
    let [.., a, b, c, d] = *serial.as_bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])).checked_rem(count).unwrap_or(0)
}

fn shard_of(serial: SerialNumber) -> u64 {
    let [first, ..] = *serial.as_bytes();
    first.into()
}
