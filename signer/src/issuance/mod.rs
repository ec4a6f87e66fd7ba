//! Issuance and revocation: from a request to the one certificate of its order, and to the one revocation of that. The same
//! request again joins the running job or gets the stored bytes; after a crash, the intent of the journal is signed as it
//! stands.

mod bind;
mod certificates;
pub(crate) mod decided;
mod disown;
pub(crate) mod job;
mod lease;
mod ledger;
mod notes;
mod queue_shares;
mod records;
mod revoke;
mod settle;

use std::{sync::Arc, time::Duration};

use shared::{
    checkpoint::{JournalReply, JournalRequest},
    signing::{IssueReply, IssueRequest, Issued, JournalState, Refusal, Refused, Status},
    timestamp::Timestamp,
};
use tokio::{sync::watch, time::timeout};

use self::{
    job::{Decided, Job, LEASE_OVER},
    ledger::{Known, Running},
};
pub(crate) use self::{
    ledger::{Claim, Ledger},
    notes::Notes,
    queue_shares::QueueShares,
    records::Readers,
};
use crate::{
    admit::{Admitted, Bounds, Evidence, refused},
    clock, issuer,
    journal::{Event, JournalFailed, Location, RefusedRequest, Room},
    policy::Policy,
    queue::NoRoom,
    work::Works,
};

/// Bytes of a detail or an order's URL that a record of a refusal keeps.
const NOTED_BYTES: usize = 256;

/// The verbs of the protocol, below HTTP.
#[derive(Debug)]
pub(crate) struct Issuance {
    /// As it is now: see [`crate::rotation`].
    pub(crate) policy: watch::Receiver<Arc<Policy>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) works: Arc<Works>,
    /// How long an answer waits for its certificate before it says `queued`.
    pub(crate) answer: Duration,
    /// So long after somebody should have asked again a job that nobody has begun is dropped.
    pub(crate) forget: Duration,
    /// The certificates that wait or are signed, by the edge that asked and by account.
    pub(crate) shares: QueueShares,
    /// What the refusals of each caller may still write into the journal.
    pub(crate) notes: Notes,
    /// Who reads the journal.
    pub(crate) readers: Arc<Readers>,
}

impl Issuance {
    /// The policy of this moment. A request is judged by one policy, from its beginning to its end.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// The verb `issue`, asked by this edge.
    pub(crate) async fn issue(&self, edge: &str, request: IssueRequest) -> IssueReply {
        let order = request.order.clone();
        match self.try_issue(edge, request).await {
            Ok(reply) => reply,
            Err(refused) => {
                self.note(edge, &order, &refused).await;
                IssueReply::Refused(refused)
            }
        }
    }

    /// The verb `status`.
    pub(crate) fn status(&self) -> Status {
        let head = self.works.journal.head();
        let issuer_status = |issuer: &issuer::Issuer| {
            let crl_shards = self.works.desk.crls.shards_of(issuer.id());
            shared::signing::IssuerStatus { crl_shards, ..issuer.status() }
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            issuers: self.works.issuers.iter().map(issuer_status).collect(),
            journal_length: head.length,
            journal_head: shared::base64url::Base64Url(head.hash.to_vec()),
            queued: u64::try_from(self.works.queue.len()).unwrap_or(u64::MAX),
            policy: shared::base64url::Base64Url(self.policy().hash().to_vec()),
            journal: match self.works.journal.room() {
                Room::Free => JournalState::Writable,
                Room::Full => JournalState::Full,
                Room::Broken => JournalState::Broken,
            },
        }
    }

    /// The verb `journal`.
    pub(crate) async fn heads(&self, asked: JournalRequest) -> JournalReply {
        let journal = self.works.journal.clone();
        let heads = tokio::task::spawn_blocking(move || journal.heads(asked.length)).await;
        heads.unwrap_or(Err(JournalFailed)).unwrap_or_else(|JournalFailed| JournalReply::Refused(unavailable()))
    }

    /// Logs a refusal, and journals it unless it is only a matter of time, or this caller was refused too often.
    pub(crate) async fn note(&self, edge: &str, order: &str, refused: &Refused) {
        let Refused { reason, detail, .. } = refused;
        self.say(edge, order, refused);
        if matches!(reason, Refusal::Busy | Refusal::Unavailable) {
            return;
        }
        let Some(left_out) = self.notes.take(cut(edge), cut(order), *reason, clock::steady()) else { return };
        let mut detail = cut(detail).to_owned();
        if left_out > 0 {
            detail.push_str(&format!(" (before it {left_out} refusals of this caller have no record)"));
        }
        let event = Event::Refused(RefusedRequest {
            reason: *reason,
            detail,
            edge: cut(edge).to_owned(),
            order: cut(order).to_owned(),
        });
        // On a full disk there is nothing left for refusals.
        if self.works.journal.room() == Room::Free && self.works.journal.append(event).await.is_err() {
            tracing::error!("a refusal is not journaled");
        }
    }

