//! The OCSP response of one certificate and hash, as its status object keeps it.
//!
//! ```text
//!            asked             half its life          expired
//! nothing ---------> fresh ------------------> aging ---------> nothing that may be sent
//!    ^   (signed)      ^                         |
//!    |                 +-------- refreshed ------+   (a popular one by an alarm)
//!    +---- revocation: a good one is forgotten in the commit that stores the revocation
//! ```
//! What says revoked is never replaced by what says good, and what is sent has been verified and stored before.

use serde::{Deserialize, Serialize};
use shared::{
    base64url::Base64Url,
    chain::Issuer,
    ocsp::{CertIdHash, CertStatus, Failure, IssuerHashes, Response},
    pointers::IssuerId,
    serial::SerialNumber,
    signing::{OcspReply, OcspRequest, Refusal, SignedResponse, Urgency},
    timestamp::Timestamp,
};

use super::{
    document::{Document, Kind},
    exchange::Question,
    revocation::{CertificateRecord, CertificateState},
};
use crate::acme::{
    problem::Problem,
    record::Record,
    storage::{Change, Key, Rows},
};

/// Seconds that a row outlives its response: then nobody asks who did not ask before.
const KEPT: u64 = 86_400;

/// As stored. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseRecord {
    /// How the issuer was named.
    pub name: Base64Url,
    /// The same by its key.
    pub key: Base64Url,
    /// The issuer.
    pub issuer: IssuerId,
    /// The binding of its signer.
    pub signer: String,
    /// The latest response; none when a revocation has made it untrue and the new one is not there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedResponse>,
    /// True when so many asked since it was signed that the next one is signed before anybody asks for it.
    #[serde(default)]
    pub asked: bool,
    /// How many asked since it was signed; not counted any more when they are enough.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub questions: u32,
}

impl Record for ResponseRecord {}

/// What there is for a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is answered.
    Fresh(Document),
    /// It is answered, and signed anew meanwhile.
    Aging(Document),
    /// The signer must be asked first.
    Missing,
}

/// A question to a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What the client asked.
    pub question: Question,
    /// The question.
    pub request: OcspRequest,
    /// The binding of the signer.
    pub signer: String,
}

/// How a question to a signer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The response, stored.
    Signed(Document),
    /// No answer that can be used; so many seconds later there may be one.
    Later(u64),
    /// The signer does not know the certificate, or does not tell its status.
    Unknown,
}

impl Outcome {
    /// What a client is told who cannot have a response.
    #[must_use]
    pub const fn failure(&self) -> Option<Failure> {
        match self {
            Self::Signed(_) => None,
            Self::Later(_) => Some(Failure::TryLater),
            Self::Unknown => Some(Failure::Unauthorized),
        }
    }
}

/// What is stored for this question. A row about another issuer is none.
///
/// # Errors
/// When rows cannot be read.
pub fn look(
    rows: &dyn Rows,
    question: &Question,
    now: Timestamp,
    popular: Option<u32>,
) -> Result<(Vec<Change>, Look), Problem> {
    let key = Key::Response(question.serial, question.hash);
    let Some(mut record) = ResponseRecord::load(rows, key)? else { return Ok((Vec::new(), Look::Missing)) };
    let same = record.name == question.name && record.key == question.key;
    let Some(signed) = record.signed.clone().filter(|signed| same && now < signed.next_update) else {
        return Ok((Vec::new(), Look::Missing));
    };
    // The version before this one stores revocations without regard to responses.
    if !signed.revoked && is_revoked(rows, question.serial)? {
        return Ok((Vec::new(), Look::Missing));
    }
    let document = document(&signed);
    if half_life(&signed) <= now {
        return Ok((Vec::new(), Look::Aging(document)));
    }
    let mut changes = Vec::new();
    if let Some(popular) = popular
        && !record.asked
    {
        record.questions = record.questions.saturating_add(1);
        record.asked = record.questions >= popular;
        let due = if record.asked { half_life(&signed) } else { signed.next_update.plus(KEPT) };
        changes.push(record.put(key, Some(due))?);
    }
    Ok((changes, Look::Fresh(document)))
}

