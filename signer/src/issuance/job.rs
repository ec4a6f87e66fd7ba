//! One certificate on its way: from the policy's yes to the answer. The journal is written twice: the intent before the token
//! sees it, the certificate before anybody else does.

use std::sync::Arc;

use super::ledger::Ticket;
use crate::{
    admit::Admitted,
    clock,
    journal::{Event, Intent, Location, Signed},
    queue::{Holder, Party, Waits},
    random,
    rehearsal::Flaw,
    share::Share,
    token::frame::{Kind, Sign},
    work::Works,
};
use shared::{
    base64url::Base64Url,
    signing::{Issued, Refusal, Refused},
    timestamp::Timestamp,
};

/// What the edge's log says of an order that another signer may have.
pub(crate) const LEASE_OVER: &str = "the order's lease is over: another signer may have it";

/// A certificate that waits for its token.
#[derive(Debug)]
pub(crate) struct Job {
    admitted: Admitted,
    ticket: Ticket,
    /// Positions of the issuers that can make it; the one that decided, once one has.
    issuers: Vec<usize>,
    decided: Option<Decided>,
    /// Its places in the shares of its edge and its account.
    _shares: [Share; 2],
}

/// An intent that is on the disk.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) intent: Intent,
    pub(crate) location: Location,
}

impl Job {
    /// A job that any of these issuers can do, or the one that has decided on it before.
    pub(crate) const fn new(
        admitted: Admitted,
        ticket: Ticket,
        issuers: Vec<usize>,
        decided: Option<Decided>,
        shares: [Share; 2],
    ) -> Self {
        Self { admitted, ticket, issuers, decided, _shares: shares }
    }

