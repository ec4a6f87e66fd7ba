//! Which certificates are revoked, and what CRLs say of them. Pure: time comes in as a value, nothing is read or written.
//!
//! A certificate that is revoked is on every CRL of its part until one was released that was signed after its end (RFC 5280 §3.3).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use shared::{
    crl::{CrlContent, CrlEntry},
    pointers::{CrlShard, IssuerId},
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::SignedCrl,
    timestamp::Timestamp,
};

use super::settings::CrlSettings;

/// A part of an issuer's certificates that has a CRL of its own.
pub(crate) type Part = (IssuerId, CrlShard);

/// Seconds until what failed is tried again.
const AGAIN: u64 = 5;

/// A revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Since when.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) reason: RevocationReason,
    /// The certificate's last valid second.
    pub(crate) not_after: Timestamp,
}

/// All revoked certificates that are of use, and the CRLs of all parts.
#[derive(Debug, Default)]
pub(super) struct Book {
    revoked: HashMap<IssuerId, BTreeMap<SerialNumber, Entry>>,
    /// Those that every part has told to their end, in case the clock was wrong.
    ended: HashMap<IssuerId, BTreeMap<SerialNumber, Entry>>,
    parts: BTreeMap<Part, State>,
}

/// Where a part is.
#[derive(Debug, Default)]
struct State {
    /// The highest number that was ever given.
    number: u64,
    /// The newest CRL that was released.
    released: Option<Released>,
    /// False when the journal says that there was a newer one.
    is_newest: bool,
    /// The first revocation that is on none.
    waiting_since: Option<Timestamp>,
    /// It is being signed.
    is_running: bool,
    /// Not tried again before.
    not_before: Option<Timestamp>,
}

/// A CRL that was released.
#[derive(Clone, Debug)]
struct Released {
    crl: Arc<SignedCrl>,
    serials: BTreeSet<SerialNumber>,
}

/// What operators want to know of an issuer's CRLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overview {
    /// The issuer.
    pub(crate) issuer: IssuerId,
    /// The highest number.
    pub(crate) number: u64,
    /// When the oldest of its newest CRLs was signed; 1970 when one was never.
    pub(crate) oldest: Timestamp,
    /// Parts in which a revocation waits for the next CRL.
    pub(crate) pending: u64,
}

impl Book {
    /// Takes in a revocation. The first one stays.
    pub(super) fn revoke(&mut self, issuer: IssuerId, serial: SerialNumber, entry: Entry) {
        self.revoked.entry(issuer).or_default().entry(serial).or_insert(entry);
        for ((of, shard), state) in &mut self.parts {
            if *of == issuer && shard.holds(serial) {
                state.waiting_since.get_or_insert(entry.at);
            }
        }
    }

    /// True when a part is known.
    pub(super) fn has(&self, part: Part) -> bool {
        self.parts.contains_key(&part)
    }

    /// The parts of an issuer.
    pub(super) fn shards_of(&self, issuer: IssuerId) -> Vec<CrlShard> {
        self.parts.keys().filter(|(of, _)| *of == issuer).map(|(_, shard)| *shard).collect()
    }

    /// Takes in a part, with the highest number that the journal has and the CRL that was released last, as far as it is there.
    pub(super) fn add(&mut self, part: Part, number: u64, last: Option<(CrlContent, Arc<SignedCrl>)>) {
        let is_newest = last.as_ref().is_some_and(|(content, _)| content.number >= number);
        let number = last.as_ref().map_or(number, |(content, _)| content.number.max(number));
        let released = last.map(|(content, crl)| Released::new(&content, crl));
        let mut state = State { number, released, is_newest, ..State::default() };
        state.waiting_since = self.waiting(part, state.released.as_ref());
        self.parts.insert(part, state);
    }

    /// Forgets the parts that nobody points to any more.
    pub(super) fn keep_only(&mut self, parts: &BTreeSet<Part>) {
        self.parts.retain(|part, state| parts.contains(part) || state.is_running);
    }

    /// Starts the parts whose time has come. Nobody else starts them before they have ended.
    pub(super) fn start(&mut self, now: Timestamp, settings: &CrlSettings) -> Vec<Part> {
        let due = |state: &State| {
            let is_free = !state.is_running && state.not_before.is_none_or(|at| at <= now);
            is_free && state.due(now, settings) <= now
        };
        let due = self.parts.iter_mut().filter(|(_, state)| due(state));
        due.map(|(part, state)| {
            state.is_running = true;
            *part
        })
        .collect()
    }

    /// What the next CRL of a part says.
    pub(super) fn content(
        &mut self,
        part: Part,
        (this_update, next_update): (Timestamp, Timestamp),
        distribution_point: Option<String>,
    ) -> Option<CrlContent> {
        if self.parts.get(&part)?.is_ahead_of(this_update) {
            self.remember(part.0, this_update);
        }
        let state = self.parts.get(&part)?;
        let of_part = self.of(part).filter(|(_, entry)| state.lists(entry, this_update));
        let entry = |(serial, Entry { at, reason, .. }): (&SerialNumber, &Entry)| CrlEntry {
            serial: *serial,
            at: *at,
            reason: *reason,
        };
        let number = state.number.saturating_add(1).max(this_update.seconds());
        Some(CrlContent { number, this_update, next_update, distribution_point, entries: of_part.map(entry).collect() })
    }

