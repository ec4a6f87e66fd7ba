//! Leases: which signer an order is given to and for how long, where there are several. While a lease lasts, the order is that signer's
//! alone. Another one gets it only after the first was settled (it says that it has not signed and will not), or after the lease
//! has run out and the first still cannot be asked, this time and others; it does not sign then by what it was told. What it signed
//! in the last moment has half a lease to be heard of: a signer that was out of reach for less has doubled nothing.
//!
//! ```text
//! asked --queued--> asked again, for longer      --refused, or far too slow--> settling
//!   +--no answer--> settling, as soon as there is another signer
//! settling --settled--> another signer           --no answer, long over--> another signer
//!   +--certificate--> done                       --anything else--> asked again
//! ```

use serde::{Deserialize, Serialize};
use shared::{profile::ProfileName, public_key::KeyKind, timestamp::Timestamp};

use super::{
    finalize,
    object_id::ObjectId,
    pool::{Outlook, Wanted},
    problem::Problem,
    record::Processing,
    step::Context,
};

/// How long an order is its signer's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its last second, by the edge's clock: nothing is signed under it after that.
    pub until: Timestamp,
    /// True when it is to go to another signer, as soon as this one is settled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
}

/// What comes next for an order whose certificate is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its signer is asked, now.
    Ask,
    /// Its signer is asked to settle it, now.
    Settle,
    /// Nothing for so many seconds.
    Wait(u64),
}

/// An order that has a signer.
#[derive(Debug)]
pub struct Leased<'a> {
    id: ObjectId,
    profile: &'a ProfileName,
    processing: &'a mut Processing,
    context: &'a Context<'a>,
}

/// The signer that an order is given to first, and for how long.
///
/// # Errors
/// When there is no signer.
pub fn first(
    id: ObjectId,
    profile: &ProfileName,
    key: KeyKind,
    context: &Context<'_>,
) -> Result<(String, Option<Lease>), Problem> {
    let signers = &context.config.signers;
    let lot = id.random_part();
    let wanted = Wanted { profile, key, lot, not: None };
    let chosen = context.outlook.and_then(|outlook| outlook.choose(&wanted));
    // Where nothing is known of signers, a fixed function of the id.
    let serving =
        || signers.iter().filter(|signer| signer.serves(profile, key) && !signer.drain && !signer.last_resort);
    let number = lot.checked_rem(serving().count()).unwrap_or(0);
    let any = || serving().nth(number).or_else(|| signers.first()).map(|signer| signer.binding.as_str());
    let signer = chosen.or_else(any).ok_or(Problem::Internal("there is no signer"))?.to_owned();
    let lease = (signers.len() > 1).then(|| Lease { until: until(&signer, 0, None, context), settling: false });
    Ok((signer, lease))
}

/// A signer that named a long wait is asked again after this many times `lifetimes.redrive` at the latest.
const REFUSED_FACTOR: u64 = 8;

impl<'a> Leased<'a> {
    /// An order of this profile.
    pub const fn new(
        id: ObjectId,
        profile: &'a ProfileName,
        processing: &'a mut Processing,
        context: &'a Context<'a>,
    ) -> Self {
        Self { id, profile, processing, context }
    }

