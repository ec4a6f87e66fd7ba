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
    collections::{BTreeSet, HashMap},
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

/// Seconds after the end of its lease for which a settled order without an intent is remembered: more than clocks differ.
const SETTLED_SECONDS: u64 = 600;

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
    /// The same, and the journal has said so: the index of the record.
    Recorded(u64),
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
    /// Leases that end then or sooner count no more; and the index of the record that says so.
    settled: Option<(Timestamp, Option<u64>)>,
    wanted: Arc<AtomicU64>,
    lease: Arc<Lease>,
    outcome: watch::Sender<Option<Outcome>>,
    ended: bool,
}

/// All orders and all certificates.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    orders: Mutex<HashMap<OrderHash, Entry>>,
    certificates: Certificates,
    trail: Mutex<Trail>,
    /// Orders that are settled and have no intent, by the end of their leases.
    settled: Mutex<BTreeSet<(Timestamp, OrderHash)>>,
}

/// SHA-256 of an order's URL: a constant size for every order that ever was.
type OrderHash = [u8; 32];

#[derive(Debug)]
enum Entry {
    Running { claim: Claim, running: Running },
    Intended { claim: Claim, intent: Location },
    Settled { claim: Claim, intent: Option<Location>, lease: Timestamp, record: Option<u64> },
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
                let (order, lease) = (hash(&settled.order), settled.lease);
                orders.insert(order, Entry::Settled { claim, intent, lease, record: Some(record.index) });
                drop(orders);
                if intent.is_none() {
                    self.settled().insert((lease, order));
                }
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

    /// Lets nothing begin for an order under a lease that ends then or sooner, unless something has begun.
    pub(crate) fn settle(&self, order: &str, claim: Claim, lease: Timestamp, now: Timestamp) -> Settlement {
        let mut orders = self.orders();
        let intent = match orders.get(&hash(order)) {
            None => None,
            Some(entry) if entry.claim() != claim => return Settlement::Used,
            Some(Entry::Signed { signed, .. }) => return Settlement::Signed(*signed),
            Some(Entry::Intended { intent, .. }) => Some(*intent),
            Some(Entry::Settled { lease: before, .. }) if *before > lease => return Settlement::Later,
            Some(Entry::Settled { lease: before, record: Some(record), .. }) if *before == lease => {
                return Settlement::Recorded(*record);
            }
            Some(Entry::Settled { intent, .. }) => *intent,
            Some(Entry::Running { running, .. }) => match running.lease.end(lease) {
                Ok(()) => running.intent,
                Err(CannotEnd::Begun) => return Settlement::Begun,
                Err(CannotEnd::Later) => return Settlement::Later,
            },
        };
        orders.insert(hash(order), Entry::Settled { claim, intent, lease, record: None });
        drop(orders);
        if intent.is_none() {
            self.forget_leases_over(order, lease, now);
        }
        Settlement::Settled
    }

    /// The journal says that an order is settled under this lease.
    pub(crate) fn settlement_recorded(&self, order: &str, lease: Timestamp, index: u64) {
        if let Some(Entry::Settled { lease: settled, record, .. }) = self.orders().get_mut(&hash(order))
            && *settled == lease
        {
            *record = Some(index);
        }
    }

    /// Remembers an order that is settled and has no intent, and forgets those whose leases have been over for
    /// [`SETTLED_SECONDS`]: a request under such a lease is refused by its time.
    fn forget_leases_over(&self, order: &str, lease: Timestamp, now: Timestamp) {
        let mut settled = self.settled();
        settled.insert((lease, hash(order)));
        let mut orders = self.orders();
        while let Some((lease, order)) = settled.first().copied().filter(|(lease, _)| lease.plus(SETTLED_SECONDS) < now)
        {
            settled.remove(&(lease, order));
            if matches!(orders.get(&order), Some(Entry::Settled { intent: None, lease: last, .. }) if *last == lease) {
                orders.remove(&order);
            }
        }
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
            Some(entry @ Entry::Settled { intent, lease: before, record, .. }) => match entry.to(claim, lease) {
                Known::Nothing | Known::Intended(_) => (*intent, Some((*before, *record))),
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

    /// Locked before the orders are, where both are.
    fn settled(&self) -> MutexGuard<'_, BTreeSet<(Timestamp, OrderHash)>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.end(self.entry_when_given_up(), Err(Refused { reason, detail: detail.to_owned() }));
    }

    fn entry_when_given_up(&self) -> Option<Entry> {
        match (self.settled, self.intent) {
            (Some((lease, record)), intent) => Some(Entry::Settled { claim: self.claim, intent, lease, record }),
            (None, Some(intent)) => Some(Entry::Intended { claim: self.claim, intent }),
            (None, None) => None,
        }
    }

    fn end(&mut self, entry: Option<Entry>, outcome: Outcome) {
        self.ended = true;
        if let Some(Entry::Settled { intent: None, lease, .. }) = &entry {
            self.ledger.settled().insert((*lease, self.order));
        }
        let mut orders = self.ledger.orders();
        // What was settled stays so.
        if !self.lease.is_ended() {
            match entry {
                Some(entry) => orders.insert(self.order, entry),
                None => orders.remove(&self.order),
            };
        }
        drop(orders);
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            let detail = String::from("the job was lost");
            self.end(self.entry_when_given_up(), Err(Refused { reason: Refusal::Unavailable, detail }));
        }
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
            Self::Settled { lease: before, .. } if lease.is_none_or(|lease| lease <= *before) => Known::Settled,
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
