//! What waits for a token, of whatever kind, and what all of it needs on its way.

use std::sync::Arc;

use shared::{
    public_key::KeyKind,
    signing::{Refusal, Refused},
    timestamp::Timestamp,
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    bound::Bound,
    budget::Spendings,
    issuance::{Ledger, decided, job::Job},
    issuer::Issuer,
    journal::{Intent, Journal},
    metrics::Metrics,
    policy::Policy,
    queue::{Party, Place, Queue, Waits},
    rehearsal::Rehearsal,
    status::{Desk, StatusJob},
    stops,
    token::frame::Sign,
};

/// How many workers a job may lose before it is given up: it could be the job that kills them.
const ATTEMPTS: u32 = 3;

/// What every job needs on its way.
#[derive(Debug)]
pub(crate) struct Works {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) queue: Queue<Work>,
    pub(crate) journal: Journal,
    pub(crate) ledger: Arc<Ledger>,
    /// Which bindings there are, and whose.
    pub(crate) bound: Arc<Bound>,
    pub(crate) metrics: Arc<Metrics>,
    /// What is said about certificates.
    pub(crate) desk: Desk,
    /// What certificates are looked at with before a token is asked.
    pub(crate) rehearsal: Rehearsal,
    /// What scopes have spent.
    pub(crate) spendings: Arc<Spendings>,
    /// What edges have disowned.
    pub(crate) disowned: Arc<Spendings>,
    /// Records that edges had written without a signature.
    pub(crate) records: Arc<Spendings>,
    /// What an operator has stopped.
    pub(crate) stops: stops::Present,
    /// As it is now: see [`crate::rotation`].
    pub(crate) policy: watch::Receiver<Arc<Policy>>,
    /// Whatever is signed and not yet answered, and revocations that are not yet on the disk.
    pub(crate) running: TaskTracker,
}

/// A job for a token.
#[derive(Debug)]
pub(crate) struct Work {
    task: Task,
    attempts: u32,
}

/// What is to be signed.
#[derive(Debug)]
enum Task {
    Certificate(Box<Job>),
    Status(Box<StatusJob>),
}

impl Work {
    /// What its worker is given. Before it is prepared that is something that a worker refuses.
    pub(crate) fn sign(&self) -> Sign {
        match &self.task {
            Task::Certificate(job) => job.sign(),
            Task::Status(job) => job.sign(),
        }
    }

    /// Ends a job that nobody has begun.
    pub(crate) fn give_up(self, reason: Refusal, detail: &str) {
        match self.task {
            Task::Certificate(job) => job.give_up(reason, detail),
            Task::Status(job) => job.give_up(reason, detail),
        }
    }

    /// Ends a job that cannot be done. The reason is for the log: it is our fault.
    pub(crate) fn fail(self, reason: &str) {
        match self.task {
            Task::Certificate(job) => job.fail(reason),
            Task::Status(job) => job.fail(reason),
        }
    }
}

impl Works {
    /// Checks that what was decided on may be signed now: see [`decided`].
    ///
    /// # Errors
    /// Those of [`decided::Present::judge`].
    pub(crate) fn judge(&self, intent: &Intent, key: KeyKind, now: Timestamp) -> Result<(), Refused> {
        let (policy, bindings, stops) = (self.policy.borrow().clone(), self.bound.bindings(), self.stops.borrow());
        decided::Present { policy: &policy, bindings: &bindings, stops: &stops, now }.judge(intent, key)
    }

    /// Decides on what is to be signed when its turn has come. Gives nothing when the job has ended here.
    pub(crate) async fn prepare(&self, work: Work, position: usize) -> Option<Work> {
        let Work { task, attempts } = work;
        let task = match task {
            Task::Certificate(job) => Task::Certificate(Box::new(job.prepare(self, position).await?)),
            Task::Status(job) => Task::Status(Box::new(job.prepare(self, position).await?)),
        };
        Some(Work { task, attempts })
    }

    /// Puts back a job whose worker was lost.
    pub(crate) fn try_again(&self, place: Place, mut work: Work) {
        work.attempts = work.attempts.saturating_add(1);
        if work.attempts >= ATTEMPTS {
            return work.fail("it has lost several workers");
        }
        self.queue.put_back(place, work);
    }

    /// Checks what was signed, writes it, and lets it out.
    pub(crate) async fn finish(&self, work: Work, signature: Vec<u8>) {
        match work.task {
            Task::Certificate(job) => job.finish(self, signature).await,
            Task::Status(job) => job.finish(self, signature).await,
        }
    }
}

impl Waits for Work {
    fn party(&self) -> Party {
        match &self.task {
            Task::Certificate(job) => job.party(),
            Task::Status(job) => job.party(),
        }
    }

    fn deadline(&self) -> Timestamp {
        match &self.task {
            Task::Certificate(job) => job.deadline(),
            Task::Status(job) => job.deadline(),
        }
    }

    fn is_forsaken(&self, now: Timestamp) -> bool {
        match &self.task {
            Task::Certificate(job) => job.is_forsaken(now),
            Task::Status(job) => job.is_forsaken(now),
        }
    }

    fn fits(&self, issuer: usize) -> bool {
        match &self.task {
            Task::Certificate(job) => job.fits(issuer),
            Task::Status(job) => job.fits(issuer),
        }
    }

    fn expire(self) {
        match self.task {
            Task::Certificate(job) => job.expire(),
            Task::Status(job) => job.expire(),
        }
    }

    fn turn_away(self) {
        match self.task {
            Task::Certificate(job) => job.turn_away(),
            Task::Status(job) => job.turn_away(),
        }
    }
}

impl From<Job> for Work {
    fn from(job: Job) -> Self {
        Self { task: Task::Certificate(Box::new(job)), attempts: 0 }
    }
}

impl From<StatusJob> for Work {
    fn from(job: StatusJob) -> Self {
        Self { task: Task::Status(Box::new(job)), attempts: 0 }
    }
}
