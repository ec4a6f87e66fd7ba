//! What a journal sums up to: records by kind and day, and the certificates that are valid.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::Serialize;
use shared::{serial::SerialNumber, timestamp::Timestamp};

use super::{Event, Record, RevokedBy, read::Whole, search};

/// Counts of a journal. Times are of the signer's clock, days in UTC.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stats {
    records: u64,
    segments: u32,
    /// Of all whole lines.
    bytes: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    kinds: BTreeMap<String, u64>,
    /// By day, then by kind.
    days: BTreeMap<String, BTreeMap<String, u64>>,
    /// By issuer: certificates that were ever signed.
    signed: BTreeMap<String, u64>,
    revoked: u64,
    /// Of these, those that no client asked for.
    disowned: u64,
    /// By issuer, then by profile: certificates that are valid now and not revoked.
    valid: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Takes records in, in order.
#[derive(Debug)]
pub(crate) struct Counter {
    now: Timestamp,
    stats: Stats,
    /// Intents that are not signed yet, by their index.
    intended: HashMap<u64, Certificate>,
    /// By serial number: those that are valid now.
    valid: HashMap<SerialNumber, Certificate>,
}

#[derive(Clone, Debug)]
struct Certificate {
    issuer: String,
    profile: String,
    is_valid: bool,
}

impl Counter {
    /// Begins before the first record; validity is judged at `now`.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now, stats: Stats::default(), intended: HashMap::new(), valid: HashMap::new() }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// Never: a record can be written.
    pub(crate) fn count(&mut self, record: &Record) -> serde_json::Result<()> {
        let stats = &mut self.stats;
        stats.first.get_or_insert(record.at);
        stats.last = Some(record.at);
        let day = record.at.to_string().chars().take(10).collect();
        let value = serde_json::to_value(record)?;
        if let Some((kind, _)) = search::kind(&value) {
            add(stats.kinds.entry(kind.clone()).or_default());
            add(stats.days.entry(day).or_default().entry(kind.clone()).or_default());
        }
        match &record.event {
            Event::Intent(intent) => {
                let is_valid = intent.not_before <= self.now && self.now <= intent.not_after;
                let (issuer, profile) = (intent.issuer.clone(), intent.profile.to_string());
                self.intended.insert(record.index, Certificate { issuer, profile, is_valid });
            }
            Event::Signed(signed) => {
                if let Some(certificate) = self.intended.remove(&signed.intent) {
                    add(stats.signed.entry(certificate.issuer.clone()).or_default());
                    if certificate.is_valid {
                        self.valid.insert(signed.serial, certificate);
                    }
                }
            }
            Event::Revoked(revoked) => {
                add(&mut stats.revoked);
                if revoked.right == RevokedBy::Disowned {
                    add(&mut stats.disowned);
                }
                self.valid.remove(&revoked.serial);
            }
            _ => {}
        }
        Ok(())
    }

    /// The sums of a journal that was read to its end and has so many bytes.
    pub(crate) fn end(mut self, whole: &Whole, bytes: u64) -> Stats {
        for Certificate { issuer, profile, .. } in self.valid.into_values() {
            add(self.stats.valid.entry(issuer).or_default().entry(profile).or_default());
        }
        Stats { records: whole.head.length, segments: whole.segments, bytes, ..self.stats }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
        writeln!(f, "{} records, {} bytes, {} segments", self.records, self.bytes, self.segments)?;
        writeln!(f, "first {}, last {}", time(self.first), time(self.last))?;
        writeln!(f, "\nby kind")?;
        self.kinds.iter().try_for_each(|(kind, count)| writeln!(f, "  {kind:<12} {count:>10}"))?;
        writeln!(f, "\nsigned by issuer, ever")?;
        self.signed.iter().try_for_each(|(issuer, count)| writeln!(f, "  {issuer:<12} {count:>10}"))?;
        let Self { revoked, disowned, .. } = self;
        writeln!(
            f,
            "\nvalid now by issuer and profile ({revoked} were revoked, ever, {disowned} of them by no client)"
        )?;
        for (issuer, profiles) in &self.valid {
            for (profile, count) in profiles {
                writeln!(f, "  {issuer:<12} {profile:<12} {count:>10}")?;
            }
        }
        write!(f, "\nby day")?;
        for (day, kinds) in &self.days {
            let counts: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            write!(f, "\n  {day}  {}", counts.join(", "))?;
        }
        Ok(())
    }
}

fn add(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use shared::base64url::Base64Url;

    use super::*;
    use crate::{
        fixture,
        journal::{Head, file::Marks},
    };

    #[test]
    fn a_certificate_counts_as_valid_from_its_signature_to_its_end() {
        let (intent, signed) = fixture::signed();
        let events = [Event::Intent(Box::new(intent.clone())), Event::Signed(signed)];
        let valid_at = |now: Timestamp, events: &[Event]| {
            let mut counter = Counter::new(now);
            for (index, event) in (0..).zip(events) {
                let (previous, at) = (Base64Url(vec![0; 32]), Timestamp::from_seconds(86_400 * index));
                counter.count(&Record { index, previous, at, policy: None, event: event.clone() }).unwrap();
            }
            let whole =
                Whole { head: Head { length: 2, ..Head::EMPTY }, marks: Marks::default(), segments: 1, torn: 0 };
            let stats = serde_json::to_value(counter.end(&whole, 9)).unwrap();
            assert_eq!((&stats["records"], &stats["bytes"]), (&2.into(), &9.into()));
            assert_eq!(stats["first"], "1970-01-01T00:00:00Z");
            stats
        };
        let stats = valid_at(intent.not_after, &events);
        assert_eq!(stats["valid"]["a1"]["server"], 1);
        assert_eq!((&stats["signed"]["a1"], &stats["kinds"]["signed"]), (&1.into(), &1.into()));
        assert_eq!(stats["days"]["1970-01-02"]["signed"], 1);
        assert!(valid_at(intent.not_after.plus(1), &events)["valid"]["a1"].is_null());
        assert!(valid_at(intent.not_after, &events[..1])["valid"]["a1"].is_null());
    }
}
