//! The clock: with `random.rs` the only files that read the world on their own. Everything else gets time as a value.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use shared::timestamp::Timestamp;

/// The present second by the system's clock; 1970 when that clock is before it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
}

/// Returns the second of the start plus the seconds that have passed since: a change of the system's clock does not move it.
pub(crate) fn steady() -> Timestamp {
    static START: OnceLock<(Instant, Timestamp)> = OnceLock::new();
    let (started, at) = *START.get_or_init(|| (instant(), now()));
    at.plus(instant().saturating_duration_since(started).as_secs())
}

/// A point of the monotonic clock, to measure how long something took.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
