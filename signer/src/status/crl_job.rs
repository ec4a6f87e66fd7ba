//! One CRL on its way: decided on when its turn has come, so that it has every revocation until then.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};
use shared::{
    base64url::Base64Url,
    crl::{CrlContent, TbsCrlDer},
};

use super::{book::Part, crl::Crls, crl_file};
use crate::{
    clock,
    journal::{Event, JournaledCrl},
    token::frame::{Kind, Sign},
    work::Works,
};

/// A CRL that waits for its token. Dropped before it is released, it is tried again.
pub(super) struct CrlJob {
    crls: Arc<Crls>,
    part: Part,
    decided: Option<(CrlContent, TbsCrlDer)>,
    is_released: bool,
}

impl CrlJob {
    /// The one job of a part, which has been started.
    pub(super) const fn new(crls: Arc<Crls>, part: Part) -> Self {
        Self { crls, part, decided: None, is_released: false }
    }

    pub(super) fn sign(&self) -> Sign {
        let tbs = self.decided.as_ref().map_or(&[][..], |(_, tbs)| tbs.as_bytes());
        Sign { kind: Kind::Crl, tbs: Base64Url(tbs.to_vec()) }
    }

    /// Decides on what it says, now that it is about to be signed.
    pub(super) fn prepare(mut self, works: &Works, position: usize) -> Option<Self> {
        match self.decide(works, position) {
            Ok(decided) => {
                self.decided = Some(decided);
                Some(self)
            }
            Err(reason) => {
                tracing::error!(job = ?self, reason, "a CRL cannot be signed");
                None
            }
        }
    }

    fn decide(&self, works: &Works, position: usize) -> Result<(CrlContent, TbsCrlDer), String> {
        let issuer = works.issuers.get(position).ok_or("there is no such issuer")?.certificate();
        let settings = works.desk.settings.as_ref().ok_or("no status is told")?;
        let now = clock::now();
        let times = (now, now.plus(settings.crl.validity).min(issuer.not_after()));
        let content = self.crls.book().content(self.part, times, settings.url(self.part));
        let content = content.ok_or("nobody points to it any more")?;
        let tbs = content.tbs(issuer).map_err(|error| error.to_string())?;
        Ok((content, tbs))
    }

    /// Checks the CRL, writes it to the journal and into its file, and lets it out.
    pub(super) async fn finish(mut self, works: &Works, position: usize, signature: Vec<u8>) {
        if let Err(reason) = self.try_finish(works, position, &signature).await {
            tracing::error!(job = ?self, reason, "a CRL is not released");
        }
    }

    async fn try_finish(&mut self, works: &Works, position: usize, signature: &[u8]) -> Result<(), String> {
        let (content, tbs) = self.decided.take().ok_or("it was signed before it was decided on")?;
        let issuer = works.issuers.get(position).ok_or("there is no such issuer")?.certificate();
        let der = tbs.assemble(signature).map_err(|error| error.to_string())?;
        if CrlContent::verify(&der, issuer).map_err(|error| error.to_string())? != content {
            return Err("it says something else than was decided".to_owned());
        }
        let CrlContent { number, this_update, next_update, .. } = content;
        let entries = u64::try_from(content.entries.len()).unwrap_or(u64::MAX);
        let sha256 = Base64Url(Sha256::digest(&der).to_vec());
        let (issuer, shard) = self.part;
        let record = JournaledCrl { issuer, shard, number, this_update, next_update, sha256, entries };
        works.ledger.trail().signed(&record);
        self.crls.book().journaled(self.part, number);
        let location = works.journal.append(Event::Crl(record)).await.map_err(|error| error.to_string())?;
        crl_file::write(&self.crls.folder, self.part, &der).map_err(|error| format!("{error:#}"))?;
        let crl = Arc::new(crl_file::signed(&content, der));
        self.crls.book().release(self.part, &content, crl);
        self.is_released = true;
        works.metrics.crl_signed();
        tracing::info!(%issuer, %shard, number, entries, record = location.index, "a CRL is signed");
        Ok(())
    }
}

impl Drop for CrlJob {
    fn drop(&mut self) {
        if !self.is_released {
            self.crls.book().fail(self.part, clock::now());
        }
    }
}

impl fmt::Debug for CrlJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (issuer, shard) = self.part;
        write!(f, "the CRL {shard} of {issuer}")
    }
}
