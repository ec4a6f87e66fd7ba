//! OCSP responses: signed once for a certificate, hash and validity period, however many ask, and kept in memory as long as they
//! are of use.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};
use shared::{
    base64url::Base64Url,
    chain,
    ocsp::{CertIdHash, CertStatus, Responder, Response, ResponseContent, TbsResponseDer},
    serial::SerialNumber,
    signing::{Refusal, Refused, SignedResponse, Urgency},
    timestamp::Timestamp,
};
use tokio::sync::watch;

use super::{StatusJob, delegate::Active, memory::Memory};
use crate::{
    clock,
    issuer::Issuer,
    journal::{Event, JournalFailed, SignedStatus},
    queue::{Class, Place},
    token::frame::{Kind, Sign},
    work::Works,
};

/// The shortest time in seconds that a response is good, even of a certificate that ends sooner.
pub(super) const SHORTEST: u64 = 60;

/// What is asked: about which certificate, and how it is named.
pub(super) type Question = (SerialNumber, CertIdHash);

/// How a job ended, for everybody who waits for it.
pub(super) type Outcome = Result<Arc<SignedResponse>, Refused>;

/// What is said already, and what is about to be.
#[derive(Debug)]
pub(crate) struct Responses {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    said: Memory<Question, Arc<SignedResponse>>,
    /// One job for each question and class: who cannot wait does not join a job that can.
    running: HashMap<(Question, Class), Running>,
}

/// A running job, as those see it who wait for it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// Where in the queue it is or was.
    pub(super) place: Place,
    /// Until when somebody can be expected to ask again; in seconds since 1970.
    pub(super) wanted: Arc<AtomicU64>,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

/// A response that waits for its token.
pub(crate) struct ResponseJob {
    /// The last valid second of the certificate.
    not_after: Timestamp,
    decided: Option<Decided>,
    /// Who signs it, when not the issuer.
    delegate: Option<Arc<Active>>,
    ticket: Ticket,
}

#[derive(Clone)]
struct Decided {
    tbs: TbsResponseDer,
    status: CertStatus,
    this_update: Timestamp,
    next_update: Timestamp,
}

/// The right to run the one job of a question and class.
struct Ticket {
    responses: Arc<Responses>,
    question: Question,
    class: Class,
    wanted: Arc<AtomicU64>,
    outcome: watch::Sender<Option<Outcome>>,
    ended: bool,
}

impl Responses {
    /// Nothing has been said; at most so many are kept.
    pub(super) fn new(most: usize) -> Self {
        Self { state: Mutex::new(State { said: Memory::new(most), running: HashMap::new() }) }
    }

    /// The newest response, whatever it says and however old it is.
    pub(super) fn last(&self, question: Question) -> Option<Arc<SignedResponse>> {
        self.state().said.recall(&question)
    }