    /// True when it is to go to another signer.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.processing.lease.is_some_and(|lease| lease.settling)
    }

    /// The signer has it in its queue, for so many seconds yet.
    pub fn queued(&mut self, seconds: u64) -> Turn {
        let seconds = seconds.max(1);
        let told = self.processing.lease.map_or(u64::MAX, |lease| lease.until.since(self.context.now));
        let settled_late = self.extend(seconds);
        if !settled_late && self.another(Some(seconds)) {
            return self.settle();
        }
        // It must hear of the longer lease well before the one that it knows is over.
        let again = seconds.min(told.saturating_sub(self.grace()).max(1));
        self.processing.promised = self.processing.promised.or(Some(self.context.now.plus(seconds)));
        self.wait(again, seconds)
    }

    /// The signer cannot take it at the moment, or has not settled it. `retry_after` is the time in seconds that it said, if it did: the
    /// client hears that. The signer is asked again sooner, because an operator may raise a budget, and when the order expires.
    pub fn refused(&mut self, retry_after: Option<u64>, expires: Timestamp) -> Turn {
        let was_settling = self.extend(0);
        if !was_settling && self.another(None) {
            return self.settle();
        }
        let redrive = self.context.config.lifetimes.redrive;
        let wait = retry_after.unwrap_or(redrive).max(redrive);
        let left = expires.since(self.context.now).saturating_add(1).max(redrive);
        self.wait(wait.min(left).min(redrive.saturating_mul(REFUSED_FACTOR)), wait)
    }

    /// The signer could not be reached: nothing is known.
    pub fn unreached(&mut self) -> Turn {
        let redrive = self.context.config.lifetimes.redrive;
        let Some(lease) = self.processing.lease else { return self.wait(redrive, redrive) };
        // One answer that did not come may have been lost here, on a machine that has too much to do.
        let answers = |outlook: Outlook<'_>| outlook.answers(&self.processing.signer);
        if lease.settling && self.is_over(lease) && !self.context.outlook.is_some_and(answers) {
            return self.give_to_another();
        }
        let settling = lease.settling || self.another(None);
        self.processing.lease = Some(Lease { settling, ..lease });
        let doubled = 1_u64.checked_shl(self.processing.attempts.min(16)).unwrap_or(redrive);
        // Not later than when it may go to another.
        let over = self.heard_of(lease).plus(1).since(self.context.now).max(1);
        self.wait(doubled.min(redrive).min(over), doubled.min(over))
    }

    /// Its alarm rings.
    pub fn due(&mut self) -> Turn {
        let Some(lease) = self.processing.lease else { return Turn::Ask };
        if lease.settling {
            return Turn::Settle;
        }
        // It is this signer's again: nobody else has had it.
        if self.is_over(lease) {
            self.extend(0);
        }
        Turn::Ask
    }

    /// The signer has not signed it and will not, or cannot be asked and must not any more.
    pub fn give_to_another(&mut self) -> Turn {
        let wanted = self.wanted();
        let other = self.context.outlook.and_then(|outlook| outlook.choose(&wanted)).map(str::to_owned);
        let before = self.processing.lease.map(|lease| lease.until);
        if let Some(other) = other {
            self.processing.signer = other;
        }
        let until = until(&self.processing.signer, 0, before, self.context);
        self.processing.lease = Some(Lease { until, settling: false });
        (self.processing.attempts, self.processing.expected) = (0, None);
        Turn::Ask
    }

    fn settle(&mut self) -> Turn {
        self.processing.lease = self.processing.lease.map(|lease| Lease { settling: true, ..lease });
        Turn::Settle
    }

    fn wait(&mut self, again: u64, expected: u64) -> Turn {
        self.processing.attempts = self.processing.attempts.saturating_add(1);
        self.processing.expected = Some(self.context.now.plus(expected));
        Turn::Wait(again)
    }

    /// The signer has it for longer: it has answered. True when it was to be settled, which is given up.
    fn extend(&mut self, waits: u64) -> bool {
        let Some(lease) = self.processing.lease else { return false };
        let until = until(&self.processing.signer, waits, Some(lease.until), self.context);
        self.processing.lease = Some(Lease { until, settling: false });
        lease.settling
    }

    /// The signer must not sign it any more, and has had the time to say that it has.
    fn is_over(&self, lease: Lease) -> bool {
        self.heard_of(lease) < self.context.now
    }

    /// What was signed under a lease is heard of by then, unless its signer is out of reach for longer; however far its clock is behind.
    fn heard_of(&self, lease: Lease) -> Timestamp {
        lease.until.plus(self.grace()).plus(self.context.config.lifetimes.clock_skew)
    }

    /// What an outage may take that costs nothing but time.
    fn grace(&self) -> u64 {
        self.context.config.lifetimes.lease.checked_div(2).unwrap_or_default()
    }

    /// Whether another signer can take it, where this one has it ready in so many seconds or not at all.
    fn another(&self, seconds: Option<u64>) -> bool {
        let Some(outlook) = self.context.outlook.filter(|_| self.processing.lease.is_some()) else { return false };
        outlook.another(&self.wanted(), seconds.map(|seconds| seconds.saturating_mul(1000))).is_some()
    }

    fn wanted(&self) -> Wanted<'_> {
        let key = finalize::key_of(self.processing).map_or(KeyKind::P256, |key| key.kind());
        Wanted { profile: self.profile, key, lot: self.id.random_part(), not: Some(&self.processing.signer) }
    }
}

/// The last second of a lease of now: time for what waits at the signer comes on top. Later than any lease of the order before, so
/// that the signer can tell them apart.
fn until(signer: &str, waits: u64, before: Option<Timestamp>, context: &Context<'_>) -> Timestamp {
    let expected = context.outlook.map_or(0, |outlook| outlook.expected_wait(signer));
    let waits = waits.max(expected.checked_div(1000).unwrap_or(0));
    let until = context.now.plus(context.config.lifetimes.lease).plus(waits);
    before.map_or(until, |before| until.max(before.plus(1)))
}
