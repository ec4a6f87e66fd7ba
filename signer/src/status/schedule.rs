//! When CRLs are signed: the signer itself looks every second which parts there are and whose time has come.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shared::{
    pointers::{CrlShard, IssuerId},
    timestamp::Timestamp,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{StatusJob, book::Part, crl_job::CrlJob, settings::StatusSettings};
use crate::{clock, issuer, policy::Policy, queue::Class, work::Works};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// So long revocations are gathered before the next look.
const GATHER: Duration = Duration::from_millis(50);

/// Puts what is due into the queue.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) works: Arc<Works>,
    /// As it is now.
    pub(crate) policy: watch::Receiver<Arc<Policy>>,
}

impl Scheduler {
    /// Looks for ever.
    pub(crate) async fn run(self) {
        loop {
            self.look(clock::now());
            self.start(clock::now());
            // Many revocations are one look.
            if timeout(LOOK, self.works.desk.crls.changed.notified()).await.is_ok() {
                sleep(GATHER).await;
            }
        }
    }

    /// Sees to it that the parts are those that there should be at this time.
    pub(crate) fn look(&self, now: Timestamp) {
        let works = &self.works;
        let Some(settings) = &works.desk.settings else { return };
        let has_crl = self.policy.borrow().has_crl();
        // What has just ended is on one more.
        let since = now.minus(settings.crl.interval);
        let parts: BTreeSet<_> = works
            .issuers
            .iter()
            .filter(|issuer| issuer.certificate().not_after() > now)
            .flat_map(|issuer| {
                let divisions: Vec<_> = works.ledger.trail().divisions(issuer.id(), since).collect();
                parts(issuer.id(), settings, has_crl, divisions)
            })
            .collect();
        works.desk.crls.have(&parts, &works.issuers, &works.ledger, |part| settings.url(part));
    }

    /// Puts the parts whose time has come into the queue.
    fn start(&self, now: Timestamp) {
        let (works, crls) = (&self.works, &self.works.desk.crls);
        let Some(settings) = &works.desk.settings else { return };
        for job in works.desk.delegates.start(now) {
            if let Some(issuer) = works.issuers.get(job.position()).filter(|issuer| issuer.live_tokens() > 0) {
                let pace = issuer::pace(std::iter::once(issuer));
                let job = StatusJob::responder(job, now);
                if let Err((job, why)) = works.queue.push(works.queue.place(Class::Crl), job.into(), now, pace) {
                    tracing::debug!(?job, ?why, "a responder has to wait outside of the queue");
                }
            }
        }
        let started = crls.book().start(now, &settings.crl);
        for part in started {
            // Dropped where it cannot wait, it is tried again.
            let job = CrlJob::new(Arc::clone(crls), part);
            let mut issuers = works.issuers.iter().enumerate();
            let Some((position, issuer)) = issuers.find(|(_, issuer)| issuer.id() == part.0) else { continue };
            if issuer.live_tokens() > 0 {
                let pace = issuer::pace(std::iter::once(issuer));
                let job = StatusJob::crl(job, position, now);
                if let Err((job, why)) = works.queue.push(works.queue.place(Class::Crl), job.into(), now, pace) {
                    tracing::debug!(?job, ?why, "a CRL has to wait outside of the queue");
                }
            }
        }
    }
}

/// The parts of an issuer: those of the configuration, and those that certificates point to that were issued before it changed.
pub(super) fn parts(
    issuer: IssuerId,
    settings: &StatusSettings,
    has_crl: bool,
    divisions: Vec<u8>,
) -> impl Iterator<Item = Part> {
    let any = has_crl || !divisions.is_empty();
    let mut shards: BTreeSet<_> = divisions.into_iter().flat_map(CrlShard::all).collect();
    if any && settings.crl.has_complete {
        shards.insert(CrlShard::COMPLETE);
    }
    if has_crl {
        shards.extend(CrlShard::all(settings.crl.shards));
    }
    shards.into_iter().map(move |shard| (issuer, shard))
}