/// A signer answered, or could not be reached. Nothing is believed that this issuer has not signed about this certificate, and a
/// good response is of no use once the certificate is known to be revoked. The words are for the log.
///
/// # Errors
/// When rows cannot be read.
pub fn answered(
    rows: &dyn Rows,
    ask: &Ask,
    issuer: &Issuer,
    reply: Result<OcspReply, String>,
    now: Timestamp,
) -> Result<(Vec<Change>, Outcome, Option<String>), Problem> {
    let key = Key::Response(ask.question.serial, ask.question.hash);
    let later = |seconds, words: String| Ok((Vec::new(), Outcome::Later(seconds), Some(words)));
    let signed = match reply {
        Ok(OcspReply::Signed(signed)) => signed,
        Ok(OcspReply::Queued { retry_after }) => return Ok((Vec::new(), Outcome::Later(retry_after.max(1)), None)),
        Ok(OcspReply::Refused(refused))
            if matches!(refused.reason, Refusal::UnknownCertificate | Refusal::NotPermitted) =>
        {
            // A row that has nothing to tell is of no use: no alarm asks for it again.
            let empty = ResponseRecord::load(rows, key)?.is_some_and(|record| record.signed.is_none());
            return Ok((empty.then_some(Change::Delete(key)).into_iter().collect(), Outcome::Unknown, None));
        }
        Ok(OcspReply::Refused(refused)) => return later(RETRY, format!("{refused:?}")),
        Err(words) => return later(RETRY, words),
    };
    let signed = match verified(signed, &ask.question, issuer, now) {
        Ok(signed) => signed,
        Err(words) => return later(RETRY, words.to_owned()),
    };
    let stored = ResponseRecord::load(rows, key)?;
    let stored_signed = stored.as_ref().and_then(|record| record.signed.clone());
    if !signed.revoked && (is_revoked(rows, ask.question.serial)? || stored_signed.iter().any(|old| old.revoked)) {
        // It was signed before the revocation, and came after it. What is stored is true.
        return Ok(match stored_signed.filter(|old| old.revoked && now < old.next_update) {
            Some(old) => (Vec::new(), Outcome::Signed(document(&old)), None),
            None => (Vec::new(), Outcome::Later(1), Some("a good response came after the revocation".to_owned())),
        });
    }
    // Also the same again, of a signer whose clock is late: an alarm asks for the next one soon.
    if let Some(old) = stored_signed
        && old.revoked == signed.revoked
        && old.this_update >= signed.this_update
        && now < old.next_update
    {
        return Ok((Vec::new(), Outcome::Signed(document(&old)), None));
    }
    let record = ResponseRecord {
        name: ask.question.name.clone(),
        key: ask.question.key.clone(),
        issuer: ask.request.issuer,
        signer: ask.signer.clone(),
        signed: Some(signed.clone()),
        asked: false,
        questions: 0,
    };
    let due = signed.next_update.plus(KEPT);
    Ok((vec![record.put(key, Some(due))?], Outcome::Signed(document(&signed)), None))
}

/// An alarm found a row that is due: it is asked for again, or it is forgotten. `next` is when to look again if that fails.
///
/// # Errors
/// When rows cannot be read.
pub fn due(
    rows: &dyn Rows,
    (serial, hash): (SerialNumber, CertIdHash),
    now: Timestamp,
    next: Timestamp,
) -> Result<(Vec<Change>, Option<Ask>), Problem> {
    let key = Key::Response(serial, hash);
    let Some(record) = ResponseRecord::load(rows, key)? else { return Ok((Vec::new(), None)) };
    let urgency = match &record.signed {
        // Wanted since a revocation.
        None => Urgency::Missing,
        Some(signed) if signed.next_update <= now => {
            let kept = signed.next_update.plus(KEPT);
            let change = if kept <= now { Change::Delete(key) } else { record.put(key, Some(kept))? };
            return Ok((vec![change], None));
        }
        Some(signed) if !record.asked => {
            return Ok((vec![record.put(key, Some(signed.next_update.plus(KEPT)))?], None));
        }
        Some(_) => Urgency::Refresh,
    };
    let question = Question { serial, hash, name: record.name.clone(), key: record.key.clone() };
    let request = OcspRequest { issuer: record.issuer, serial, hash, urgency };
    let ask = Ask { question, request, signer: record.signer.clone() };
    Ok((vec![record.put(key, Some(next))?], Some(ask)))
}

