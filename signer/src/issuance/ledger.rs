//! What is known about every order: nothing, a running job, an intent that waits for its signature, or a certificate; and with
//! them about every certificate (see [`Certificates`]). Built from the journal at start. This is where "one order, one
//! certificate" is kept.
//!
//! ```text
//! unknown --begin--> running --signed--> signed
//!    ^                 |  ^
//!    +-- no intent ----+  +--begin-- intended <-- crash, or given up with an intent
//! ```
//!
//! What is not signed and not begun can be settled: then it begins again only under a later lease (see [`Lease`]).

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};
use shared::{
    csr::CsrHash,
    jwk::Thumbprint,
    signing::{Issued, Refusal, Refused},
    timestamp::Timestamp,
};
use tokio::sync::watch;

use super::{
    certificates::Certificates,
    lease::{CannotEnd, Lease},
};
use crate::{
    journal::{BadRecord, Event, Fault, Location, Record},
    queue::Place,
    status::{self, Trail},
};

/// How a job ended, for everybody who waits for it.
pub(crate) type Outcome = Result<Arc<Issued>, Refused>;

/// What an order may be asked for again with: the same account and the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) account: Thumbprint,
    pub(crate) csr: CsrHash,
}

/// A running job, as those see it who wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Where in the queue it is or was.
    pub(crate) place: Place,
    /// Until when somebody can be expected to ask again; in seconds since 1970.
    pub(crate) wanted: Arc<AtomicU64>,
    pub(crate) lease: Arc<Lease>,
    /// What an earlier job had decided on.
    intent: Option<Location>,
    pub(crate) outcome: watch::Receiver<Option<Outcome>>,
}

/// What is known about an order to which somebody has the claim.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// An intent without a signature; where the journal has it.
    Intended(Location),
    /// A job.
    Running(Running),
    /// A certificate; where the journal says so.
    Signed(Location),
    /// It was settled: nothing is signed under this lease.
    Settled,
    /// It belongs to another account or another request, for ever.
    Used,
}

/// What can be said of an order that is to be settled.
#[derive(Debug)]
pub(crate) enum Settlement {
    /// Nothing begins for it under this lease; to be written.
    Settled,
    /// The same, and the record of this index says so.
    Written(u64),
    /// A certificate; where the journal says so.
    Signed(Location),
    /// It is in a token.
    Begun,
    /// A later lease was given since.
    Later,
    /// It belongs to another account or another request.
    Used,
}

/// The right to run the one job of an order.
#[derive(Debug)]
pub(crate) struct Ticket {
    ledger: Arc<Ledger>,
    order: OrderHash,
    claim: Claim,
    intent: Option<Location>,
    settled: Option<Settled>,
    wanted: Arc<AtomicU64>,
    lease: Arc<Lease>,
    outcome: watch::Sender<Option<Outcome>>,
    ended: bool,
}

/// All orders and all certificates.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    orders: Mutex<HashMap<OrderHash, Entry>>,
    /// Orders that were settled, by when they may be forgotten. Locked after `orders`.
    settled: Mutex<VecDeque<(Timestamp, OrderHash)>>,
    certificates: Certificates,
    trail: Mutex<Trail>,
}

/// Seconds that a settled order is remembered for: requests of leases that ended are refused by the clock, and one without a lease is not on
/// its way for so long. No lease that is settled ends later than that.
pub(super) const REMEMBERED: u64 = 86_400;

/// SHA-256 of an order's URL: a constant size for every order that ever was.
type OrderHash = [u8; 32];

/// What is known of an order that was settled.
#[derive(Clone, Copy, Debug)]
struct Settled {
    /// Leases that end then or sooner count no more.
    lease: Timestamp,
    /// When it was settled.
    at: Timestamp,
    /// The index of its record; none before it is on the disk.
    record: Option<u64>,
}

#[derive(Debug)]
enum Entry {
    Running { claim: Claim, running: Running },
    Intended { claim: Claim, intent: Location },
    Settled { claim: Claim, intent: Option<Location>, settled: Settled },
    Signed { claim: Claim, signed: Location },
}

