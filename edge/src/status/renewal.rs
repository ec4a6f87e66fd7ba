//! When certificates are to be renewed, as their status object stores it: the window is chosen when the certificate is issued, and
//! what is told later follows from it, from what became of the certificate, and from the configuration.

use serde::{Deserialize, Serialize};
use shared::{base64url::Base64Url, serial::SerialNumber, timestamp::Timestamp};

use super::{
    renewal_config::{PullForward, RenewalConfig},
    renewal_window::{Allowed, Window, below, least_loaded, retry_after, slot_of},
    revocation::{CertificateRecord, CertificateState},
};
use crate::acme::{
    record::Record,
    renewal_info::{CertificateId, RenewalInfo},
    route::AccountId,
    storage::{Change, Key, Rows, StorageFault},
};

/// Slots in a row of loads.
const SLOTS_A_ROW: u64 = 96;

/// Seconds that a row of loads outlives its slots: ranks of certificates that are pulled forward count in it.
const KEPT: u64 = 31 * 86_400;

/// A certificate that was issued; a part of a stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its number: its first byte names the object.
    pub serial: SerialNumber,
    /// The key identifier of its issuer.
    pub issuer: Base64Url,
    /// Whose it is.
    pub account: AccountId,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
}

/// A certificate as its status object stores it. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalRecord {
    /// What the object was told.
    pub certificate: Placement,
    /// When it is to be renewed.
    pub window: Window,
}

/// How many certificates were given each of the slots of a row, by their issuers' key identifiers. Additive, as all stored forms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRecord {
    /// From the row's first slot on; what is missing is zero.
    pub issuers: Vec<(Base64Url, Vec<u32>)>,
}

impl Record for RenewalRecord {}
impl Record for LoadRecord {}

/// A certificate was issued: gives it a window, once.
///
/// # Errors
/// When rows cannot be read.
pub fn place(rows: &dyn Rows, certificate: Placement, config: &RenewalConfig) -> Result<Vec<Change>, StorageFault> {
    let (serial, due) = (certificate.serial, certificate.not_after);
    let key = Key::Renewal(serial);
    if rows.read(key)?.is_some() {
        return Ok(Vec::new());
    }
    let allowed = Allowed::of(certificate.not_before, certificate.not_after, config);
    let slots = allowed.slots();
    let mut loads = Loads::read(rows, slots.start, slots.end)?;
    let slot = least_loaded(slots, serial, |slot| loads.of(slot, None));
    let window = slot.map_or_else(|| allowed.half(serial), Window::slot);
    let counted = slot.map(|slot| loads.count(slot, &certificate.issuer)).transpose()?;
    let mut changes = Vec::from_iter(counted.flatten());
    changes.push(RenewalRecord { certificate, window }.put(key, Some(due))?);
    Ok(changes)
}

/// What a client is told; nothing when there is no such certificate, or it has expired.
///
/// # Errors
/// When rows cannot be read.
pub fn look(
    rows: &dyn Rows,
    id: &CertificateId,
    now: Timestamp,
    config: &RenewalConfig,
) -> Result<Option<RenewalInfo>, StorageFault> {
    let serial = id.serial;
    let Some(record) = RenewalRecord::load(rows, Key::Renewal(serial))? else { return Ok(None) };
    let Placement { issuer, not_before, not_after, .. } = &record.certificate;
    if issuer.0 != id.key_identifier || *not_after < now {
        return Ok(None);
    }
    let mut window = record.window;
    if let Some(CertificateRecord { state, .. }) = CertificateRecord::load(rows, Key::Certificate(serial))? {
        let at = match state {
            CertificateState::Revoking(revoking) => revoking.since,
            CertificateState::Revoked(revoked) => revoked.at,
        };
        window = Window::past(at.min(now));
    } else if let Some(pull) = config.pull_forward.iter().find(|pull| pull.issuer.0 == *issuer) {
        window = window.pulled(rank(rows, serial, &record, pull)?, serial, pull);
    }
    let explanation_url = config.explanation_url.clone().filter(|_| window != record.window);
    let retry_after = retry_after(not_after.since(*not_before), serial, config);
    Ok(Some(RenewalInfo { suggested_window: window, explanation_url, retry_after }))
}

