//! The signers of a deployment as one isolate knows them, and which of them an order goes to: the one that has its certificate ready
//! first. Pure: whoever asks signers says what became of it, and when.
//!
//! A signer that fails twice in a row is left alone, for longer each time, and takes orders again once it has answered a probe. What
//! is not known of a signer yet does not keep orders from it: every certificate is checked when it arrives.

mod breaker;
pub mod config;
mod member;

use shared::{
    base64url::Base64Url,
    profile::ProfileName,
    public_key::KeyKind,
    signing::{IssueReply, Status},
};

use self::{config::SignerConfig, member::Member};

/// Milliseconds since 1970.
pub type Millis = u64;

/// So much sooner, in milliseconds, another signer must have the certificate ready to be taken in place of the last one.
const HYSTERESIS: Millis = 100;

/// So much later, in milliseconds, a signer may have the certificate ready that is preferred at this place.
const PREFERENCE: Millis = 1000;

/// What a change of the signer must win, in milliseconds.
const WORTH: Millis = 5000;

/// All signers of a deployment, in the order of its configuration.
#[derive(Clone, Debug)]
pub struct Pool {
    members: Vec<Member>,
    /// The binding that was chosen last.
    last: Option<String>,
}

/// The pool at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Outlook<'a> {
    /// What is known.
    pub pool: &'a Pool,
    /// The platform's place where we are, if it is known (IATA code).
    pub colo: Option<&'a str>,
    /// The time.
    pub now: Millis,
}

/// What a signer is chosen for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The certificate's profile.
    pub profile: &'a ProfileName,
    /// The kind of its key.
    pub key: KeyKind,
    /// Decides between signers that are the same.
    pub lot: usize,
    /// A signer that is only taken when no other can be used.
    pub not: Option<&'a str>,
}

/// What became of a question to a signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A certificate, or that there is and will be none.
    Settled,
    /// It waits, for so many seconds yet.
    Queued(u64),
    /// The signer takes nothing more at the moment.
    Refused,
    /// No answer.
    Unreachable,
}

impl Outcome {
    /// What an answer about an order means.
    #[must_use]
    pub const fn of<E>(answer: &Result<IssueReply, E>) -> Self {
        match answer {
            Ok(IssueReply::Queued { retry_after }) => Self::Queued(*retry_after),
            Ok(IssueReply::Refused(refused)) if refused.reason.is_temporary() => Self::Refused,
            Ok(_) => Self::Settled,
            Err(_) => Self::Unreachable,
        }
    }
}

/// How usable a signer is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It can be taken.
    Usable,
    /// It can be taken when no other can.
    LastResort,
    /// It takes nothing at the moment, or has no token that works.
    Refusing,
    /// It does not answer.
    Unreachable,
    /// It is not meant to: drained, no issuer under our root, or not for this profile or key.
    Unfit,
}

impl<'a> Outlook<'a> {
    /// The signer for an order: among those of the best [`Standing`] the one with the least expected wait, the last one again unless
    /// another is clearly sooner. Nothing only when there is none at all.
    #[must_use]
    pub fn choose(&self, wanted: &Wanted<'_>) -> Option<&'a str> {
        let members = &self.pool.members;
        let rank = |member: &Member| {
            let standing = member.standing(wanted, self.now);
            (standing < Standing::Unfit && wanted.not == Some(member.binding()), standing)
        };
        let best = members.iter().map(rank).min()?;
        let wait = |member: &Member| {
            let away = if member.is_preferred(self.colo) { 0 } else { PREFERENCE };
            let stays = if self.pool.last.as_deref() == Some(member.binding()) { 0 } else { HYSTERESIS };
            member.weighted_wait(self.now).saturating_add(away).saturating_add(stays)
        };
        let first = wanted.lot.checked_rem(members.len()).unwrap_or_default();
        let from_lot = members.iter().cycle().skip(first).take(members.len());
        from_lot.filter(|member| rank(member) == best).min_by_key(|member| wait(member)).map(Member::binding)
    }

    /// Another signer than `wanted.not` that can be used now, where that one has the certificate ready in so many milliseconds or
    /// not at all: what is won must be more than half of that, and worth the way.
    #[must_use]
    pub fn another(&self, wanted: &Wanted<'_>, wait: Option<Millis>) -> Option<&'a str> {
        let other = self.choose(wanted).filter(|other| Some(*other) != wanted.not)?;
        let member = self.pool.members.iter().find(|member| member.binding() == other)?;
        let takes = member.expected_wait(self.now).saturating_mul(2).saturating_add(WORTH);
        let usable = member.standing(wanted, self.now) <= Standing::LastResort;
        (usable && wait.is_none_or(|wait| takes < wait)).then_some(other)
    }

    /// False when this signer has not answered several times in a row.
    #[must_use]
    pub fn answers(&self, binding: &str) -> bool {
        !self.pool.members.iter().any(|member| member.binding() == binding && member.is_failing())
    }

    /// Milliseconds until this signer has a certificate ready that it is asked for now.
    #[must_use]
    pub fn expected_wait(&self, binding: &str) -> Millis {
        let member = self.pool.members.iter().find(|member| member.binding() == binding);
        member.map_or(0, |member| member.expected_wait(self.now))
    }
}

impl Pool {
    /// Nothing is known of these signers yet.
    #[must_use]
    pub fn new(signers: &[SignerConfig]) -> Self {
        Self { members: signers.iter().map(Member::new).collect(), last: None }
    }

    /// An order was given to this signer.
    pub fn chosen(&mut self, binding: &str, now: Millis) {
        self.last = Some(binding.to_owned());
        self.with(binding, |member| member.chosen(now));
    }

    /// A question about an order begins.
    pub fn asked(&mut self, binding: &str) {
        self.with(binding, Member::asked);
    }

    /// A question about an order has ended; nothing when nobody waits for its outcome any more.
    pub fn answered(&mut self, binding: &str, outcome: Option<Outcome>, now: Millis) {
        self.with(binding, |member| member.answered(outcome, now));
    }

    /// The signers that should be asked for their status now: each now and then, those that failed when their time has come. They
    /// are noted as being asked.
    pub fn probe(&mut self, now: Millis) -> Vec<String> {
        let due = self.members.iter_mut().filter(|member| member.is_due(now));
        due.map(|member| member.probed(now)).collect()
    }

    /// A signer told its status, asked so many milliseconds ago. `is_ours` says of the chain of an issuer (DER, from the issuer up)
    /// whether it leads to our root.
    pub fn learned(
        &mut self,
        binding: &str,
        status: &Status,
        is_ours: impl Fn(&[Base64Url]) -> bool,
        took: Millis,
        now: Millis,
    ) {
        self.with(binding, |member| member.learned(status, is_ours, took, now));
    }

    /// A signer did not tell its status.
    pub fn unreached(&mut self, binding: &str, now: Millis) {
        self.with(binding, |member| member.unreached(now));
    }

    fn with(&mut self, binding: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.iter_mut().find(|member| member.binding() == binding) {
            change(member);
        }
    }
}