impl Ledger {
    /// Takes in a record of the journal, in order, at start.
    ///
    /// # Errors
    /// When it contradicts an earlier one: a second intent or certificate of one order, a certificate without an intent, a
    /// second certificate of one serial number, a second revocation or one of a certificate that is not there.
    pub(crate) fn replay(&self, record: &Record, location: Location) -> Result<(), BadRecord> {
        let bad = BadRecord { index: record.index, fault: Fault::Contradiction };
        let mut orders = self.orders();
        match &record.event {
            Event::Refused(_) | Event::Bound(_) | Event::Response(_) | Event::Responder(_) | Event::Stops(_) => {}
            Event::Crl(crl) => self.trail().signed(crl),
            Event::Intent(intent) => {
                let account = <[u8; 32]>::try_from(intent.account.0.as_slice()).map_err(|_| bad)?;
                let csr = <[u8; 32]>::try_from(intent.csr.0.as_slice()).map_err(|_| bad)?;
                let claim = Claim { account: Thumbprint(account), csr: CsrHash(csr) };
                if let (Some(shard), Some(issuer)) = (intent.crl_shard, status::issuer_id(&intent.issuer_sha256.0)) {
                    self.trail().points(issuer, shard, intent.not_after);
                }
                match orders.insert(hash(&intent.order), Entry::Intended { claim, intent: location }) {
                    None | Some(Entry::Settled { intent: None, .. }) => {}
                    Some(_) => return Err(bad),
                }
            }
            Event::Signed(signed) => {
                let entry = orders.get_mut(&hash(&signed.order)).ok_or(bad)?;
                let (Entry::Intended { claim, intent } | Entry::Settled { claim, intent: Some(intent), .. }) = entry
                else {
                    return Err(bad);
                };
                if intent.index != signed.intent {
                    return Err(bad);
                }
                *entry = Entry::Signed { claim: *claim, signed: location };
                if !self.certificates.signed(signed.serial, location) {
                    return Err(bad);
                }
            }
            Event::Settled(settled) => {
                let account = <[u8; 32]>::try_from(settled.account.0.as_slice()).map_err(|_| bad)?;
                let csr = <[u8; 32]>::try_from(settled.csr.0.as_slice()).map_err(|_| bad)?;
                let claim = Claim { account: Thumbprint(account), csr: CsrHash(csr) };
                let intent = match orders.get(&hash(&settled.order)) {
                    None => None,
                    Some(Entry::Intended { intent, .. }) => Some(*intent),
                    Some(Entry::Settled { intent, .. }) => *intent,
                    Some(_) => return Err(bad),
                };
                let settled_now = Settled { lease: settled.lease, at: record.at, record: Some(record.index) };
                self.put_settled(&mut orders, hash(&settled.order), claim, intent, settled_now);
            }
            Event::Revoked(revoked) => {
                if !self.certificates.revoked(revoked.serial, location) {
                    return Err(bad);
                }
            }
        }
        Ok(())
    }

    /// What the journal says of CRLs.
    pub(crate) fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All certificates.
    pub(crate) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// What is known about an order, to whoever has this claim and this lease. A running job has the lease from then on.
    pub(crate) fn look_up(&self, order: &str, claim: Claim, lease: Option<Timestamp>) -> Known {
        self.orders().get(&hash(order)).map_or(Known::Nothing, |entry| entry.to(claim, lease))
    }

    /// True when something is known about an order.
    pub(crate) fn knows(&self, order: &str) -> bool {
        self.orders().contains_key(&hash(order))
    }

