//! Records of the future: the clock was ahead when they were written, or is behind now.

use shared::timestamp::Timestamp;

use super::Record;

/// What a start finds of them.
#[derive(Debug)]
pub(crate) struct Ahead {
    now: Timestamp,
    records: u64,
    /// The first one's index.
    first: Option<u64>,
    latest: Timestamp,
}

impl Ahead {
    /// Of a start at this time.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { now, records: 0, first: None, latest: now }
    }

    /// Takes in a record.
    pub(crate) fn see(&mut self, record: &Record) {
        if record.at > self.now {
            self.records = self.records.saturating_add(1);
            self.first.get_or_insert(record.index);
            self.latest = self.latest.max(record.at);
        }
    }

    /// Logs a warning when there are some.
    pub(crate) fn report(&self) {
        let Self { now, records, first: Some(first), latest } = self else { return };
        tracing::warn!(
            records,
            first,
            %latest,
            %now,
            "the journal has records of the future: the clock was ahead when they were written, or is behind now; compare it with a time server"
        );
    }
}
