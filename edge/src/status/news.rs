//! Whom a confirmed revocation is still to be told: the responder that signs the new response, the CRLs that the certificate is to be
//! in, and caches that keep what was said before. Each can be told twice. It is done at once, and alarms repeat what has failed.

use serde::{Deserialize, Serialize};
use shared::{base64url::Base64Url, serial::SerialNumber, signing::Revoked, timestamp::Timestamp};

use super::revocation::{CertificateRecord, CertificateState};
use crate::acme::{
    problem::Problem,
    record::Record as _,
    storage::{Change, Key, Rows},
};

/// After so many rounds that failed nobody is told any more: what is asked for later is true in any case.
const ROUNDS: u32 = 40;

/// As stored with a certificate. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// DER of the certificate, until its response is asked for and its CRLs know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Base64Url>,
    /// True until caches are purged.
    #[serde(default)]
    purge: bool,
    /// When the signer's word came: what others keep is younger.
    since: Timestamp,
    /// Rounds that have failed.
    #[serde(default)]
    failed: u32,
}

/// What is to be told in this round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The certificate's number.
    pub serial: SerialNumber,
    /// Since when it is revoked, by its signer's journal.
    pub at: Timestamp,
    /// DER of the certificate, for its response and its CRLs; none when they know.
    pub certificate: Option<Vec<u8>>,
    /// True when caches are to be purged.
    pub purge: bool,
}

/// How a round went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The response is asked for and the CRLs know.
    pub told: bool,
    /// Caches are purged; none when it was too early for that.
    pub purged: Option<bool>,
}

impl News {
    /// Nobody knows yet; with caches, when `purge` says so.
    #[must_use]
    pub const fn new(certificate: Vec<u8>, purge: bool, now: Timestamp) -> Self {
        Self { certificate: Some(Base64Url(certificate)), purge, since: now, failed: 0 }
    }

    /// Of a certificate that nobody here has seen: only caches are told, when `purge` says so.
    #[must_use]
    pub fn of_unseen(purge: bool, now: Timestamp) -> Option<Self> {
        purge.then_some(Self { certificate: None, purge, since: now, failed: 0 })
    }
}

impl Announcement {
    /// What is still to be told.
    #[must_use]
    pub fn of(record: &CertificateRecord, revoked: &Revoked) -> Option<Self> {
        let News { certificate, purge, .. } = record.news.clone()?;
        let certificate = certificate.map(|Base64Url(der)| der);
        Some(Self { serial: revoked.serial, at: revoked.at, certificate, purge })
    }

    /// The same, as it is stored.
    ///
    /// # Errors
    /// When rows cannot be read.
    pub fn stored(rows: &dyn Rows, serial: SerialNumber) -> Result<Option<Self>, Problem> {
        let record = CertificateRecord::load(rows, Key::Certificate(serial))?;
        Ok(record.and_then(|record| match &record.state {
            CertificateState::Revoked(revoked) => Self::of(&record, revoked),
            CertificateState::Revoking(_) => None,
        }))
    }
}

/// Seconds between rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// From the revocation until no isolate can give caches again what was true before.
    pub purge: u64,
    /// After a round that failed; longer after each one.
    pub retry: u64,
    /// So long caches keep anything: then they need not be purged.
    pub most: u64,
}

/// A round has ended. True when something is given up.
///
/// # Errors
/// When rows cannot be read.
pub fn ended(
    rows: &dyn Rows,
    serial: SerialNumber,
    round: Round,
    now: Timestamp,
    pauses: Pauses,
) -> Result<(Vec<Change>, bool), Problem> {
    let key = Key::Certificate(serial);
    let Some(mut record) = CertificateRecord::load(rows, key)? else { return Ok((Vec::new(), false)) };
    let Some(mut news) = record.news.take() else { return Ok((Vec::new(), false)) };
    if round.told {
        news.certificate = None;
    }
    let late = news.purge && round.purged != Some(true) && now.since(news.since) > pauses.most;
    news.purge &= round.purged != Some(true) && !late;
    if !round.told || round.purged == Some(false) {
        news.failed = news.failed.saturating_add(1);
    }
    let open = news.certificate.is_some() || news.purge;
    let lost = open && news.failed >= ROUNDS;
    if open && !lost {
        let due = match news.failed {
            0 => news.since.plus(pauses.purge),
            failed => now.plus(pauses.retry.saturating_mul(u64::from(failed))),
        };
        record.news = Some(news);
        return Ok((vec![record.put(key, Some(due))?], late));
    }
    Ok((vec![record.put(key, None)?], late || lost))
}
