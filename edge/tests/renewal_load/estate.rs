//! An estate of clients, the status objects' choice of windows, and tokens that sign one after another.

use std::{cmp::Reverse, collections::BinaryHeap};

use edge::status::{
    renewal_config::{PullForward, RenewalConfig},
    renewal_window::{Allowed, SLOT, Window, least_loaded, retry_after, slot_of},
};
use serde_json::json;
use shared::{serial::SerialNumber, timestamp::Timestamp};

pub(crate) const CERTIFICATES: usize = 50_000;
/// Each an issuer of its own, with a signature in 250 ms.
pub(crate) const TOKENS: usize = 20;
/// Microseconds between two signatures of all tokens together.
const PACE: u64 = 250_000 / 20;
pub(crate) const WEEK: u64 = 7 * 86_400;
const LIFE: u64 = 86_400;
/// Seconds since the beginning at which clients lose their certificates, all or every second one, within a minute.
pub(crate) const RESTARTS: [(u64, usize); 2] = [(0, 1), (3 * 86_400, 2)];
/// Seconds since the beginning when an issuer is drained.
pub(crate) const DRAIN_AT: u64 = 5 * 86_400;
/// Certificates a second that the others take over.
pub(crate) const DRAIN_RATE: u32 = 2;
const DRAINED: usize = 7;
/// Slots that are looked at: those of the week and of the windows that begin in it.
const SLOTS: usize = (WEEK + 2 * LIFE) as usize / SLOT as usize;

/// How clients know when to renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    TwoThirds,
    RenewalInformation,
}

/// What happened.
#[derive(Debug)]
pub(crate) struct Week {
    /// Signatures in each slot.
    pub(crate) signatures: Vec<u32>,
    /// Certificates that ended before their successors were there.
    pub(crate) expired: usize,
    /// When certificates were renewed because their windows had been pulled forward.
    pub(crate) pulled: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Certificate {
    serial: SerialNumber,
    issuer: usize,
    from: Timestamp,
    window: Window,
}

pub(crate) struct Estate {
    course: Course,
    config: RenewalConfig,
    pull: PullForward,
    begin: Timestamp,
    clients: Vec<Option<Certificate>>,
    /// When a client does something next: time, client, and the serial number that it then has.
    events: BinaryHeap<Reverse<(u64, usize, Option<SerialNumber>)>>,
    /// Certificates by status object and slot, and those of the drained issuer.
    loads: Vec<u64>,
    drained: Vec<u64>,
    /// Microseconds since the beginning at which the tokens have done what they were asked.
    free: u64,
    serials: u64,
    week: Week,
}

/// A number that looks random, always the same for the same one (splitmix64).
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Estate {
    pub(crate) fn new(course: Course) -> Self {
        let begin: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let pull = json!({"issuer": "01", "since": begin.plus(DRAIN_AT), "rate": {"count": DRAIN_RATE, "seconds": 1}});
        let mut events = BinaryHeap::new();
        for (at, every) in RESTARTS {
            for client in (0..CERTIFICATES).step_by(every) {
                events.push(Reverse((at + mix(client as u64) % 60, client, None)));
            }
        }
        Self {
            course,
            config: RenewalConfig::default(),
            pull: serde_json::from_value(pull).unwrap(),
            begin,
            clients: vec![None; CERTIFICATES],
            events,
            loads: vec![0; 128 * SLOTS],
            drained: vec![0; 128 * SLOTS],
            free: 0,
            serials: 0,
            week: Week { signatures: vec![0; (WEEK / SLOT) as usize], expired: 0, pulled: Vec::new() },
        }
    }

    pub(crate) fn live(mut self) -> Week {
        while let Some(Reverse((at, client, has))) = self.events.pop()
            && at < WEEK
        {
            match self.clients[client] {
                // It has another certificate by now, or asks again too soon.
                Some(now) if has.is_some_and(|serial| serial != now.serial) => {}
                Some(now) if has.is_some() => self.look(client, now, at),
                _ => self.renew(client, at),
            }
        }
        self.week
    }

    /// A client asks when to renew, or has waited until then.
    fn look(&mut self, client: usize, certificate: Certificate, at: u64) {
        let moment = self.moment(&certificate, at);
        if moment <= at {
            if certificate.issuer == DRAINED && self.begin.plus(at) < certificate.window.start {
                self.week.pulled.push(at);
            }
            return self.renew(client, at);
        }
        // Whose window is not going to be moved would hear the same each time.
        let again = match self.course {
            Course::RenewalInformation if certificate.issuer == DRAINED => {
                at + retry_after(LIFE, certificate.serial, &self.config)
            }
            _ => u64::MAX,
        };
        self.events.push(Reverse((moment.min(again), client, Some(certificate.serial))));
    }

    /// When the client renews, as it knows now.
    fn moment(&self, certificate: &Certificate, at: u64) -> u64 {
        if self.course == Course::TwoThirds {
            return certificate.from.since(self.begin) + LIFE * 2 / 3;
        }
        let mut window = certificate.window;
        if certificate.issuer == DRAINED && at >= DRAIN_AT {
            window = window.pulled(self.rank(certificate), certificate.serial, &self.pull);
        }
        let bits = u128::from_be_bytes(*certificate.serial.as_bytes());
        window.start.since(self.begin) + (mix(bits as u64) % window.end.since(window.start))
    }

    /// The tokens sign, and the status object places.
    fn renew(&mut self, client: usize, at: u64) {
        self.free = self.free.max(at * 1_000_000) + PACE;
        let done = self.free / 1_000_000;
        if let Some(count) = self.week.signatures.get_mut((done / SLOT) as usize) {
            *count += 1;
        }
        self.week.expired +=
            usize::from(self.clients[client].is_some_and(|old| self.begin.plus(done) > old.from.plus(LIFE)));
        self.serials += 1;
        let (high, low) = (mix(self.serials * 2), mix(self.serials * 2 + 1));
        let serial = SerialNumber::from_random((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        let mut issuer = (low >> 32) as usize % TOKENS;
        if issuer == DRAINED && at >= DRAIN_AT {
            issuer = (DRAINED + 1) % TOKENS;
        }
        let from = self.begin.plus(done);
        let slots = Allowed::of(from, from.plus(LIFE - 1), &self.config).slots();
        let shard = usize::from(serial.as_bytes()[0]);
        let slot = least_loaded(slots, serial, |slot| self.loads[self.index(shard, slot)]).unwrap();
        let index = self.index(shard, slot);
        self.loads[index] += 1;
        self.drained[index] += u64::from(issuer == DRAINED);
        let certificate = Certificate { serial, issuer, from, window: Window::slot(slot) };
        self.clients[client] = Some(certificate);
        self.events.push(Reverse((done, client, Some(serial))));
    }

    fn index(&self, shard: usize, slot: u64) -> usize {
        shard * SLOTS + (slot - slot_of(self.begin)) as usize
    }

    /// As the status object counts it.
    fn rank(&self, certificate: &Certificate) -> u64 {
        let shard = usize::from(certificate.serial.as_bytes()[0]);
        let own = slot_of(certificate.window.start);
        (slot_of(self.pull.since)..own).map(|slot| self.drained[self.index(shard, slot)]).sum()
    }
}