    /// Takes one from the records that this edge can have written in a day without a signature (`records_per_day`).
    ///
    /// # Errors
    /// [`Refusal::Busy`], which is not journaled.
    fn spend_record(&self, policy: &Policy, edge: &str) -> Result<(), Refused> {
        let none = || refused(Refusal::UnknownEdge, format!("there is no edge {edge}"));
        let budget = policy.records(edge).ok_or_else(none)?;
        self.works.records.spend(edge, budget, clock::steady()).map_err(|exhausted| {
            let advice = "an operator can raise the edge's records_per_day";
            let wait = exhausted.retry_after();
            refused(Refusal::Busy, format!("the edge {edge} has no records left for {wait} s: {advice}"))
        })
    }

    /// Logs a refusal.
    fn say(&self, edge: &str, order: &str, refused: &Refused) {
        let Refused { reason, detail, .. } = refused;
        self.works.metrics.refused(*reason);
        tracing::warn!(edge, order = cut(order), ?reason, detail, "refused");
    }

    async fn try_issue(&self, edge: &str, request: IssueRequest) -> Result<IssueReply, Refused> {
        let policy = self.policy();
        let evidence = Evidence::verify(&policy, edge, request)?;
        if self.works.issuers.iter().any(|issuer| issuer.has_key(evidence.public_key())) {
            return Err(refused(Refusal::BadCsr, "the key is a CA's"));
        }
        let (order, claim, now) = (evidence.order().to_owned(), evidence.claim(), clock::now());
        let lease = evidence.lease();
        let running = match self.ledger.look_up(&order, claim, lease) {
            Known::Signed(location) => return self.stored(&location),
            Known::Running(running) => running,
            Known::Used => return Err(used()),
            Known::Settled => return Err(refused(Refusal::Busy, LEASE_OVER)),
            Known::Nothing | Known::Intended(_) if lease.is_some_and(|lease| lease < now) => {
                return Err(refused(Refusal::Busy, LEASE_OVER));
            }
            known @ (Known::Nothing | Known::Intended(_)) => {
                if self.works.journal.room() != Room::Free {
                    return Err(refused(Refusal::Unavailable, "the disk of the signer's journal is full"));
                }
                let decided = match known {
                    Known::Intended(location) => Some(self.decided(location)?),
                    _ => None,
                };
                let admitted = {
                    let stops = self.works.stops.borrow();
                    let bounds = Bounds { spendings: &self.works.spendings, stops: &stops, bound: &self.works.bound };
                    evidence.admit(&policy, edge, now, decided.as_ref().map(|decided| &decided.intent), bounds)?
                };
                if decided.is_none() {
                    self.check_verifiable(&admitted)?;
                }
                match self.start(admitted, decided, now)? {
                    Started::Running(running) => running,
                    Started::Signed(location) => return self.stored(&location),
                }
            }
        };
        self.wait(running).await
    }

    /// Puts the job of an admitted request into the queue.
    fn start(&self, admitted: Admitted, decided: Option<Decided>, now: Timestamp) -> Result<Started, Refused> {
        let works = &self.works;
        let place = works.queue.place(admitted.priority.into());
        let (ticket, running, intent) = match self.ledger.begin(&admitted.order, admitted.claim, place, admitted.lease)
        {
            Ok(begun) => begun,
            // Another request was faster since we looked.
            Err(Known::Running(running)) => return Ok(Started::Running(running)),
            Err(Known::Signed(location)) => return Ok(Started::Signed(location)),
            Err(Known::Settled) => return Err(refused(Refusal::Busy, LEASE_OVER)),
            Err(_) => return Err(used()),
        };
        // Another request has decided on it since we looked: it is judged anew.
        if intent != decided.as_ref().map(|decided| decided.location) {
            let refusal = refused(Refusal::Busy, "the order was decided on at this moment: ask again");
            ticket.give_up(refusal.reason, &refusal.detail);
            return Err(refusal);
        }
        if decided.as_ref().is_some_and(|decided| decided.intent.not_after <= now) {
            let refusal =
                refused(Refusal::OrderUsed, "its certificate was decided on, and expired before it was signed");
            ticket.give_up(refusal.reason, &refusal.detail);
            return Err(refusal);
        }
        let issuers = self.able(&admitted, decided.as_ref(), now);
        let able = || issuers.iter().filter_map(|position| works.issuers.get(*position));
        let (live, pace) = (able().any(|issuer| issuer.live_tokens() > 0), issuer::pace(able()));
        let shares = match self.shares.take(&admitted, works.queue.len()) {
            Ok(shares) => shares,
            Err(detail) => {
                ticket.give_up(Refusal::Busy, detail);
                return Err(refused(Refusal::Busy, detail));
            }
        };
        let job = Job::new(admitted, ticket, issuers.clone(), decided, shares);
        if !live {
            let refusal = refused(Refusal::Unavailable, "no token that could sign this works at the moment");
            job.give_up(refusal.reason, &refusal.detail);
            return Err(refusal);
        }
        works.queue.push(place, job.into(), now, pace).map_err(|(job, why)| {
            let refusal = match why {
                NoRoom::Full => refused(Refusal::Busy, "the queue is full"),
                NoRoom::Closed => refused(Refusal::Unavailable, "the signer is stopping"),
                NoRoom::TooLate(wait) => {
                    let seconds = wait.as_secs();
                    refused(
                        Refusal::Busy,
                        format!("it would take {seconds} s, which is longer than the deadline allows"),
                    )
                }
            };
            job.give_up(refusal.reason, &refusal.detail);
            refusal
        })?;
        Ok(Started::Running(running))
    }

