//! One signer as it is known.

use shared::{
    base64url::Base64Url,
    signing::{IssuerStatus, Status, TokenState, TokenStatus},
};

use super::{Millis, Outcome, Standing, Wanted, breaker::Breaker, config::SignerConfig};

/// Milliseconds between two questions for the status of a signer that works.
const REFRESH: Millis = 10_000;

/// After so many milliseconds a question for the status counts as lost with whoever asked it.
const LOST: Millis = 60_000;

/// A status that took so many milliseconds is asked for again.
const LATE: Millis = 1000;

/// Milliseconds for which a signer is spared that takes nothing more.
const SPARED: Millis = 5000;

/// Milliseconds of a signature where none has been measured.
const USUAL_SIGNATURE: Millis = 250;

/// Milliseconds after which a chain is verified again.
const VERIFIED: Millis = 3_600_000;

#[derive(Clone, Debug)]
pub(super) struct Member {
    config: SignerConfig,
    ability: Ability,
    /// When all that was given to it will be done.
    busy_until: Millis,
    /// Questions that are under way.
    outstanding: u64,
    round_trip: Millis,
    /// Until then it takes nothing more.
    spared_until: Millis,
    breaker: Breaker,
    /// When it was last asked for its status, and whether that has ended.
    probed: Option<(Millis, bool)>,
    /// Chains that lead to our root, and since when that is known.
    ours: (Millis, Vec<Vec<Base64Url>>),
}

/// What its last status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    /// There was none.
    Unknown,
    /// Milliseconds between two signatures of all its tokens together.
    Signs(Millis),
    /// No token of an issuer that it could use works.
    Pauses,
    /// It has no issuer under our root, or all of them are drained.
    Unfit,
}

impl Member {
    pub(super) fn new(config: &SignerConfig) -> Self {
        Self {
            config: config.clone(),
            ability: Ability::Unknown,
            busy_until: 0,
            outstanding: 0,
            round_trip: 0,
            spared_until: 0,
            breaker: Breaker::default(),
            probed: None,
            ours: (0, Vec::new()),
        }
    }

    pub(super) fn binding(&self) -> &str {
        &self.config.binding
    }

    pub(super) fn is_failing(&self) -> bool {
        self.breaker.is_open()
    }

    pub(super) fn is_preferred(&self, colo: Option<&str>) -> bool {
        self.config.colos.is_empty() || colo.is_none_or(|colo| self.config.colos.contains(colo))
    }

    pub(super) fn standing(&self, wanted: &Wanted<'_>, now: Millis) -> Standing {
        if self.config.drain || self.ability == Ability::Unfit || !self.config.serves(wanted.profile, wanted.key) {
            Standing::Unfit
        } else if self.breaker.is_open() {
            Standing::Unreachable
        } else if self.ability == Ability::Pauses || now < self.spared_until {
            Standing::Refusing
        } else if self.config.last_resort {
            Standing::LastResort
        } else {
            Standing::Usable
        }
    }

    /// Milliseconds until a certificate that is asked for now: what waits, its own signature and the way. Questions that are under
    /// way count too, so that a signer that answers nothing gets no more and more of them.
    pub(super) fn expected_wait(&self, now: Millis) -> Millis {
        let queue = self.busy_until.saturating_sub(now).max(self.outstanding.saturating_mul(self.pace()));
        queue.saturating_add(self.pace()).saturating_add(self.round_trip)
    }

    pub(super) fn weighted_wait(&self, now: Millis) -> Millis {
        self.expected_wait(now).checked_div(self.config.weight.into()).unwrap_or(Millis::MAX)
    }

    pub(super) fn chosen(&mut self, now: Millis) {
        self.busy_until = self.busy_until.max(now).saturating_add(self.pace());
    }

    pub(super) fn asked(&mut self) {
        self.outstanding = self.outstanding.saturating_add(1);
    }

