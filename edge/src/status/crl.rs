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

/// A signer answered, or could not be reached. The words are for the log.
///
/// # Errors
/// When rows cannot be read.
pub fn answered(
    rows: &dyn Rows,
    request: &CrlRequest,
    issuer: &Issuer,
    reply: Result<CrlReply, String>,
    now: Timestamp,
    next: Timestamp,
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
    let wanted = stored.as_ref().and_then(|stored| stored.wanted);
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
    let wanted = wanted.filter(|revoked| crl.pending || crl.this_update < *revoked);
    let record = CrlRecord { request: request.clone(), crl, fetched: now, wanted };
    let due = wanted.map_or_else(|| record.crl.next_update.plus(KEPT), |_| next);
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

/// An alarm found that the row is due: what the signer is to be asked, if anything. What expired a day ago is forgotten.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, now: Timestamp, next: Timestamp) -> Result<(Vec<Change>, Option<CrlRequest>), Problem> {
    let Some(record) = CrlRecord::load(rows, Key::Crl)? else { return Ok((Vec::new(), None)) };
    if record.crl.next_update.plus(KEPT) <= now {
        return Ok((vec![Change::Delete(Key::Crl)], None));
    }
    match record.wanted {
        Some(_) => Ok((vec![record.put(Key::Crl, Some(next))?], Some(record.request))),
        None => Ok((vec![record.put(Key::Crl, Some(record.crl.next_update.plus(KEPT)))?], None)),
    }
}

fn document(crl: &SignedCrl) -> Document {
    Document { kind: Kind::Crl, body: crl.crl.clone(), this_update: crl.this_update, next_update: crl.next_update }
}
