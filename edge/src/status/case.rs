//! A certificate that a signer's journal calls signed, until it is known whether its client has it, and after that when nobody has it.
//!
//! ```text
//! first look --its order's--> delivered: no case any more
//!     |  +--its order may still become valid, or cannot be asked--> undecided: looked at again
//!     +--no order's, for longer than the grace--> undelivered --revoked, refused, or left to the operator--> kept for a while
//! ```

use serde::{Deserialize, Serialize};
use shared::{
    refusal::Refusal,
    signing::{RevokeReply, SignedRecord},
    timestamp::Timestamp,
};

use super::reconciliation_config::ReconciliationConfig;
use crate::acme::{
    kept::{Kept, Promise},
    lifetimes::LifetimesConfig,
    object_id::ObjectId,
    route::{AccountId, Resource, Route, Urls},
};

/// The longest time between two looks, and between two questions to a signer, in seconds.
const LONGEST_PAUSE: u64 = 3600;

/// The first time between two questions to a signer that could not revoke, in seconds.
const FIRST_PAUSE: u64 = 60;

/// A certificate as stored. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What the journal says.
    pub signed: SignedRecord,
    /// When it was first looked at.
    pub since: Timestamp,
    /// How far it got.
    pub state: CaseState,
}

/// How far a case got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseState {
    /// Too early to say.
    Undecided,
    /// No client has it or can fetch it.
    Undelivered(Undelivered),
}

/// A certificate that nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undelivered {
    /// When that was found.
    pub found: Timestamp,
    /// What became of it.
    pub revocation: Disowned,
}

/// Whether a certificate that nobody has is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disowned {
    /// Its signer is to be asked.
    Due {
        /// Questions without a final answer so far.
        attempts: u32,
    },
    /// Its signer is not asked: it cannot be revoked, or that is the operator's to say.
    Left,
    /// The signer's journal says so.
    Revoked {
        /// Since when, by the signer's clock.
        at: Timestamp,
    },
    /// The signer will not.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// What cases are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What the operator wants.
    pub config: &'a ReconciliationConfig,
    /// How long orders live and are leased.
    pub lifetimes: &'a LifetimesConfig,
    /// Whose orders they are.
    pub urls: &'a Urls,
    /// No signer is asked to revoke what it had signed before this record: nobody looked at it then.
    pub from: u64,
}

/// Who knows what became of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This account's object, by this order.
    Order(AccountId, ObjectId),
    /// Nobody needs to be asked.
    Known(Kept),
}

/// What is found of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Its client has it, or can fetch it.
    Delivered(Option<Promise>),
    /// It had expired before anybody could say.
    Past,
    /// Still, or from now on, a case: looked at again then.
    Open(Case, Timestamp),
}

impl Case {
    /// A certificate that is looked at for the first time.
    #[must_use]
    pub const fn new(signed: SignedRecord, now: Timestamp) -> Self {
        Self { signed, since: now, state: CaseState::Undecided }
    }

    /// Who knows what became of it. What has expired is not worth a question.
    #[must_use]
    pub fn whose(&self, urls: &Urls, now: Timestamp) -> Whose {
        if self.is_past(now) {
            return Whose::Known(Kept::Otherwise);
        }
        // By whatever base URL: a deployment that was moved to another one keeps its accounts.
        let path = self.signed.order.splitn(4, '/').nth(3).unwrap_or_default();
        match urls.parse(&format!("/{path}")) {
            Ok(Route::Of(account, Resource::Order(order))) => Whose::Order(account, order),
            _ => Whose::Known(Kept::Otherwise),
        }
    }

    /// What is found of it by what its order says; nothing when the order's account could not be asked.
    #[must_use]
    pub fn judged(self, kept: Option<Kept>, rules: &Rules<'_>, now: Timestamp) -> Judged {
        let over = self.since.plus(rules.config.grace_seconds);
        match kept {
            Some(Kept::Delivered(promise)) => Judged::Delivered(promise),
            _ if self.is_past(now) => Judged::Past,
            Some(Kept::Otherwise) if over <= now => {
                let due = self.is_to_be_disowned(rules);
                let revocation = if due { Disowned::Due { attempts: 0 } } else { Disowned::Left };
                let again = if due { now } else { self.forgotten_at(rules) };
                Judged::Open(self.undelivered(now, revocation), again)
            }
            Some(Kept::Otherwise) => Judged::Open(self, over),
            Some(Kept::Undecided) | None => {
                let leased = rules.lifetimes.lease.saturating_add(rules.lifetimes.clock_skew).max(1);
                let pause = now.since(self.since).clamp(leased.min(LONGEST_PAUSE), LONGEST_PAUSE);
                Judged::Open(self, now.plus(pause))
            }
        }
    }

    /// True when its signer is to be asked to revoke it.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        matches!(self.state, CaseState::Undelivered(Undelivered { revocation: Disowned::Due { .. }, .. }))
    }

    /// A signer answered, or could not be asked. With the time of the next look.
    #[must_use]
    pub fn disowned(self, answer: Option<&RevokeReply>, rules: &Rules<'_>, now: Timestamp) -> (Self, Timestamp) {
        let CaseState::Undelivered(Undelivered { found, revocation: Disowned::Due { attempts } }) = self.state else {
            let again = self.forgotten_at(rules);
            return (self, again);
        };
        let revocation = match answer {
            Some(RevokeReply::Revoked(revoked)) if revoked.serial == self.signed.serial => {
                Disowned::Revoked { at: revoked.at }
            }
            Some(RevokeReply::Refused(refused)) if !refused.reason.is_temporary() => {
                Disowned::Refused { reason: refused.reason }
            }
            _ if self.is_past(now) => Disowned::Left,
            _ => Disowned::Due { attempts: attempts.saturating_add(1) },
        };
        let doubled = FIRST_PAUSE.checked_shl(attempts.min(16)).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        let case = self.undelivered(found, revocation);
        let again = if case.is_due() { now.plus(doubled) } else { case.forgotten_at(rules) };
        (case, again)
    }

    fn undelivered(self, found: Timestamp, revocation: Disowned) -> Self {
        Self { state: CaseState::Undelivered(Undelivered { found, revocation }), ..self }
    }

    /// Only what can be revoked, was signed since somebody looks, and names an order at our own base URL: another deployment may have
    /// the same name at the signer.
    fn is_to_be_disowned(&self, rules: &Rules<'_>) -> bool {
        rules.config.disown
            && self.signed.revocable
            && self.signed.index >= rules.from
            && self.signed.order.starts_with(&rules.urls.absolute("/"))
    }

    fn forgotten_at(&self, rules: &Rules<'_>) -> Timestamp {
        self.signed.not_after.plus(rules.lifetimes.retention)
    }

    fn is_past(&self, now: Timestamp) -> bool {
        self.signed.not_after < now
    }
}