    pub(super) fn answered(&mut self, outcome: Option<Outcome>, now: Millis) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match outcome {
            None => {}
            Some(Outcome::Settled) => self.breaker.succeeded(),
            Some(Outcome::Queued(seconds)) => {
                self.breaker.succeeded();
                self.busy_until = self.busy_until.max(now.saturating_add(seconds.saturating_mul(1000)));
            }
            Some(Outcome::Refused) => {
                self.breaker.succeeded();
                self.spared_until = now.saturating_add(SPARED);
            }
            Some(Outcome::Unreachable) => self.breaker.failed(now),
        }
    }

    pub(super) fn is_due(&self, now: Millis) -> bool {
        match self.probed {
            Some((since, false)) if now < since.saturating_add(LOST) => false,
            Some((since, _)) if !self.breaker.is_open() => now >= since.saturating_add(REFRESH),
            None if !self.breaker.is_open() => true,
            _ => !self.breaker.rests(now),
        }
    }

    pub(super) fn probed(&mut self, now: Millis) -> String {
        self.probed = Some((now, false));
        self.config.binding.clone()
    }

    pub(super) fn unreached(&mut self, now: Millis) {
        self.probed = self.probed.map(|(since, _)| (since, true));
        self.breaker.failed(now);
    }

    pub(super) fn learned(
        &mut self,
        status: &Status,
        is_ours: impl Fn(&[Base64Url]) -> bool,
        took: Millis,
        now: Millis,
    ) {
        // One answer that came late, because its signer hung, must not keep orders from it once it is back: it is asked again at once,
        // and the sooner answer counts.
        let is_slower = self.round_trip != 0 && took > self.round_trip;
        self.probed = self.probed.map(|(since, _)| (since, true)).filter(|_| !is_slower || took < LATE);
        self.breaker.succeeded();
        self.round_trip = if is_slower { self.round_trip.midpoint(took) } else { took };
        let (since, known) = std::mem::take(&mut self.ours);
        let fresh = now < since.saturating_add(VERIFIED);
        let known = if fresh { known } else { Vec::new() };
        let ours = |issuer: &&IssuerStatus| known.contains(&issuer.chain) || is_ours(&issuer.chain);
        let ours: Vec<_> = status.issuers.iter().filter(ours).collect();
        self.ours = (if fresh { since } else { now }, ours.iter().map(|issuer| issuer.chain.clone()).collect());
        let issuing: Vec<_> = ours.into_iter().filter(|issuer| !issuer.drained).collect();
        self.ability = match pace(issuing.iter().flat_map(|issuer| &issuer.tokens)) {
            _ if issuing.is_empty() => Ability::Unfit,
            Some(pace) => Ability::Signs(pace),
            None => Ability::Pauses,
        };
        // What waits there, whoever gave it; of what is under way nobody knows whether it waits there already. What was reckoned
        // here stays, as far as it can be true: a status that was taken while a burst was on its way draws no more of it.
        let told = now.saturating_add(status.queued.saturating_mul(self.pace()));
        let most = told.saturating_add(self.outstanding.saturating_mul(self.pace()));
        self.busy_until = self.busy_until.clamp(told, most);
    }

    fn pace(&self) -> Millis {
        match self.ability {
            Ability::Signs(pace) => pace,
            Ability::Unknown | Ability::Pauses | Ability::Unfit => USUAL_SIGNATURE,
        }
    }
}

/// Milliseconds between two signatures of all these tokens together; nothing when none works. One that has not signed yet is taken
/// for as fast as the others are on average.
fn pace<'a>(tokens: impl Iterator<Item = &'a TokenStatus>) -> Option<Millis> {
    let works = |token: &&TokenStatus| matches!(token.state, TokenState::Ready | TokenState::Starting);
    let medians: Vec<_> = tokens.filter(works).map(|token| token.median_ms.map(|median| median.max(1))).collect();
    // Signatures in 10^6 milliseconds, to stay with whole numbers.
    let rates: Vec<_> = medians.iter().flatten().filter_map(|median| 1_000_000_u64.checked_div(*median)).collect();
    let measured = u64::try_from(rates.len()).unwrap_or(u64::MAX);
    let all = u64::try_from(medians.len()).unwrap_or(u64::MAX);
    let sum = rates.into_iter().fold(0, u64::saturating_add);
    let usual = 1_000_000_u64.checked_div(USUAL_SIGNATURE).unwrap_or(1);
    let average = sum.checked_div(measured).unwrap_or(usual);
    let together = average.saturating_mul(all);
    1_000_000_u64.checked_div(together).map(|pace| pace.max(1))
}
