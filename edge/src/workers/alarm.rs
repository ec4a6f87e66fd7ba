//! The one alarm of an object, set for the row that is due next.

use std::cell::Cell;

use js_sys::Date;
use shared::timestamp::Timestamp;
use wasm_bindgen::JsValue;
use worker::{ScheduledTime, State, console_error};

use super::{environment, storage::SqlRows};
use crate::acme::storage::Rows as _;

/// The alarm that this incarnation has set.
#[derive(Debug, Default)]
pub(super) struct Alarm(Cell<Option<Timestamp>>);

impl Alarm {
    /// The platform has called: nothing is set any more.
    pub(super) fn rang(&self) {
        self.0.set(None);
    }

    /// Has the platform call when the next row is due, but not before `earliest`. An earlier alarm stays: it will see to the
    /// rest.
    pub(super) async fn arm(&self, state: &State, rows: &SqlRows, earliest: Timestamp) {
        let is_early = |next: Timestamp| self.0.get().is_some_and(|armed| armed <= next);
        if rows.not_due_before().is_some_and(|known| is_early(known.max(earliest))) {
            return;
        }
        let next = match rows.next_due() {
            Ok(Some(next)) => next.max(earliest),
            Ok(None) => return,
            Err(fault) => return console_error!("alarm: {fault}"),
        };
        if is_early(next) {
            return;
        }
        match state.storage().set_alarm(scheduled(next)).await {
            Ok(()) => self.0.set(Some(next)),
            // The next commit tries again.
            Err(error) => console_error!("alarm: {error}"),
        }
    }
}

/// Has the platform call then, unless it calls sooner anyway. What another incarnation has set counts: objects that are asked now and then
/// rarely live long, and each new one would put off for a while longer what is to be done regularly.
pub(super) async fn ring_by(state: &State, at: Timestamp) -> worker::Result<()> {
    let storage = state.storage();
    let is_set = |set| u64::try_from(set).is_ok_and(|set| set <= moment(at));
    if storage.get_alarm().await?.is_some_and(is_set) { Ok(()) } else { storage.set_alarm(scheduled(at)).await }
}

/// A point in time as the platform's alarms take it: within that second, three quarters as far as the time is in its own now. Thousands of
/// objects that are told to ask again in whole seconds do not all do so at the stroke of one, and each still does so before
/// its client, who was told the same number of seconds at the same moment.
pub(super) fn scheduled(at: Timestamp) -> ScheduledTime {
    // Milliseconds until the year 9999 are far below 2^53.
    ScheduledTime::new(Date::new(&JsValue::from_f64(moment(at) as f64)))
}

/// In milliseconds.
fn moment(at: Timestamp) -> u64 {
    let within = (environment::millis() % 1000).saturating_mul(3) / 4;
    at.seconds().saturating_mul(1000).saturating_add(within)
}