    /// Lets nothing begin for an order under a lease that ends then or sooner, unless something has begun. What would be written must be
    /// allowed.
    ///
    /// # Errors
    /// That of `allowed`: then all is as it was.
    pub(crate) fn settle<E>(
        &self,
        order: &str,
        claim: Claim,
        lease: Timestamp,
        now: Timestamp,
        allowed: impl FnOnce() -> Result<(), E>,
    ) -> Result<Settlement, E> {
        let mut orders = self.orders();
        self.forget_settled(&mut orders, now);
        let intent = match orders.get(&hash(order)) {
            None => {
                allowed()?;
                None
            }
            Some(entry) if entry.claim() != claim => return Ok(Settlement::Used),
            Some(Entry::Signed { signed, .. }) => return Ok(Settlement::Signed(*signed)),
            Some(Entry::Settled { settled, .. }) if settled.lease > lease => return Ok(Settlement::Later),
            Some(Entry::Settled { settled: Settled { lease: before, record: Some(index), .. }, .. })
                if *before == lease =>
            {
                return Ok(Settlement::Written(*index));
            }
            Some(Entry::Intended { intent, .. }) => {
                allowed()?;
                Some(*intent)
            }
            Some(Entry::Settled { intent, .. }) => {
                allowed()?;
                *intent
            }
            Some(Entry::Running { running, .. }) => match running.lease.end(lease, allowed)? {
                Ok(()) => running.intent,
                Err(CannotEnd::Begun) => return Ok(Settlement::Begun),
                Err(CannotEnd::Later) => return Ok(Settlement::Later),
            },
        };
        let settled = Settled { lease, at: now, record: None };
        self.put_settled(&mut orders, hash(order), claim, intent, settled);
        Ok(Settlement::Settled)
    }

    /// The record of a settled order is on the disk.
    pub(crate) fn settlement_written(&self, order: &str, lease: Timestamp, index: u64) {
        if let Some(Entry::Settled { settled, .. }) = self.orders().get_mut(&hash(order))
            && settled.lease == lease
        {
            settled.record = Some(index);
        }
    }

    /// Forgets what was settled so long ago that no request of before can be on its way. An intent stays one.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.forget_settled(&mut self.orders(), now);
    }

    fn forget_settled(&self, orders: &mut HashMap<OrderHash, Entry>, now: Timestamp) {
        let mut queue = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((until, order)) = queue.front().copied()
            && until < now
        {
            queue.pop_front();
            let Some(Entry::Settled { claim, intent, settled }) = orders.get(&order) else { continue };
            // It was settled again since, and stands behind in the queue.
            if settled.until() > until {
                continue;
            }
            match *intent {
                Some(intent) => orders.insert(order, Entry::Intended { claim: *claim, intent }),
                None => orders.remove(&order),
            };
        }
    }

    fn put_settled(
        &self,
        orders: &mut HashMap<OrderHash, Entry>,
        order: OrderHash,
        claim: Claim,
        intent: Option<Location>,
        settled: Settled,
    ) {
        orders.insert(order, Entry::Settled { claim, intent, settled });
        let mut queue = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back((settled.until(), order));
    }

    /// Starts the job of an order, unless there is one or it is done. With the ticket comes the intent of an earlier job.
    pub(crate) fn begin(
        self: &Arc<Self>,
        order: &str,
        claim: Claim,
        place: Place,
        lease: Option<Timestamp>,
    ) -> Result<(Ticket, Running, Option<Location>), Known> {
        let order = hash(order);
        let mut orders = self.orders();
        let (intent, settled) = match orders.get(&order) {
            None => (None, None),
            Some(Entry::Intended { claim: other, intent }) if *other == claim => (Some(*intent), None),
            Some(entry @ Entry::Settled { intent, settled, .. }) => match entry.to(claim, lease) {
                Known::Nothing | Known::Intended(_) => (*intent, Some(*settled)),
                known => return Err(known),
            },
            Some(entry) => return Err(entry.to(claim, lease)),
        };
        let (sender, outcome) = watch::channel(None);
        let wanted = Arc::new(AtomicU64::new(u64::MAX));
        let lease = Arc::new(Lease::new(lease));
        let running = Running { place, wanted: Arc::clone(&wanted), lease: Arc::clone(&lease), intent, outcome };
        orders.insert(order, Entry::Running { claim, running: running.clone() });
        let ledger = Arc::clone(self);
        let ticket = Ticket { ledger, order, claim, intent, settled, wanted, lease, outcome: sender, ended: false };
        Ok((ticket, running, intent))
    }

    fn orders(&self) -> MutexGuard<'_, HashMap<OrderHash, Entry>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Somebody asks now, and will ask again before this time if at all.
    pub(crate) fn want(&self, until: Timestamp) {
        self.wanted.store(until.seconds(), Ordering::Relaxed);
    }
}