/// What a revocation does to the responses of a certificate, in its own commit: none that says good is left, and those that somebody
/// has asked for before are asked for at once.
///
/// # Errors
/// When rows cannot be read.
pub fn forgotten(rows: &dyn Rows, serial: SerialNumber, due: Timestamp) -> Result<Vec<Change>, Problem> {
    let mut changes = Vec::new();
    for hash in CertIdHash::ALL {
        let key = Key::Response(serial, hash);
        if let Some(mut record) = ResponseRecord::load(rows, key)?
            && record.signed.take().is_none_or(|signed| !signed.revoked)
        {
            changes.push(record.put(key, Some(due))?);
        }
    }
    Ok(changes)
}

/// A certificate was revoked whose status is told by OCSP: where nobody has ever asked, its response is signed all the same, for the
/// name that most clients use, by SHA-1 (RFC 5019 §2.1.1).
///
/// # Errors
/// When rows cannot be read.
pub fn wanted(
    rows: &dyn Rows,
    (question, issuer, signer): (&Question, IssuerId, &str),
    due: Timestamp,
) -> Result<Vec<Change>, Problem> {
    for hash in CertIdHash::ALL {
        if ResponseRecord::load(rows, Key::Response(question.serial, hash))?.is_some() {
            return Ok(Vec::new());
        }
    }
    let record = ResponseRecord {
        name: question.name.clone(),
        key: question.key.clone(),
        issuer,
        signer: signer.to_owned(),
        signed: None,
        asked: false,
        questions: 0,
    };
    Ok(vec![record.put(Key::Response(question.serial, question.hash), Some(due))?])
}

/// Seconds after which a client may ask again, when nobody says how long it takes.
const RETRY: u64 = 5;

/// What a signer gave, if it is what it seems to be.
fn verified(
    signed: SignedResponse,
    question: &Question,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<SignedResponse, &'static str> {
    let Ok(Response::Answer(content)) = Response::verify(&signed.response.0, issuer) else {
        return Err("the response is not signed by the issuer");
    };
    let IssuerHashes { name, key } = &content.cert_id.issuer;
    let about = content.cert_id.serial == Some(question.serial) && content.cert_id.hash == question.hash;
    if !about || *name != question.name.0 || *key != question.key.0 {
        return Err("the response is about another certificate");
    }
    let revoked = matches!(content.status, CertStatus::Revoked(..));
    let times = (signed.this_update, signed.next_update) == (content.this_update, content.next_update);
    if revoked != signed.revoked || !times {
        return Err("the response does not say what was said of it");
    }
    if content.next_update <= now { Err("the response has expired") } else { Ok(signed) }
}

fn is_revoked(rows: &dyn Rows, serial: SerialNumber) -> Result<bool, Problem> {
    let record = CertificateRecord::load(rows, Key::Certificate(serial))?;
    Ok(record.is_some_and(|record| matches!(record.state, CertificateState::Revoked(_))))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(questions: &u32) -> bool {
    *questions == 0
}

fn half_life(signed: &SignedResponse) -> Timestamp {
    signed.this_update.plus(signed.next_update.since(signed.this_update).wrapping_div(2))
}

fn document(signed: &SignedResponse) -> Document {
    Document {
        kind: Kind::Ocsp,
        body: signed.response.clone(),
        this_update: signed.this_update,
        next_update: signed.next_update,
    }
}
