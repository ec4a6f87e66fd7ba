//! One certificate on its way: from the policy's yes to the answer. The journal is written twice: the intent before the token
//! sees it, the certificate before anybody else does.

use std::sync::Arc;

use shared::{
    base64url::Base64Url,
    signing::{Issued, Refusal},
    timestamp::Timestamp,
};
use tokio_util::task::TaskTracker;

use super::ledger::Ticket;
use crate::{
    admit::Admitted,
    clock,
    issuer::Issuer,
    journal::{Event, Intent, Journal, Location, Signed},
    metrics::Metrics,
    queue::{Party, Place, Queue, Waits},
    random,
};

/// How many workers a job may lose before it is given up: it could be the job that kills them.
const ATTEMPTS: u32 = 3;

/// What every job needs on its way.
#[derive(Debug)]
pub(crate) struct Works {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) queue: Queue<Job>,
    pub(crate) journal: Journal,
    pub(crate) metrics: Arc<Metrics>,
    /// Certificates that are signed and not yet answered, and revocations that are not yet on the disk.
    pub(crate) running: TaskTracker,
}

/// A certificate that waits for its token.
#[derive(Debug)]
pub(crate) struct Job {
    admitted: Admitted,
    ticket: Ticket,
    /// Positions of the issuers that can make it; the one that decided, once one has.
    issuers: Vec<usize>,
    decided: Option<Decided>,
    attempts: u32,
}

/// An intent that is on the disk.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) intent: Intent,
    pub(crate) location: Location,
}

impl Job {
    /// A job that any of these issuers can do, or the one that has decided on it before.
    pub(crate) const fn new(admitted: Admitted, ticket: Ticket, issuers: Vec<usize>, decided: Option<Decided>) -> Self {
        Self { admitted, ticket, issuers, decided, attempts: 0 }
    }

    /// DER of the TBSCertificate; nothing before it is decided on, which a worker refuses.
    pub(crate) fn tbs(&self) -> &[u8] {
        self.decided.as_ref().map_or(&[], |decided| decided.intent.tbs.0.as_slice())
    }

    /// Ends a job that cannot be done. The reason is for the log: it is our fault.
    pub(crate) fn fail(self, reason: &str) {
        tracing::error!(order = self.admitted.order, reason, "a certificate cannot be made");
        self.ticket.give_up(Refusal::Unavailable, "the certificate cannot be made at the moment");
    }

    /// Ends a job that nobody has begun.
    pub(crate) fn give_up(self, reason: Refusal, detail: &str) {
        self.ticket.give_up(reason, detail);
    }
}

impl Waits for Job {
    fn party(&self) -> Party {
        self.admitted.claim.account.0
    }

    fn deadline(&self) -> Timestamp {
        self.admitted.deadline
    }

    fn is_forsaken(&self, now: Timestamp) -> bool {
        !self.ticket.is_wanted(now)
    }

    fn fits(&self, issuer: usize) -> bool {
        self.issuers.contains(&issuer)
    }

    fn expire(self) {
        self.ticket.give_up(Refusal::Busy, "the deadline passed before a token was free, or nobody asked again");
    }

    fn turn_away(self) {
        self.ticket.give_up(Refusal::Unavailable, "the signer is stopping");
    }
}

impl Works {
    /// Decides on the certificate and writes the intent, unless an earlier job has. Gives nothing when the job has ended here.
    pub(crate) async fn prepare(&self, mut job: Job, position: usize) -> Option<Job> {
        if job.decided.is_some() {
            return Some(job);
        }
        let Some(issuer) = self.issuers.get(position) else {
            job.fail("there is no such issuer");
            return None;
        };
        let serial = match random::serial_number() {
            Ok(serial) => serial,
            Err(error) => {
                job.fail(&error.to_string());
                return None;
            }
        };
        let intent = match issuer.prepare(&job.admitted, serial, clock::now()) {
            Ok(intent) => intent,
            Err(error) => {
                job.fail(&error.to_string());
                return None;
            }
        };
        match self.journal.append(Event::Intent(Box::new(intent.clone()))).await {
            Ok(location) => {
                job.ticket.intended(location);
                job.issuers = vec![position];
                job.decided = Some(Decided { intent, location });
                Some(job)
            }
            Err(error) => {
                job.fail(&error.to_string());
                None
            }
        }
    }

    /// Puts back a job whose worker was lost.
    pub(crate) fn try_again(&self, place: Place, mut job: Job) {
        job.attempts = job.attempts.saturating_add(1);
        if job.attempts >= ATTEMPTS {
            return job.fail("it has lost several workers");
        }
        self.queue.put_back(place, job);
    }

    /// Checks the certificate, writes it, and lets it out.
    pub(crate) async fn finish(&self, job: Job, signature: Vec<u8>) {
        let made = self.check(&job, &signature);
        let (chain, decided) = match made {
            Ok(made) => made,
            Err(reason) => return job.fail(&reason),
        };
        let (intent, location) = (&decided.intent, decided.location);
        let signed =
            Signed { order: intent.order.clone(), intent: location.index, serial: intent.serial, chain: chain.clone() };
        match self.journal.append(Event::Signed(signed)).await {
            Ok(location) => {
                let names: Vec<_> = intent.names.iter().map(ToString::to_string).collect();
                tracing::info!(
                    order = intent.order,
                    serial = %intent.serial,
                    issuer = intent.issuer,
                    names = names.join(","),
                    record = location.index,
                    "signed"
                );
                self.metrics.signed();
                let issued = Issued { chain, serial: intent.serial, journal_index: location.index };
                job.ticket.signed(location, Arc::new(issued));
            }
            Err(error) => job.fail(&error.to_string()),
        }
    }

    fn check<'a>(&self, job: &'a Job, signature: &[u8]) -> Result<(Vec<Base64Url>, &'a Decided), String> {
        let decided = job.decided.as_ref().ok_or("it was signed before it was decided on")?;
        let issuer = job.issuers.first().and_then(|position| self.issuers.get(*position));
        let issuer = issuer.ok_or("there is no such issuer")?;
        let key = job.admitted.csr.public_key();
        let chain = issuer.finish(&decided.intent, key, signature).map_err(|error| error.to_string())?;
        Ok((chain, decided))
    }
}