impl Ticket {
    /// False when nobody has asked for so long that nobody will. What was decided on is always wanted: it is signed, or stays
    /// an intent for ever.
    pub(crate) fn is_wanted(&self, now: Timestamp) -> bool {
        self.intent.is_some() || self.wanted.load(Ordering::Relaxed) >= now.seconds()
    }

    /// How long the order is this signer's.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The intent is on the disk.
    pub(crate) const fn intended(&mut self, intent: Location) {
        self.intent = Some(intent);
    }

    /// The certificate is on the disk: tells everybody who waits.
    pub(crate) fn signed(mut self, signed: Location, issued: Arc<Issued>) {
        if !self.ledger.certificates.signed(issued.serial, signed) {
            tracing::error!(serial = %issued.serial, "two certificates have one serial number");
        }
        self.end(Some(Entry::Signed { claim: self.claim, signed }), Ok(issued));
    }

    /// Gives up. The order is as it was before, or has an intent that the next job will sign.
    pub(crate) fn give_up(mut self, reason: Refusal, detail: &str) {
        self.end(self.entry_when_given_up(), Err(Refused { reason, detail: detail.to_owned(), retry_after: None }));
    }

    fn entry_when_given_up(&self) -> Option<Entry> {
        match (self.settled, self.intent) {
            (Some(settled), intent) => Some(Entry::Settled { claim: self.claim, intent, settled }),
            (None, Some(intent)) => Some(Entry::Intended { claim: self.claim, intent }),
            (None, None) => None,
        }
    }

    fn end(&mut self, entry: Option<Entry>, outcome: Outcome) {
        self.ended = true;
        let mut orders = self.ledger.orders();
        // What was settled stays so.
        if !self.lease.is_ended() {
            match entry {
                Some(Entry::Settled { claim, intent, settled }) => {
                    self.ledger.put_settled(&mut orders, self.order, claim, intent, settled);
                }
                Some(entry) => drop(orders.insert(self.order, entry)),
                None => drop(orders.remove(&self.order)),
            }
        }
        drop(orders);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            let detail = String::from("the job was lost");
            self.end(
                self.entry_when_given_up(),
                Err(Refused { reason: Refusal::Unavailable, detail, retry_after: None }),
            );
        }
    }
}

impl Settled {
    /// Until when it is remembered.
    fn until(&self) -> Timestamp {
        self.at.plus(REMEMBERED).max(self.lease)
    }
}

impl Entry {
    fn to(&self, claimed: Claim, lease: Option<Timestamp>) -> Known {
        if self.claim() != claimed {
            return Known::Used;
        }
        match self {
            Self::Running { running, .. } => {
                running.lease.extend(lease);
                Known::Running(running.clone())
            }
            Self::Intended { intent, .. } => Known::Intended(*intent),
            Self::Settled { settled, .. } if lease.is_none_or(|lease| lease <= settled.lease) => Known::Settled,
            Self::Settled { intent: Some(intent), .. } => Known::Intended(*intent),
            Self::Settled { intent: None, .. } => Known::Nothing,
            Self::Signed { signed, .. } => Known::Signed(*signed),
        }
    }

    const fn claim(&self) -> Claim {
        match self {
            Self::Running { claim, .. }
            | Self::Intended { claim, .. }
            | Self::Settled { claim, .. }
            | Self::Signed { claim, .. } => *claim,
        }
    }
}

fn hash(order: &str) -> OrderHash {
    Sha256::digest(order).into()
}

#[cfg(test)]
mod tests;
