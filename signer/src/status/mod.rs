//! What this signer says about the certificates that it has issued. The truth is the journal's; nobody who asks can name a status.
//!
//! * [`ocsp`]: one response for each certificate, hash and validity period, signed when it is asked for.
//!
//! Never `good` once a revocation is being written: the ledger is asked before the token signs, and again before anything leaves.

mod ask;
mod job;
mod memory;
pub(crate) mod ocsp;
pub(crate) mod settings;

use std::sync::Arc;

pub(crate) use self::job::StatusJob;
use self::{ocsp::Responses, settings::StatusSettings};

/// Where status is kept and asked for.
#[derive(Debug)]
pub(crate) struct Desk {
    /// None: no status is told.
    pub(crate) settings: Option<StatusSettings>,
    pub(crate) responses: Arc<Responses>,
}

impl Desk {
    /// A desk that has said nothing yet.
    pub(crate) fn new(settings: Option<StatusSettings>) -> Self {
        let memory = settings.as_ref().map_or(1, |settings| settings.ocsp_memory);
        Self { settings, responses: Arc::new(Responses::new(memory)) }
    }
}