    /// The TBSCertificate; nothing before it is decided on, which a worker refuses.
    pub(crate) fn sign(&self) -> Sign {
        let tbs = self.decided.as_ref().map(|decided| decided.intent.tbs.clone());
        Sign { kind: Kind::Certificate, tbs: tbs.unwrap_or_else(|| Base64Url(Vec::new())) }
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

impl Job {
    /// Decides on the certificate and writes the intent, unless an earlier job has. Gives nothing when the job has ended here.
    pub(crate) async fn prepare(mut self, works: &Works, position: usize) -> Option<Self> {
        if let Some(reason) = self.stopped(works) {
            self.give_up(Refusal::Stopped, reason);
            return None;
        }
        if !self.ticket.lease().begin(clock::now()) {
            self.give_up(Refusal::Busy, LEASE_OVER);
            return None;
        }
        if let Some(decided) = &self.decided {
            if let Err(refused) = self.judge(works, &decided.intent) {
                self.give_up(refused.reason, &refused.detail);
                return None;
            }
            // Decided on by an earlier version, it may be.
            if let Err(flaw) = self.rehearse(works, position, &decided.intent) {
                self.flawed(&flaw);
                return None;
            }
            return Some(self);
        }
        let Admitted { scope, claim, budget, .. } = &self.admitted;
        if let Err(exhausted) = works.spendings.spend_for(scope, &claim.account, budget, clock::steady()) {
            self.give_up(Refusal::OverBudget, &exhausted.to_string());
            return None;
        }
        let Some(issuer) = works.issuers.get(position) else {
            self.fail("there is no such issuer");
            return None;
        };
        let serial = match random::serial_number() {
            Ok(serial) => serial,
            Err(error) => {
                self.fail(&error.to_string());
                return None;
            }
        };
        let intent = match issuer.prepare(&self.admitted, serial, clock::now()) {
            Ok(intent) => intent,
            Err(error) => {
                self.fail(&error.to_string());
                return None;
            }
        };
        // It may have waited for long.
        if let Err(refused) = self.judge(works, &intent) {
            self.give_up(refused.reason, &refused.detail);
            return None;
        }
        if let Err(flaw) = self.rehearse(works, position, &intent) {
            self.flawed(&flaw);
            return None;
        }
        match works.journal.append(Event::Intent(Box::new(intent.clone()))).await {
            Ok(location) => {
                self.ticket.intended(location);
                if let Some(shard) = intent.crl_shard {
                    works.ledger.trail().points(issuer.id(), shard, intent.not_after);
                }
                self.issuers = vec![position];
                self.decided = Some(Decided { intent, location });
                Some(self)
            }
            Err(error) => {
                self.fail(&error.to_string());
                None
            }
        }
    }

    /// Checks the certificate, writes it, and lets it out.
    pub(crate) async fn finish(self, works: &Works, signature: Vec<u8>) {
        // Stopped, or not in the policy any more, while it was in the token: the signature is dropped, and the intent stays.
        if let Some(Err(refused)) = self.decided.as_ref().map(|decided| self.judge(works, &decided.intent)) {
            return self.give_up(refused.reason, &refused.detail);
        }
        // Another signer may have the order by now.
        if self.ticket.lease().is_over(clock::now()) {
            works.metrics.lease_over();
            tracing::error!(
                order = self.admitted.order,
                "its lease ran out while it was in the token; the signature is dropped"
            );
            return self.give_up(Refusal::Busy, LEASE_OVER);
        }
        let made = self.check(works, &signature);
        let (chain, decided) = match made {
            Ok(made) => made,
            Err(reason) => return self.fail(&reason),
        };
        let (intent, location) = (&decided.intent, decided.location);
        let signed =
            Signed { order: intent.order.clone(), intent: location.index, serial: intent.serial, chain: chain.clone() };
        match works.journal.append(Event::Signed(signed)).await {
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
                works.metrics.signed();
                let issued = Issued { chain, serial: intent.serial, journal_index: location.index };
                self.ticket.signed(location, Arc::new(issued));
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Looks at the certificate of an intent as it will be.
    fn rehearse(&self, works: &Works, position: usize, intent: &Intent) -> Result<(), Flaw> {
        let issuer = works.issuers.get(position).ok_or(Flaw::Form)?;
        works.rehearsal.of(intent, issuer.certificate(), self.admitted.csr.public_key())
    }

    /// Ends a job whose certificate must not be signed. Who asked for it journals that.
    fn flawed(self, flaw: &Flaw) {
        tracing::error!(order = self.admitted.order, %flaw, "a certificate is not signed");
        self.give_up(Refusal::Flawed, &flaw.to_string());
    }

    /// Checks that what was decided on may still be signed.
    fn judge(&self, works: &Works, intent: &Intent) -> Result<(), Refused> {
        works.judge(intent, self.admitted.csr.public_key().kind(), clock::now()).inspect_err(|refused| {
            let Refused { reason, detail, .. } = refused;
            tracing::warn!(order = intent.order, ?reason, detail, "it may not be signed any more");
        })
    }

    fn stopped(&self, works: &Works) -> Option<&'static str> {
        works.stops.borrow().reason(&self.admitted.subject())
    }

    fn check(&self, works: &Works, signature: &[u8]) -> Result<(Vec<Base64Url>, &Decided), String> {
        let decided = self.decided.as_ref().ok_or("it was signed before it was decided on")?;
        let issuer = self.issuers.first().and_then(|position| works.issuers.get(*position));
        let issuer = issuer.ok_or("there is no such issuer")?;
        let key = self.admitted.csr.public_key();
        let chain = issuer.finish(&decided.intent, key, signature).map_err(|error| error.to_string())?;
        Ok((chain, decided))
    }
}

impl Waits for Job {
    fn party(&self) -> Party {
        let holder = match self.admitted.rights.binding() {
            Some(binding) => Holder::Binding(binding.to_owned()),
            None => Holder::Open { edge: self.admitted.edge.clone(), scope: self.admitted.scope.clone() },
        };
        Party { holder, account: self.admitted.claim.account.0 }
    }

    fn deadline(&self) -> Timestamp {
        self.admitted.deadline
    }

    fn is_forsaken(&self, now: Timestamp) -> bool {
        !self.ticket.is_wanted(now) || self.ticket.lease().is_over(now)
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
