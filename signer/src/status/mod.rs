//! What this signer says about the certificates that it has issued. The truth is the journal's; nobody who asks can name a status.
//!
//! * [`ocsp`]: one response for each certificate, hash and validity period, signed when it is asked for.
//! * [`crl`]: signed at an interval and soon after each revocation, whoever asks or not ([`schedule`]).
//!
//! Never `good` once a revocation is being written: the ledger is asked before the token signs, and again before anything leaves.

mod ask;
mod book;
pub(crate) mod crl;
mod crl_file;
mod crl_job;
mod delegate;
mod job;
mod memory;
pub(crate) mod ocsp;
pub(crate) mod schedule;
pub(crate) mod settings;
mod trail;
#[cfg(test)]
mod week;

use std::{path::Path, sync::Arc};

use shared::pointers::IssuerId;

pub(crate) use self::{
    book::{Entry, Overview},
    job::StatusJob,
    trail::Trail,
};
use self::{crl::Crls, delegate::Delegates, ocsp::Responses, settings::StatusSettings};
use crate::{ceremony::hex, issuance::Ledger, journal::Journal};

/// Where status is kept and asked for.
#[derive(Debug)]
pub(crate) struct Desk {
    /// None: no status is told.
    pub(crate) settings: Option<StatusSettings>,
    pub(crate) responses: Arc<Responses>,
    pub(crate) crls: Arc<Crls>,
    pub(crate) delegates: Arc<Delegates>,
}

impl Desk {
    /// A desk that has said nothing yet.
    pub(crate) fn new(settings: Option<StatusSettings>) -> Self {
        let memory = settings.as_ref().map_or(1, |settings| settings.ocsp_memory);
        Self { settings, responses: Arc::new(Responses::new(memory)), crls: Arc::default(), delegates: Arc::default() }
    }

    /// The same, with responders that live so many seconds for the issuers at these positions.
    pub(crate) fn with_delegates(self, lives: impl IntoIterator<Item = (usize, u64)>) -> Self {
        Self { delegates: Arc::new(Delegates::new(lives.into_iter().collect())), ..self }
    }

    /// The desk of a signer with this journal and this folder for its state.
    ///
    /// # Errors
    /// When the journal cannot be read again.
    pub(crate) fn open(
        settings: Option<StatusSettings>,
        state: &Path,
        ledger: &Ledger,
        journal: &Journal,
    ) -> anyhow::Result<Self> {
        let crls = match &settings {
            Some(_) => Crls::open(state, ledger, journal)?,
            None => Crls::default(),
        };
        Ok(Self { crls: Arc::new(crls), ..Self::new(settings) })
    }
}

/// The name of the issuer whose certificate has this SHA-256; nothing for what is shorter.
pub(crate) fn issuer_id(sha256: &[u8]) -> Option<IssuerId> {
    hex(sha256.get(..16)?).parse().ok()
}
