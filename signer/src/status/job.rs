//! A job about status that waits for a token of one issuer.

use shared::{signing::Refusal, timestamp::Timestamp};

use super::{crl_job::CrlJob, delegate::ResponderJob, ocsp::ResponseJob};
use crate::{
    queue::{Party, Waits},
    token::frame::Sign,
    work::Works,
};

/// Seconds after which what was asked for is asked for anew.
const PATIENCE: u64 = 600;

/// Something that is to be said about certificates.
#[derive(Debug)]
pub(crate) struct StatusJob {
    /// Which issuer, by position.
    issuer: usize,
    deadline: Timestamp,
    task: Task,
}

#[derive(Debug)]
enum Task {
    Response(ResponseJob),
    Crl(CrlJob),
    Responder(ResponderJob),
}

impl StatusJob {
    /// An OCSP response.
    pub(super) const fn response(job: ResponseJob, issuer: usize, now: Timestamp) -> Self {
        Self { issuer, deadline: now.plus(PATIENCE), task: Task::Response(job) }
    }

    /// A CRL.
    pub(super) const fn crl(job: CrlJob, issuer: usize, now: Timestamp) -> Self {
        Self { issuer, deadline: now.plus(PATIENCE), task: Task::Crl(job) }
    }

    /// The certificate of an OCSP responder.
    pub(super) const fn responder(job: ResponderJob, now: Timestamp) -> Self {
        Self { issuer: job.position(), deadline: now.plus(PATIENCE), task: Task::Responder(job) }
    }

    /// What its worker is given.
    pub(crate) fn sign(&self) -> Sign {
        match &self.task {
            Task::Response(job) => job.sign(),
            Task::Crl(job) => job.sign(),
            Task::Responder(job) => job.sign(),
        }
    }

    /// Decides on it. Gives nothing when the job has ended here.
    pub(crate) async fn prepare(self, works: &Works, position: usize) -> Option<Self> {
        let Self { issuer, deadline, task } = self;
        let task = match task {
            Task::Response(job) => Task::Response(job.prepare(works, position).await?),
            Task::Crl(job) => Task::Crl(job.prepare(works, position)?),
            Task::Responder(job) => Task::Responder(job.prepare(works).await?),
        };
        Some(Self { issuer, deadline, task })
    }

    /// Checks it, writes it, and lets it out.
    pub(crate) async fn finish(self, works: &Works, signature: Vec<u8>) {
        match self.task {
            Task::Response(job) => job.finish(works, self.issuer, signature).await,
            Task::Crl(job) => job.finish(works, self.issuer, signature).await,
            Task::Responder(job) => job.finish(works, signature).await,
        }
    }

    /// Ends a job that cannot be done. The reason is for the log: it is our fault.
    pub(crate) fn fail(self, reason: &str) {
        tracing::error!(task = ?self.task, reason, "a status cannot be signed");
        self.give_up(Refusal::Unavailable, "the status cannot be signed at the moment");
    }

    /// Ends a job that nobody has begun.
    pub(crate) fn give_up(self, reason: Refusal, detail: &str) {
        match self.task {
            Task::Response(job) => job.give_up(reason, detail),
            // It is tried again.
            Task::Crl(job) => drop(job),
            Task::Responder(job) => drop(job),
        }
    }
}

impl Waits for StatusJob {
    fn party(&self) -> Party {
        Party::SIGNER
    }

    fn deadline(&self) -> Timestamp {
        self.deadline
    }

    fn fits(&self, issuer: usize) -> bool {
        self.issuer == issuer
    }

    fn is_forsaken(&self, now: Timestamp) -> bool {
        match &self.task {
            Task::Response(job) => job.is_forsaken(now),
            Task::Crl(_) | Task::Responder(_) => false,
        }
    }

    fn expire(self) {
        self.give_up(Refusal::Busy, "no token was free in time, or nobody asked again");
    }

    fn turn_away(self) {
        self.give_up(Refusal::Unavailable, "the signer is stopping");
    }
}
