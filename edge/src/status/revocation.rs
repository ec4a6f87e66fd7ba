//! Revocation, carried out: the intent is stored before a signer is asked, and alarms ask again until one has answered. What a
//! signer has confirmed stays for ever.
//!
//! ```text
//! nothing known --begin--> revoking --confirmed--> revoked
//!       ^                     |
//!       +------ refused ------+
//! ```
//! Whom it is to be told then is in [`super::news`].

use serde::{Deserialize, Serialize};
use shared::{
    serial::SerialNumber,
    signing::{Refusal, RevokeReply, RevokeRequest, Revoked},
    timestamp::Timestamp,
};

use super::{
    news::{Announcement, News},
    response,
};
use crate::acme::{
    problem::Problem,
    record::Record,
    revoke::certificate_of,
    storage::{Change, Key, Rows},
};

/// A certificate as its status object stores it. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// What is known.
    pub state: CertificateState,
    /// Whom a revocation is still to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub news: Option<News>,
}

/// What is known of a certificate whose row is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateState {
    /// A client with the right to it asked for its revocation; a signer has been or will be asked.
    Revoking(Box<Revoking>),
    /// A signer's journal says so.
    Revoked(Revoked),
}

/// Everything that asking a signer again needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoking {
    /// The question.
    pub request: RevokeRequest,
    /// The binding of the signer that issued the certificate.
    pub signer: String,
    /// When the client asked.
    pub since: Timestamp,
}

impl Record for CertificateRecord {}

impl CertificateRecord {
    /// Nobody is to be told.
    #[must_use]
    pub const fn new(state: CertificateState) -> Self {
        Self { state, news: None }
    }
}

/// A question to a signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The certificate's number.
    pub serial: SerialNumber,
    /// What is stored.
    pub revoking: Revoking,
}

/// What an alarm is to do about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The signer is asked again.
    Ask(Box<Ask>),
    /// Others are told of the revocation.
    Tell(Announcement),
}

/// How a question to a signer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The certificate is revoked.
    Revoked,
    /// Another question had it revoked first, at the given time.
    AlreadyRevoked(Timestamp),
    /// Not known yet: the signer cannot be asked, or cannot do it at the moment.
    Later,
    /// It cannot be.
    Refused(Problem),
}

/// A client with the right to it asks. A client that asks while another one's question is under way asks anew: of
/// several at the same time the first one that is answered has revoked, and the others hear `alreadyRevoked`.
///
/// # Errors
/// `alreadyRevoked`; when rows cannot be read.
pub fn begin(
    rows: &dyn Rows,
    serial: SerialNumber,
    revoking: Revoking,
    due: Timestamp,
) -> Result<(Vec<Change>, Ask), Problem> {
    if let Some(CertificateRecord { state: CertificateState::Revoked(revoked), .. }) =
        CertificateRecord::load(rows, Key::Certificate(serial))?
    {
        return Err(Problem::AlreadyRevoked(revoked.at));
    }
    let record = CertificateRecord::new(CertificateState::Revoking(Box::new(revoking.clone())));
    Ok((vec![record.put(Key::Certificate(serial), Some(due))?], Ask { serial, revoking }))
}

/// A signer answered, or could not be reached. A late or doubled answer changes nothing. Others hear of a revocation that is
/// confirmed: at once from the caller, and from an alarm at `due`, for which `purges` says whether caches are among them.
///
/// # Errors
/// When rows cannot be read.
pub fn answered(
    rows: &dyn Rows,
    ask: &Ask,
    answer: Result<RevokeReply, String>,
    purges: bool,
    (now, due): (Timestamp, Timestamp),
) -> Result<(Vec<Change>, Outcome), Problem> {
    let key = Key::Certificate(ask.serial);
    let stored = CertificateRecord::load(rows, key)?.map(|record| record.state);
    if let Some(CertificateState::Revoked(revoked)) = stored {
        return Ok((Vec::new(), Outcome::AlreadyRevoked(revoked.at)));
    }
    Ok(match answer {
        Ok(RevokeReply::Revoked(revoked)) if revoked.serial == ask.serial => {
            // No response says good from here on.
            let mut changes = response::forgotten(rows, ask.serial, revoked.at)?;
            let news = Some(News::new(certificate_of(&ask.revoking.request)?, purges, now));
            changes.push(CertificateRecord { state: CertificateState::Revoked(revoked), news }.put(key, Some(due))?);
            (changes, Outcome::Revoked)
        }
        Ok(RevokeReply::Refused(refused)) if !refused.reason.is_temporary() => {
            let problem = match refused.reason {
                Refusal::UnknownCertificate => Problem::NotOurCertificate,
                _ => Problem::Internal("a signer refused a revocation"),
            };
            // Another client's question may have taken the place of this one.
            let ours = stored.is_some_and(|state| state == CertificateState::Revoking(Box::new(ask.revoking.clone())));
            (ours.then_some(Change::Delete(key)).into_iter().collect(), Outcome::Refused(problem))
        }
        Ok(_) | Err(_) => (Vec::new(), Outcome::Later),
    })
}

/// A signer has revoked a certificate that nobody has: no response says good from here on, and caches are purged at `due` where
/// `purges` says that there are some.
///
/// # Errors
/// When rows cannot be read.
pub fn disowned(
    rows: &dyn Rows,
    revoked: Revoked,
    purges: bool,
    (now, due): (Timestamp, Timestamp),
) -> Result<Vec<Change>, Problem> {
    let key = Key::Certificate(revoked.serial);
    if let Some(CertificateRecord { state: CertificateState::Revoked(_), .. }) = CertificateRecord::load(rows, key)? {
        return Ok(Vec::new());
    }
    let mut changes = response::forgotten(rows, revoked.serial, now)?;
    let news = News::of_unseen(purges, now);
    let due = news.is_some().then_some(due);
    changes.push(CertificateRecord { state: CertificateState::Revoked(revoked), news }.put(key, due)?);
    Ok(changes)
}

/// An alarm found a revocation that no signer has confirmed: the same question again; or one that others are to be told of.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, serial: SerialNumber, next: Timestamp) -> Result<(Vec<Change>, Due), Problem> {
    let key = Key::Certificate(serial);
    let Some(record) = CertificateRecord::load(rows, key)? else { return Ok((Vec::new(), Due::Nothing)) };
    match &record.state {
        CertificateState::Revoked(revoked) => Ok(match Announcement::of(&record, revoked) {
            Some(announcement) => (vec![record.put(key, Some(next))?], Due::Tell(announcement)),
            None => (vec![record.put(key, None)?], Due::Nothing),
        }),
        CertificateState::Revoking(revoking) => {
            let ask = Ask { serial, revoking: Revoking::clone(revoking) };
            Ok((vec![record.put(key, Some(next))?], Due::Ask(Box::new(ask))))
        }
    }
}
