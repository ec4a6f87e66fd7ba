//! Certificates, and who asks about them. All random, and the same in each run.

use serde::{Deserialize, Serialize};
use shared::{serial::SerialNumber, timestamp::Timestamp};

use crate::DAY;

/// Seconds that a certificate lives.
const LIFE: u64 = 30 * DAY;
/// Seconds after which it is replaced by its successor, and nobody asks about it any more: two thirds of its life.
pub(crate) const IN_USE: u64 = 20 * DAY;
/// Of so many certificates that are in use one is revoked each day.
const REVOKED: u64 = 1000;

/// When it begins: some Saturday.
const START: u64 = 1_800_000_000;

/// Who asks, at times that do not depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asking {
    /// About the one that is asked about the most; half as often about the second, a third as often about the third (Zipf's law).
    Popular {
        /// Questions that no cache of a client answers.
        a_week: u64,
    },
    /// About each as often as about any other.
    Alike {
        /// The same.
        a_week: u64,
    },
}

/// Something that happens. In the order of a second: revocations, then questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The certificate in this place is revoked.
    Revoked { second: u64, place: u32 },
    /// Somebody asks about the certificate that is in this place then.
    Asked { second: u64, place: u32 },
}

/// Places, each of which has a certificate at any time.
#[derive(Debug)]
pub(crate) struct Estate {
    /// How old the certificate of each place is at the start, in seconds.
    ages: Vec<u64>,
    events: Vec<Event>,
}

/// A certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate {
    pub(crate) serial: SerialNumber,
    pub(crate) not_after: Timestamp,
}

/// Random numbers that are the same everywhere (SplitMix64).
#[derive(Debug)]
struct Random(u64);

impl Estate {
    /// So many certificates at any time, of which one in `every` is looked at, and what happens to those in so many seconds.
    pub(crate) fn new((places, every): (u32, u32), asking: Asking, seconds: u64) -> Self {
        let mut random = Random(8);
        let ages = (0..places).map(|_| random.below(IN_USE)).collect();
        let (Asking::Popular { a_week } | Asking::Alike { a_week }) = asking;
        // The more popular one has the lower number.
        let weight = |place: u32| match asking {
            Asking::Popular { .. } => 1_000_000_000 / (u64::from(place) + 1),
            Asking::Alike { .. } => 1,
        };
        let mut sum = 0;
        let looked_at = (every / 2..places).step_by(every as usize);
        let sums: Vec<u64> = looked_at
            .map(|place| {
                sum += weight(place);
                sum
            })
            .collect();
        let all: u64 = (0..places).map(weight).sum();
        let questions = u128::from(a_week * seconds / (7 * DAY)) * u128::from(sum) / u128::from(all);
        let place = |drawn: usize| u32::try_from(drawn).unwrap() * every + every / 2;
        // So many moments, any of which is as likely as another: a Poisson process of which the number is known.
        let mut events: Vec<Event> = (0..questions)
            .map(|_| {
                let (second, drawn) = (random.below(seconds), random.below(sum));
                Event::Asked { second, place: place(sums.partition_point(|sum| *sum <= drawn)) }
            })
            .collect();
        let revocations = sums.len() as u64 * seconds / (REVOKED * DAY);
        events.extend((0..revocations).map(|_| {
            let (second, drawn) = (random.below(seconds), random.below(sums.len() as u64));
            Event::Revoked { second, place: place(drawn as usize) }
        }));
        events.sort_unstable_by_key(|event| (event.second(), *event));
        Self { ages, events }
    }

    /// What happens, in its order.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        self.events.iter().copied()
    }

    /// The certificate that is in a place at this second.
    pub(crate) fn certificate(&self, place: u32, second: u64) -> Certificate {
        let age = self.ages[place as usize];
        let generation = (age + second) / IN_USE;
        let mut bytes = [0; 16];
        bytes[4..8].copy_from_slice(&place.to_be_bytes());
        bytes[8..].copy_from_slice(&generation.to_be_bytes());
        bytes[0] = 1;
        let not_before = (START + generation * IN_USE).saturating_sub(age);
        Certificate { serial: SerialNumber::from_random(bytes), not_after: Timestamp::from_seconds(not_before + LIFE) }
    }
}

impl Event {
    pub(crate) const fn second(&self) -> u64 {
        let (Self::Revoked { second, .. } | Self::Asked { second, .. }) = self;
        *second
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below this number.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

/// This second on the clock.
pub(crate) const fn at(second: u64) -> Timestamp {
    Timestamp::from_seconds(START + second)
}
