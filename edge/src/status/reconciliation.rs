//! How far reconciliation has come with one signer's journal, and what it has found: what operators see in metrics. Pure, like the
//! judgement of each certificate (see [`super::case`]).

use serde::{Deserialize, Serialize};
use shared::profile::ProfileName;

use super::case::{CaseState, Disowned, Judged};
use crate::acme::kept::Promise;

/// Upper bounds of what a wait may take of what was promised, in hundredths; the last one has none.
pub const BOUNDS: [u64; 6] = [50, 80, 100, 125, 200, 400];

/// As its object stores it. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Index of the first record of the journal that was not looked at.
    pub cursor: u64,
    /// Records that the journal had when reconciliation began: what was signed before is shown and never revoked.
    pub from: u64,
    /// What was found.
    #[serde(default)]
    pub tally: Tally,
}

/// Counts since reconciliation began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Certificates that were looked at, by profile.
    pub certificates: Vec<(ProfileName, u64)>,
    /// Those that their clients have, or can fetch.
    pub delivered: u64,
    /// Those that had expired before anybody could say.
    pub past: u64,
    /// Those that nobody has.
    pub undelivered: u64,
    /// Of these: revoked for that reason.
    pub revoked: u64,
    /// Of these: those that the signer does not revoke.
    pub refused: u64,
    /// Waits that were promised, and what became of them.
    pub promises: Promises,
}

/// First estimates of signers, and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Promises {
    /// Orders by what the wait took of what was promised: up to each of [`BOUNDS`], and above.
    pub counts: [u64; 7],
    /// The sum of these parts, in hundredths.
    pub hundredths: u64,
    /// The sum of what was promised, in seconds.
    pub promised: u64,
    /// The sum of what it took, in seconds.
    pub took: u64,
}

impl Reconciliation {
    /// Begins with a journal that has so many records.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self { cursor: 0, from: length, tally: Tally::default() }
    }
}

impl Tally {
    /// A certificate is looked at for the first time.
    pub fn seen(&mut self, profile: &ProfileName) {
        match self.certificates.iter_mut().find(|(name, _)| name == profile) {
            Some((_, count)) => add(count, 1),
            None => self.certificates.push((profile.clone(), 1)),
        }
    }

    /// A certificate was judged.
    pub fn judged(&mut self, judged: &Judged) {
        match judged {
            Judged::Delivered(promise) => {
                add(&mut self.delivered, 1);
                promise.iter().for_each(|promise| self.promises.add(*promise));
            }
            Judged::Past => add(&mut self.past, 1),
            Judged::Open(case, _) if matches!(case.state, CaseState::Undelivered(_)) => add(&mut self.undelivered, 1),
            Judged::Open(..) => {}
        }
    }

    /// A signer has answered about a certificate that nobody has.
    pub fn disowned(&mut self, revocation: Disowned) {
        match revocation {
            Disowned::Revoked { .. } => add(&mut self.revoked, 1),
            Disowned::Refused { .. } => add(&mut self.refused, 1),
            Disowned::Due { .. } | Disowned::Left => {}
        }
    }
}

impl Promises {
    fn add(&mut self, Promise { promised, took }: Promise) {
        let part = took.saturating_mul(100).checked_div(promised.max(1)).unwrap_or(0);
        let place = BOUNDS.iter().position(|bound| part <= *bound).unwrap_or(BOUNDS.len());
        self.counts.iter_mut().skip(place).take(1).for_each(|count| add(count, 1));
        add(&mut self.hundredths, part);
        add(&mut self.promised, promised);
        add(&mut self.took, took);
    }
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