    /// The intent of an earlier job, read from the journal.
    fn decided(&self, location: Location) -> Result<Decided, Refused> {
        let record = self.works.journal.read(&location).map_err(|_| unavailable())?;
        let Event::Intent(intent) = record.event else { return Err(unavailable()) };
        tracing::info!(order = intent.order, serial = %intent.serial, "an intent without a signature is taken up again");
        Ok(Decided { intent: *intent, location })
    }

    /// Positions of the issuers that can make this certificate: for a new one those that outlive it, for one that was decided
    /// on the one that did.
    fn able(&self, admitted: &Admitted, decided: Option<&Decided>, now: Timestamp) -> Vec<usize> {
        let (_, not_after) = admitted.times.validity(&admitted.profile, now);
        let able = |issuer: &issuer::Issuer| match decided {
            Some(decided) => issuer.decided(&decided.intent),
            None => {
                !issuer.is_drained() && issuer.certificate().not_after() >= not_after && issuer.admit(admitted).is_ok()
            }
        };
        self.works.issuers.iter().enumerate().filter(|(_, issuer)| able(issuer)).map(|(position, _)| position).collect()
    }

    /// Refuses a certificate that no verifier would accept under any issuer's chain.
    fn check_verifiable(&self, admitted: &Admitted) -> Result<(), Refused> {
        let mut first = None;
        for issuer in self.works.issuers.iter().filter(|issuer| !issuer.is_drained()) {
            match issuer.admit(admitted) {
                Ok(()) => return Ok(()),
                Err(error) => first = first.or(Some(format!("issuer {}: {error}", issuer.name()))),
            }
        }
        first.map_or(Ok(()), |why| Err(refused(Refusal::NotPermitted, why)))
    }

    /// Waits for a job, but not for ever; then says when to ask again.
    async fn wait(&self, running: Running) -> Result<IssueReply, Refused> {
        let (place, mut outcome) = (running.place, running.outcome.clone());
        let ended = async { outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone()) };
        let queued = || {
            let estimate = self.works.queue.estimate(place, issuer::pace(self.works.issuers.iter()));
            let seconds = estimate.as_secs().saturating_add(u64::from(estimate.subsec_nanos() > 0)).max(1);
            running.want(clock::now().plus(seconds).plus(self.forget.as_secs()));
            (estimate, IssueReply::Queued { retry_after: seconds })
        };
        let (estimate, reply) = queued();
        if estimate > self.answer {
            return Ok(reply);
        }
        match timeout(self.answer, ended).await {
            Ok(Some(Ok(issued))) => Ok(IssueReply::Issued(Issued::clone(&issued))),
            Ok(Some(Err(refused))) => Err(refused),
            Ok(None) => Err(unavailable()),
            Err(_) => Ok(queued().1),
        }
    }

    /// A certificate of the journal.
    fn stored(&self, location: &Location) -> Result<IssueReply, Refused> {
        let record = self.works.journal.read(location).map_err(|_| unavailable())?;
        let Event::Signed(signed) = record.event else { return Err(unavailable()) };
        Ok(IssueReply::Issued(Issued { chain: signed.chain, serial: signed.serial, journal_index: record.index }))
    }
}

/// What the start of a job may find.
enum Started {
    Running(Running),
    Signed(Location),
}

fn used() -> Refused {
    refused(Refusal::OrderUsed, "this order belongs to another account key or another CSR")
}

fn unavailable() -> Refused {
    refused(Refusal::Unavailable, "the journal cannot be read or written")
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(NOTED_BYTES)).unwrap_or_default()
}