/// An alarm found a row due whose time has passed.
#[must_use]
pub fn due(key: Key) -> Option<Change> {
    matches!(key, Key::Renewal(_) | Key::Load(_)).then_some(Change::Delete(key))
}

/// How many certificates of the issuer come before this one in the object, of those whose windows had not begun when they were pulled
/// forward.
fn rank(
    rows: &dyn Rows,
    serial: SerialNumber,
    record: &RenewalRecord,
    pull: &PullForward,
) -> Result<u64, StorageFault> {
    let (first, own) = (slot_of(pull.since), slot_of(record.window.start));
    let loads = Loads::read(rows, first, own.saturating_add(1))?;
    let of = |slot| loads.of(slot, Some(&record.certificate.issuer));
    let before = (first..own).fold(0, |sum: u64, slot| sum.saturating_add(of(slot)));
    Ok(before.saturating_add(below(of(own), serial)))
}

/// Rows of loads: the number of the first, and from it on without a gap.
struct Loads(u32, Vec<LoadRecord>);

impl Loads {
    /// Those that have the slots from this one to before that one.
    fn read(rows: &dyn Rows, from: u64, to: u64) -> Result<Self, StorageFault> {
        let first = row_of(from);
        let end = if from < to { row_of(to.saturating_sub(1)).saturating_add(1) } else { first };
        let read = |number| Ok(LoadRecord::load(rows, Key::Load(number))?.unwrap_or_default());
        Ok(Self(first, (first..end).map(read).collect::<Result<_, _>>()?))
    }

    /// Certificates in a slot, all or those of one issuer.
    fn of(&self, slot: u64, issuer: Option<&Base64Url>) -> u64 {
        let record = index(row_of(slot).checked_sub(self.0)).and_then(|index| self.1.get(index));
        let counts = record.into_iter().flat_map(|record| &record.issuers);
        counts
            .filter(|(of, _)| issuer.is_none_or(|issuer| issuer == of))
            .fold(0, |sum, (_, counts)| sum.saturating_add(counts.get(column_of(slot)).copied().unwrap_or(0).into()))
    }

    /// One more.
    fn count(&mut self, slot: u64, issuer: &Base64Url) -> Result<Option<Change>, StorageFault> {
        let (number, column) = (row_of(slot), column_of(slot));
        let record = index(number.checked_sub(self.0)).and_then(|index| self.1.get_mut(index));
        let Some(record) = record else { return Ok(None) };
        if !record.issuers.iter().any(|(of, _)| of == issuer) {
            record.issuers.push((issuer.clone(), Vec::new()));
        }
        for (_, counts) in record.issuers.iter_mut().filter(|(of, _)| of == issuer) {
            if counts.len() <= column {
                counts.resize(column.saturating_add(1), 0);
            }
            counts.get_mut(column).into_iter().for_each(|count| *count = count.saturating_add(1));
        }
        let end = Window::slot(u64::from(number).saturating_add(1).saturating_mul(SLOTS_A_ROW)).start;
        record.put(Key::Load(number), Some(end.plus(KEPT))).map(Some)
    }
}

fn index(offset: Option<u32>) -> Option<usize> {
    offset.and_then(|offset| usize::try_from(offset).ok())
}

fn row_of(slot: u64) -> u32 {
    u32::try_from(slot.checked_div(SLOTS_A_ROW).unwrap_or(0)).unwrap_or(u32::MAX)
}

fn column_of(slot: u64) -> usize {
    usize::try_from(slot.checked_rem(SLOTS_A_ROW).unwrap_or(0)).unwrap_or(0)
}
