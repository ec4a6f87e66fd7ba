//! CRLs: what is revoked, what was signed, and the verb that gives the newest. Nothing that anybody asks makes one be signed.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use shared::{
    pointers::{CrlShard, IssuerId},
    serial::SerialNumber,
    signing::{CrlReply, CrlRequest, Refusal, Refused, SignedCrl},
    timestamp::Timestamp,
};
use tokio::sync::Notify;
use x509_cert::{Certificate, der::Decode};

use super::{
    book::{Book, Entry, Overview, Part},
    crl_file, issuer_id,
};
use crate::{
    admit::refused,
    clock,
    issuance::{Issuance, Ledger},
    issuer::Issuer,
    journal::{Event, Journal, Location},
};

/// The CRLs of all issuers.
#[derive(Debug, Default)]
pub(crate) struct Crls {
    /// Where the newest are kept.
    pub(super) folder: PathBuf,
    book: Mutex<Book>,
    /// Something was revoked, or has ended.
    pub(super) changed: Notify,
}

impl Crls {
    /// Every revocation of the journal, and nothing signed.
    ///
    /// # Errors
    /// When the journal cannot be read again.
    pub(super) fn open(state: &Path, ledger: &Ledger, journal: &Journal) -> anyhow::Result<Self> {
        let (mut book, mut issuers) = (Book::default(), HashMap::new());
        for (signed, revoked) in ledger.certificates().revocations() {
            if let Some((issuer, serial, entry)) = revocation(journal, &signed, &revoked, &mut issuers)? {
                book.revoke(issuer, serial, entry);
            }
        }
        Ok(Self { folder: state.join("crl"), book: Mutex::new(book), changed: Notify::new() })
    }

    /// A certificate was revoked.
    pub(crate) fn revoke(&self, issuer: IssuerId, serial: SerialNumber, entry: Entry) {
        self.book().revoke(issuer, serial, entry);
        self.changed.notify_one();
    }

    /// The parts of an issuer.
    pub(crate) fn shards_of(&self, issuer: IssuerId) -> Vec<CrlShard> {
        self.book().shards_of(issuer)
    }

    /// Of every issuer that has CRLs.
    pub(crate) fn overviews(&self) -> Vec<Overview> {
        self.book().overviews()
    }

    /// Takes in these parts and forgets all others. `issuers` are all that this signer has.
    pub(super) fn have(
        &self,
        parts: &BTreeSet<Part>,
        issuers: &[Issuer],
        ledger: &Ledger,
        url: impl Fn(Part) -> Option<String>,
    ) {
        let mut book = self.book();
        book.keep_only(parts);
        for part in parts {
            let Some(issuer) = issuers.iter().find(|issuer| issuer.id() == part.0) else { continue };
            if !book.has(*part) {
                let last = crl_file::read(&self.folder, *part, url(*part).as_deref(), issuer.certificate());
                let number = ledger.trail().number(*part);
                book.add(*part, number, last);
            }
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issuance {
    /// The verb `crl`.
    pub(crate) fn crl(&self, request: &CrlRequest) -> CrlReply {
        match self.newest_crl(request, clock::now()) {
            Ok(crl) => CrlReply::Current(crl),
            Err(refused) => {
                let Refused { reason, detail, .. } = &refused;
                self.works.metrics.refused(*reason);
                tracing::info!(?reason, detail, "no CRL");
                CrlReply::Refused(refused)
            }
        }
    }

    fn newest_crl(&self, CrlRequest { issuer, shard }: &CrlRequest, now: Timestamp) -> Result<SignedCrl, Refused> {
        let (book, part) = (self.works.desk.crls.book(), (*issuer, *shard));
        if !book.has(part) {
            return Err(refused(
                Refusal::UnknownCertificate,
                format!("there is no CRL {shard} of the issuer {issuer}"),
            ));
        }
        let unavailable = |detail: &str| refused(Refusal::Unavailable, format!("the CRL {shard} of {issuer} {detail}"));
        let (crl, pending) = book.newest(part).ok_or_else(|| unavailable("is not signed yet"))?;
        if crl.next_update < now {
            return Err(unavailable("has expired"));
        }
        Ok(SignedCrl { pending, ..SignedCrl::clone(&crl) })
    }
}

/// A revocation of the journal. Nothing when its certificate has no issuer above it that could have a CRL.
fn revocation(
    journal: &Journal,
    signed: &Location,
    revoked: &Location,
    issuers: &mut HashMap<Vec<u8>, Option<IssuerId>>,
) -> anyhow::Result<Option<(IssuerId, SerialNumber, Entry)>> {
    let (signed, revoked) = (journal.read(signed)?, journal.read(revoked)?);
    let (Event::Signed(signed), Event::Revoked(record)) = (signed.event, revoked.event) else { return Ok(None) };
    let [leaf, issuer, ..] = signed.chain.as_slice() else { return Ok(None) };
    let name = || issuer_id(&Sha256::digest(&issuer.0));
    let Some(issuer) = *issuers.entry(issuer.0.clone()).or_insert_with(name) else { return Ok(None) };
    let leaf = Certificate::from_der(&leaf.0).context("a certificate of the journal cannot be read")?;
    let not_after = Timestamp::from_x509(&leaf.tbs_certificate().validity().not_after);
    Ok(Some((issuer, signed.serial, Entry { at: revoked.at, reason: record.reason, not_after })))
}