    /// A number is in the journal: it is never given again.
    pub(super) fn journaled(&mut self, part: Part, number: u64) {
        if let Some(state) = self.parts.get_mut(&part) {
            state.number = state.number.max(number);
        }
    }

    /// A CRL can be given out.
    pub(super) fn release(&mut self, part: Part, content: &CrlContent, crl: Arc<SignedCrl>) {
        let released = Released::new(content, crl);
        let waiting_since = self.waiting(part, Some(&released));
        if let Some(state) = self.parts.get_mut(&part) {
            let number = state.number.max(content.number);
            *state = State { number, released: Some(released), is_newest: true, waiting_since, ..State::default() };
        }
        self.forget(part.0);
    }

    /// A part could not be signed.
    pub(super) fn fail(&mut self, part: Part, now: Timestamp) {
        if let Some(state) = self.parts.get_mut(&part) {
            state.is_running = false;
            state.not_before = Some(now.plus(AGAIN));
        }
    }

    /// The newest CRL of a part, and whether a revocation waits for the next.
    pub(super) fn newest(&self, part: Part) -> Option<(Arc<SignedCrl>, bool)> {
        let state = self.parts.get(&part)?;
        Some((Arc::clone(&state.released.as_ref()?.crl), state.waiting_since.is_some()))
    }

    /// Of every issuer that has CRLs.
    pub(super) fn overviews(&self) -> Vec<Overview> {
        let mut overviews = BTreeMap::new();
        for ((issuer, _), state) in &self.parts {
            let zero = Overview { issuer: *issuer, number: 0, oldest: Timestamp::MAX, pending: 0 };
            let overview = overviews.entry(*issuer).or_insert(zero);
            let signed = state.this_update().unwrap_or(Timestamp::from_seconds(0));
            overview.number = overview.number.max(state.number);
            overview.oldest = overview.oldest.min(signed);
            overview.pending = overview.pending.saturating_add(u64::from(state.waiting_since.is_some()));
        }
        overviews.into_values().collect()
    }

    /// Revoked certificates of a part.
    fn of(&self, (issuer, shard): Part) -> impl Iterator<Item = (&SerialNumber, &Entry)> {
        self.revoked.get(&issuer).into_iter().flatten().filter(move |(serial, _)| shard.holds(**serial))
    }

    /// When the first revocation was that is not on this CRL and must be on the next.
    fn waiting(&self, part: Part, released: Option<&Released>) -> Option<Timestamp> {
        let is_missing = |(serial, entry): &(&SerialNumber, &Entry)| match released {
            Some(released) => entry.not_after >= released.crl.this_update && !released.serials.contains(serial),
            None => true,
        };
        self.of(part).filter(is_missing).map(|(_, entry)| entry.at).min()
    }

    /// Forgets the certificates of an issuer that every part has told to its end.
    fn forget(&mut self, issuer: IssuerId) {
        let of_issuer = self.parts.iter().filter(|((of, _), _)| *of == issuer);
        let told = of_issuer.map(|(_, state)| state.this_update().unwrap_or(Timestamp::from_seconds(0))).min();
        if let (Some(told), Some(revoked)) = (told, self.revoked.get_mut(&issuer)) {
            self.ended.entry(issuer).or_default().extend(revoked.extract_if(.., |_, entry| entry.not_after < told));
        }
    }

    /// The clock has gone back: what had ended by the clock before may be valid.
    fn remember(&mut self, issuer: IssuerId, now: Timestamp) {
        if let Some(ended) = self.ended.get_mut(&issuer) {
            self.revoked.entry(issuer).or_default().extend(ended.extract_if(.., |_, entry| entry.not_after >= now));
        }
    }
}

impl State {
    fn this_update(&self) -> Option<Timestamp> {
        self.released.as_ref().map(|released| released.crl.this_update)
    }

    /// True when the last CRL says that it was signed later than now: the clock has gone back.
    fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.this_update().is_some_and(|last| last > now)
    }

    /// When the next CRL is to be signed. One that is not good yet is nobody's newest.
    fn due(&self, now: Timestamp, settings: &CrlSettings) -> Timestamp {
        let is_good = self.is_newest && !self.is_ahead_of(now);
        let Some(last) = self.this_update().filter(|_| is_good) else { return Timestamp::from_seconds(0) };
        let regular = last.plus(settings.interval);
        let prompt = |first: Timestamp| if first > now { now } else { first.plus(settings.delay) };
        self.waiting_since.map_or(regular, |first| prompt(first).min(regular))
    }

    /// True when a revoked certificate is on a CRL of this time: until one was released after its end.
    fn lists(&self, entry: &Entry, now: Timestamp) -> bool {
        entry.not_after >= now || self.this_update().is_none_or(|last| entry.not_after >= last)
    }
}

impl Released {
    fn new(content: &CrlContent, crl: Arc<SignedCrl>) -> Self {
        Self { crl, serials: content.entries.iter().map(|entry| entry.serial).collect() }
    }
}

#[cfg(test)]
mod tests;