    /// Joins the job of a question and class, or starts it.
    pub(super) fn begin(
        self: &Arc<Self>,
        question: Question,
        class: Class,
        place: Place,
        not_after: Timestamp,
    ) -> (Running, Option<ResponseJob>) {
        let mut state = self.state();
        if let Some(running) = state.running.get(&(question, class)) {
            return (running.clone(), None);
        }
        let (sender, outcome) = watch::channel(None);
        let wanted = Arc::new(AtomicU64::new(u64::MAX));
        let running = Running { place, wanted: Arc::clone(&wanted), outcome };
        state.running.insert((question, class), running.clone());
        drop(state);
        let ticket = Ticket { responses: Arc::clone(self), question, class, wanted, outcome: sender, ended: false };
        (running, Some(ResponseJob { not_after, decided: None, delegate: None, ticket }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResponseJob {
    pub(super) fn sign(&self) -> Sign {
        let tbs = self.decided.as_ref().map_or(&[][..], |decided| decided.tbs.as_bytes());
        Sign { kind: Kind::Ocsp, tbs: Base64Url(tbs.to_vec()) }
    }

    pub(super) fn is_forsaken(&self, now: Timestamp) -> bool {
        self.ticket.wanted.load(Ordering::Relaxed) < now.seconds()
    }

    pub(super) fn give_up(self, reason: Refusal, detail: &str) {
        self.ticket.end(Err(Refused { reason, detail: detail.to_owned(), retry_after: None }));
    }

    /// The whole way without a token: signed by a responder that the issuer has certified.
    pub(super) async fn run(mut self, works: &Works, position: usize, active: Arc<Active>) {
        self.delegate = Some(Arc::clone(&active));
        let Some(job) = self.prepare(works, position).await else { return };
        let signature = job.decided.as_ref().map(|decided| active.sign(decided.tbs.as_bytes()));
        job.finish(works, position, signature.unwrap_or_default()).await;
    }

    fn responder<'a>(&'a self, issuer: &'a chain::Issuer) -> Responder<'a> {
        self.delegate.as_ref().map_or(Responder::Issuer(issuer), |active| Responder::Delegate(&active.delegate))
    }

    /// Decides on what is said, now that it is about to be signed.
    pub(super) async fn prepare(mut self, works: &Works, position: usize) -> Option<Self> {
        let now = clock::now();
        let question = self.ticket.question;
        // A job of another class may have been faster.
        if let Some(response) = self.ticket.responses.last(question)
            && is_fresh(&response, Urgency::Refresh, now)
            && is_true(works, question.0, response.revoked)
        {
            self.ticket.end(Ok(response));
            return None;
        }
        match self.decide(works, position, now).await {
            Ok(decided) => {
                self.decided = Some(decided);
                Some(self)
            }
            Err(reason) => {
                self.fail(&reason);
                None
            }
        }
    }

    async fn decide(&self, works: &Works, position: usize, now: Timestamp) -> Result<Decided, String> {
        let issuer = works.issuers.get(position).ok_or("there is no such issuer")?.certificate();
        let settings = works.desk.settings.as_ref().ok_or("no status is told")?;
        let (serial, hash) = self.ticket.question;
        let status = truth(works, serial).await.map_err(|error| error.to_string())?;
        let mut last = self.not_after.max(now.plus(SHORTEST)).min(issuer.not_after());
        if let Some(active) = &self.delegate {
            last = last.min(active.delegate.not_after());
        }
        let (this_update, next_update) = (now, now.plus(settings.ocsp_validity).min(last));
        let tbs =
            ResponseContent::tbs(serial, hash, status, (this_update, next_update), issuer, self.responder(issuer));
        let tbs = tbs.map_err(|error| error.to_string())?;
        Ok(Decided { tbs, status, this_update, next_update })
    }

    /// Checks the response, writes it, and lets it out, unless it is not true any more: then it is decided on anew.
    pub(super) async fn finish(mut self, works: &Works, position: usize, signature: Vec<u8>) {
        let made = self.check(works, position, &signature);
        let (der, decided) = match made {
            Ok(made) => made,
            Err(reason) => return self.fail(&reason),
        };
        let (serial, hash) = self.ticket.question;
        let revoked = decided.status != CertStatus::Good;
        if !is_true(works, serial, revoked) {
            return self.again(works, position);
        }
        let Some(issuer) = works.issuers.get(position) else { return self.fail("there is no such issuer") };
        let Decided { this_update, next_update, .. } = decided;
        let sha256 = Base64Url(Sha256::digest(&der).to_vec());
        let record = SignedStatus { issuer: issuer.id(), serial, hash, revoked, this_update, next_update, sha256 };
        let location = match works.journal.append(Event::Response(record)).await {
            Ok(location) => location,
            Err(error) => return self.fail(&error.to_string()),
        };
        if !is_true(works, serial, revoked) {
            return self.again(works, position);
        }
        works.metrics.response_signed();
        tracing::info!(%serial, ?hash, revoked, record = location.index, "an OCSP response is signed");
        let response = Arc::new(SignedResponse { response: Base64Url(der), this_update, next_update, revoked });
        self.decided = None;
        self.ticket.said(response);
    }

    /// It was revoked while its token said that it is good.
    fn again(mut self, works: &Works, position: usize) {
        tracing::info!(serial = %self.ticket.question.0, "revoked while it was signed as good; it is signed anew");
        self.decided = None;
        self.delegate = None;
        let job = StatusJob::response(self, position, clock::now());
        works.queue.put_back(works.queue.place(Class::Revocation), job.into());
    }

    fn check(&self, works: &Works, position: usize, signature: &[u8]) -> Result<(Vec<u8>, Decided), String> {
        let decided = self.decided.clone().ok_or("it was signed before it was decided on")?;
        let issuer = works.issuers.get(position).map(Issuer::certificate).ok_or("there is no such issuer")?;
        let der = decided.tbs.clone().assemble(signature, self.responder(issuer));
        let der = der.map_err(|error| error.to_string())?;
        let content = match Response::verify(&der, issuer).map_err(|error| error.to_string())? {
            Response::Answer(content) => content,
            Response::Failure(_) => return Err("it says nothing".to_owned()),
        };
        let (serial, hash) = self.ticket.question;
        let said =
            (content.cert_id.serial, content.cert_id.hash, content.status, content.this_update, content.next_update);
        if said != (Some(serial), hash, decided.status, decided.this_update, decided.next_update) {
            return Err("it says something else than was decided".to_owned());
        }
        Ok((der, decided))
    }

    fn fail(self, reason: &str) {
        tracing::error!(job = ?self, reason, "an OCSP response cannot be signed");
        self.give_up(Refusal::Unavailable, "the response cannot be signed at the moment");
    }
}

impl Ticket {
    /// It is in the journal: tells everybody who waits, and who asks later.
    fn said(self, response: Arc<SignedResponse>) {
        self.responses.state().said.keep(self.question, Arc::clone(&response));
        self.end(Ok(response));
    }

    fn end(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        self.ended = true;
        self.responses.state().running.remove(&(self.question, self.class));
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            let detail = String::from("the job was lost");
            self.close(Err(Refused { reason: Refusal::Unavailable, detail, retry_after: None }));
        }
    }
}

impl fmt::Debug for ResponseJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ticket { question: (serial, hash), class, .. } = &self.ticket;
        write!(f, "the {hash:?} response of {serial} ({})", class.name())
    }
}

/// What the journal says of a certificate, now or as soon as it is written.
async fn truth(works: &Works, serial: SerialNumber) -> Result<CertStatus, JournalFailed> {
    let Some(mut progress) = works.ledger.certificates().revocation(serial) else { return Ok(CertStatus::Good) };
    let location = progress.wait_for(Option::is_some).await.ok().and_then(|location| *location).ok_or(JournalFailed)?;
    let record = works.journal.read(&location)?;
    let Event::Revoked(revoked) = record.event else { return Err(JournalFailed) };
    Ok(CertStatus::Revoked(record.at, revoked.reason))
}

/// False when a response says good of a certificate that is revoked, or about to be.
pub(super) fn is_true(works: &Works, serial: SerialNumber, revoked: bool) -> bool {
    revoked || works.ledger.certificates().revocation(serial).is_none()
}

/// True when a response can be given again: in the first half of its life, or as long as it is good for those who have none.
pub(super) fn is_fresh(response: &SignedResponse, urgency: Urgency, now: Timestamp) -> bool {
    let SignedResponse { this_update, next_update, .. } = response;
    match urgency {
        Urgency::Missing => now < *next_update,
        Urgency::Refresh => now < this_update.plus(next_update.since(*this_update) / 2),
    }
}
