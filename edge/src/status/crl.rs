//! The newest CRL of one part of an issuer's certificates, as an object of its own keeps it. The signer signs CRLs by itself; here
//! is only how old the copy may be. Its number never goes back, and what has expired is never sent.

use serde::{Deserialize, Serialize};
use shared::{
    chain::Issuer,
    crl::CrlContent,
    signing::{CrlReply, CrlRequest, Refusal, SignedCrl},
    timestamp::Timestamp,
};

use super::document::{Document, Kind};
use crate::acme::{
    problem::Problem,
    record::Record,
    storage::{Change, Key, Rows},
};

/// Seconds that a row outlives its CRL.
const KEPT: u64 = 86_400;

/// As stored. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrlRecord {
    /// Which one it is.
    pub request: CrlRequest,
    /// The newest that was fetched.
    pub crl: SignedCrl,
    /// When the signer was asked last, and answered.
    pub fetched: Timestamp,
    /// A certificate of this part was revoked then, and the CRL does not have it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Timestamp>,
    /// It came then, and caches may have the one before it, which lacks a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<Timestamp>,
}

impl Record for CrlRecord {}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is sent.
    Fresh(Document),
    /// The signer is asked for a newer one; where it cannot be, this is sent.
    Old(Document),
    /// The signer must be asked.
    Missing,
}

/// What an alarm is to do.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Due {
    /// The signer is asked for this.
    pub ask: Option<CrlRequest>,
    /// This is purged from caches.
    pub purge: Option<CrlRequest>,
}

/// When an alarm is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Now.
    pub now: Timestamp,
    /// When to ask the signer again.
    pub next: Timestamp,
    /// When no isolate can give caches again what was true before; none where no caches are purged.
    pub purge: Option<Timestamp>,
}

/// How a question to a signer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The newest one, stored.
    Current(Document),
    /// No answer that can be used.
    Later,
    /// There is no such CRL.
    Unknown,
}

/// What is stored, with what was fetched longer than `poll` seconds ago taken for old.
///
/// # Errors
/// When rows cannot be read.
pub fn look(rows: &dyn Rows, now: Timestamp, poll: u64) -> Result<Look, Problem> {
    let Some(record) = CrlRecord::load(rows, Key::Crl)? else { return Ok(Look::Missing) };
    let document = document(&record.crl);
    Ok(if !document.is_good(now) {
        Look::Missing
    } else if record.wanted.is_some() || now.since(record.fetched) >= poll {
        Look::Old(document)
    } else {
        Look::Fresh(document)
    })
}

/// A signer answered, or could not be reached. Nothing is believed that this issuer has not signed for this part. The words are for the
/// log.
///
/// # Errors
/// When rows cannot be read.
pub fn answered(
    rows: &dyn Rows,
    request: &CrlRequest,
    issuer: &Issuer,
    reply: Result<CrlReply, String>,
    Times { now, next, purge }: Times,
) -> Result<(Vec<Change>, Outcome, Option<String>), Problem> {
    let later = |words: String| Ok((Vec::new(), Outcome::Later, Some(words)));
    let crl = match reply {
        Ok(CrlReply::Current(crl)) => crl,
        Ok(CrlReply::Refused(refused)) if refused.reason == Refusal::UnknownCertificate => {
            return Ok((Vec::new(), Outcome::Unknown, Some(format!("{refused:?}"))));
        }
        Ok(CrlReply::Refused(refused)) => return later(format!("{refused:?}")),
        Err(words) => return later(words),
    };
    match CrlContent::verify(&crl.crl.0, issuer) {
        Ok(content) if !is_of(&content, request) => return later("the CRL is of another part".to_owned()),
        Ok(content)
            if (content.number, content.this_update, content.next_update)
                == (crl.number, crl.this_update, crl.next_update) => {}
        Ok(_) => return later("the CRL does not say what was said of it".to_owned()),
        Err(error) => return later(error.to_string()),
    }
    if crl.next_update <= now {
        return later("the CRL has expired".to_owned());
    }
    let stored = CrlRecord::load(rows, Key::Crl)?;
    let (wanted, purging) = stored.as_ref().map_or((None, None), |stored| (stored.wanted, stored.purge));
    let crl = match stored {
        Some(stored) if stored.crl.number > crl.number => {
            if stored.crl.next_update <= now {
                return later("the CRL is older than the one before".to_owned());
            }
            stored.crl
        }
        _ => crl,
    };
    let sent = document(&crl);
    let waits = |revoked: &Timestamp| crl.pending || crl.this_update < *revoked;
    let (came, wanted) = (wanted.is_some_and(|revoked| !waits(&revoked)), wanted.filter(waits));
    let (purging, purge) = match purge {
        Some(at) if came => (Some(now), Some(at)),
        _ => (purging, purging.map(|_| next)),
    };
    let record = CrlRecord { request: request.clone(), crl, fetched: now, wanted, purge: purging };
    let due = wanted.map(|_| next).or(purge).unwrap_or_else(|| record.crl.next_update.plus(KEPT));
    Ok((vec![record.put(Key::Crl, Some(due))?], Outcome::Current(sent), None))
}

/// A certificate of this part was revoked. Where nobody has asked for the CRL, nothing is fetched.
///
/// # Errors
/// When rows cannot be read.
pub fn revoked(rows: &dyn Rows, at: Timestamp, due: Timestamp) -> Result<Vec<Change>, Problem> {
    let Some(mut record) = CrlRecord::load(rows, Key::Crl)? else { return Ok(Vec::new()) };
    record.wanted = Some(record.wanted.map_or(at, |earlier| earlier.max(at)));
    Ok(vec![record.put(Key::Crl, Some(due))?])
}

/// An alarm found that the row is due: what is to be done about it. What expired a day ago is forgotten, and caches that keep nothing
/// for more than `most` seconds need not be purged after that.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, now: Timestamp, next: Timestamp, most: u64) -> Result<(Vec<Change>, Due), Problem> {
    let Some(mut record) = CrlRecord::load(rows, Key::Crl)? else { return Ok((Vec::new(), Due::default())) };
    let end = record.crl.next_update.plus(KEPT);
    if end <= now {
        return Ok((vec![Change::Delete(Key::Crl)], Due::default()));
    }
    record.purge = record.purge.filter(|since| now.since(*since) <= most);
    let this = |wanted: bool| wanted.then(|| record.request.clone());
    let due = Due { ask: this(record.wanted.is_some()), purge: this(record.purge.is_some()) };
    let at = if due == Due::default() { end } else { next };
    Ok((vec![record.put(Key::Crl, Some(at))?], due))
}

/// Caches are purged.
///
/// # Errors
/// When rows cannot be read.
pub fn purged(rows: &dyn Rows, next: Timestamp) -> Result<Vec<Change>, Problem> {
    let Some(mut record) = CrlRecord::load(rows, Key::Crl)? else { return Ok(Vec::new()) };
    record.purge = None;
    let due = record.wanted.map_or_else(|| record.crl.next_update.plus(KEPT), |_| next);
    Ok(vec![record.put(Key::Crl, Some(due))?])
}

/// True when a CRL says that it is of this part: its distribution point is the one that certificates have, at whatever host; the complete
/// one has none (RFC 5280 §5.2.5).
fn is_of(content: &CrlContent, CrlRequest { issuer, shard }: &CrlRequest) -> bool {
    match &content.distribution_point {
        None => shard.is_complete(),
        Some(url) => !shard.is_complete() && url.ends_with(&format!("/crl/{issuer}/{shard}.crl")),
    }
}

fn document(crl: &SignedCrl) -> Document {
    Document { kind: Kind::Crl, body: crl.crl.clone(), this_update: crl.this_update, next_update: crl.next_update }
}
