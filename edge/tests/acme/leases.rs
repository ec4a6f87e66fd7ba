//! Orders between several signers: no two of them may sign one at the same time, whatever is lost, late or down.

use std::collections::BTreeMap;

use edge::acme::{
    challenge::ChallengeType,
    lease::Lease,
    pool::{Outcome, Pool},
    record::{OrderRecord, OrderState, Processing, Record as _},
    route::Resource,
    step::{Effect, Event, Sign},
    storage::{Key, Rows as _},
};
use proptest::prelude::*;
use serde_json::json;
use shared::{
    signing::{IssueReply, Refusal, Refused},
    timestamp::Timestamp,
};

use crate::desk::{Desk, config_object};

pub(crate) const SIGNERS: [&str; 3] = ["SIGNER_1", "SIGNER_2", "SIGNER_3"];

/// What a signer does about one order: as docs/operations.md says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signer {
    pub(crate) is_down: bool,
    pub(crate) signed: Option<IssueReply>,
    /// When its last lease ends.
    lease: Option<Timestamp>,
    settled: Option<Timestamp>,
}

impl Signer {
    fn answer(&mut self, sign: &Sign, desk: &Desk) -> IssueReply {
        let lease = sign.request.lease.expect("there are several signers");
        let refused = IssueReply::Refused(Refused {
            reason: Refusal::Busy,
            detail: "its lease is over".into(),
            retry_after: None,
        });
        if let Some(signed) = &self.signed {
            return signed.clone();
        }
        if sign.settle {
            self.settled = self.settled.max(Some(lease));
            return IssueReply::Settled { journal_index: 3 };
        }
        if self.settled.is_some_and(|settled| lease <= settled) || lease < desk.now {
            return refused;
        }
        self.lease = self.lease.max(Some(lease));
        self.signed.insert(desk.signer_answer(sign)).clone()
    }

    /// Whether it could sign the order now, if it was asked again as it was asked.
    fn may_sign(&self, now: Timestamp) -> bool {
        let settled = |lease| self.settled.is_some_and(|settled| lease <= settled);
        self.lease.is_some_and(|lease| lease >= now && !settled(lease))
    }
}

pub(crate) fn desk() -> (Desk, Resource) {
    let mut desk = Desk::new();
    let mut object = config_object(&desk.ca);
    object["signers"] = SIGNERS.map(|binding| json!({"binding": binding, "url": "https://signer.test"})).into();
    desk.config = serde_json::from_value::<edge::acme::config::ConfigObject>(object).unwrap().try_into().unwrap();
    desk.pool = Some(Pool::new(&desk.config.signers));
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    desk.prove(&view, ChallengeType::Http01);
    desk.finalize(order, &["a.test"]).unwrap();
    (desk, order)
}

fn processing(desk: &Desk, order: Resource) -> Option<Processing> {
    let Resource::Order(id) = order else { panic!() };
    match OrderRecord::load(&desk.rows, Key::Order(id)).unwrap().unwrap().state {
        OrderState::Processing(processing) => Some(processing),
        _ => None,
    }
}

fn lease(desk: &Desk, order: Resource) -> (String, Lease) {
    let processing = processing(desk, order).unwrap();
    (processing.signer, processing.lease.unwrap())
}

fn refused(reason: Refusal) -> IssueReply {
    IssueReply::Refused(Refused { reason, detail: String::new(), retry_after: None })
}

/// Tells the pool and the order what came of a question.
fn tell(desk: &mut Desk, sign: &Sign, answer: Result<IssueReply, String>) {
    let outcome = Outcome::of(&answer);
    let now = desk.now.seconds() * 1000;
    let pool = desk.pool.as_mut().unwrap();
    pool.asked(&sign.signer);
    pool.answered(&sign.signer, Some(outcome), now);
    desk.event(Event::Signed(sign.order, answer)).unwrap();
}

/// When a signer that has signed at the end of its lease, and was out of reach for half of one, has been heard of.
fn heard_of(desk: &Desk, until: Timestamp) -> Timestamp {
    let lifetimes = &desk.config.lifetimes;
    until.plus(lifetimes.lease / 2).plus(lifetimes.clock_skew)
}

/// Lets time pass until the order's alarm rings.
fn ring(desk: &mut Desk) {
    let due = desk.rows.next_due().unwrap().unwrap();
    desk.now = desk.now.max(due);
    for key in desk.rows.due(desk.now, 10).unwrap() {
        desk.event(Event::Due(key)).unwrap();
    }
}

#[test]
fn a_refusal_is_settled_with_its_signer_before_another_is_asked() {
    let (mut desk, order) = desk();
    let first = desk.question();
    assert!(!first.settle && first.request.lease.is_some());
    tell(&mut desk, &first, Ok(refused(Refusal::Unavailable)));
    let settle = desk.question();
    assert!(settle.settle && settle.signer == first.signer && settle.request.lease > first.request.lease);
    assert_eq!(
        lease(&desk, order),
        (first.signer.clone(), Lease { until: settle.request.lease.unwrap(), settling: true })
    );
    tell(&mut desk, &settle, Ok(IssueReply::Settled { journal_index: 1 }));
    let second = desk.question();
    assert!(!second.settle && second.signer != first.signer && second.request.lease > settle.request.lease);
    let answer = desk.signer_answer(&second);
    tell(&mut desk, &second, Ok(answer));
    assert_eq!(desk.read(order)["status"], "valid");
}

#[test]
fn a_certificate_in_place_of_a_settlement_is_the_orders() {
    let (mut desk, order) = desk();
    let first = desk.question();
    tell(&mut desk, &first, Ok(refused(Refusal::Busy)));
    let settle = desk.question();
    let answer = desk.signer_answer(&settle);
    tell(&mut desk, &settle, Ok(answer));
    assert_eq!(desk.read(order)["status"], "valid");
    assert!(desk.effects.is_empty());
}

#[test]
fn a_signer_that_does_not_answer_keeps_the_order_until_its_lease_is_over() {
    let (mut desk, order) = desk();
    let first = desk.question();
    let until = first.request.lease.unwrap();
    tell(&mut desk, &first, Err("no answer".into()));
    assert!(desk.effects.is_empty(), "not at once: it may be starting anew");
    let mut settles = 0;
    let moved = loop {
        ring(&mut desk);
        let question = desk.question();
        if question.signer != first.signer {
            break question;
        }
        assert!(question.settle && question.request.lease == Some(until), "no answer makes no lease longer");
        settles += 1;
        let before = desk.now;
        tell(&mut desk, &question, Err("no answer".into()));
        if let Some(Effect::Sign(sign)) = desk.effects.last() {
            assert!(before > heard_of(&desk, until), "{} has it too early", sign.signer);
            break desk.question();
        }
    };
    assert!((2..8).contains(&settles), "it was asked {settles} times");
    assert!(!moved.settle && moved.signer != first.signer);
    assert_eq!(lease(&desk, order).0, moved.signer);
}

#[test]
fn a_queue_makes_the_lease_longer_and_says_when_to_ask_again() {
    let (mut desk, order) = desk();
    let first = desk.question();
    tell(&mut desk, &first, Ok(IssueReply::Queued { retry_after: 3 }));
    assert!(desk.effects.is_empty(), "others are hardly faster");
    assert!(lease(&desk, order).1.until >= desk.now.plus(3 + desk.config.lifetimes.lease));
    let route = edge::acme::route::Route::Of(desk.account(), order);
    assert_eq!(desk.get(route).unwrap().retry_after, Some(3));
    ring(&mut desk);
    let again = desk.question();
    assert!(again.request.lease > first.request.lease && again.signer == first.signer);
    // It is far slower than it was expected to be.
    tell(&mut desk, &again, Ok(IssueReply::Queued { retry_after: 600 }));
    assert!(desk.question().settle);
}

#[test]
fn one_signer_has_its_orders_for_good() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let first = desk.question();
    assert_eq!((first.request.lease, first.settle), (None, false));
    desk.event(Event::Signed(first.order, Err("no answer".into()))).unwrap();
    assert!(desk.effects.is_empty());
    desk.now = desk.now.plus(10_000);
    ring(&mut desk);
    let again = desk.question();
    assert_eq!((again.request.lease, again.settle, &again.signer), (None, false, &first.signer));
    assert_eq!(desk.read(order)["status"], "processing");
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The question arrives and the answer does.
    Answered,
    /// The question is lost; the answer is; the question is late, by so many further happenings.
    LostBefore,
    LostAfter,
    Late,
    Refused,
    Queued(u64),
    Wait(u64),
    Alarm,
    /// The object starts anew: what was under way is lost, and whether it had arrived is open.
    Restart(bool),
    Down(usize, bool),
}

pub(crate) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        1 => Just(Happening::Answered),
        3 => Just(Happening::LostBefore),
        3 => Just(Happening::LostAfter),
        2 => Just(Happening::Late),
        3 => Just(Happening::Refused),
        2 => prop_oneof![Just(1_u64), Just(30), Just(500)].prop_map(Happening::Queued),
        4 => prop_oneof![Just(1_u64), Just(10), Just(26), Just(100)].prop_map(Happening::Wait),
        6 => Just(Happening::Alarm),
        1 => any::<bool>().prop_map(Happening::Restart),
        3 => (0_usize..3, any::<bool>()).prop_map(|(signer, down)| Happening::Down(signer, down)),
    ];
    prop::collection::vec(one, 1..60)
}

pub(crate) struct World {
    pub(crate) desk: Desk,
    pub(crate) signers: BTreeMap<String, Signer>,
    late: Vec<Sign>,
    /// Orders that went on although their signer could not be asked.
    unsettled: usize,
}

impl World {
    /// Nothing has been asked.
    pub(crate) fn new(desk: Desk) -> Self {
        let signers = SIGNERS.map(|binding| (binding.to_owned(), Signer::default())).into();
        Self { desk, signers, late: Vec::new(), unsettled: 0 }
    }

    fn reaches(&mut self, sign: &Sign) -> Result<IssueReply, String> {
        let signer = self.signers.get_mut(&sign.signer).unwrap();
        if signer.is_down { Err("down".into()) } else { Ok(signer.answer(sign, &self.desk)) }
    }

    pub(crate) fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Wait(seconds) => self.desk.now = self.desk.now.plus(*seconds),
            Happening::Down(signer, down) => self.signers.get_mut(SIGNERS[*signer]).unwrap().is_down = *down,
            // The platform's alarm leaves an order alone whose question is under way.
            Happening::Alarm if self.desk.effects.is_empty() => {
                for key in self.desk.rows.due(self.desk.now, 10).unwrap() {
                    self.desk.event(Event::Due(key)).unwrap();
                }
            }
            Happening::Alarm => {}
            Happening::Restart(arrived) => {
                if let Some(Effect::Sign(sign)) = self.desk.effects.pop().filter(|_| *arrived) {
                    let _ = self.reaches(&sign);
                }
                self.desk.restart();
                self.desk.pool = Some(Pool::new(&self.desk.config.signers));
            }
            _ => self.exchange(happening),
        }
        if self.late.len() > 2 {
            let late = self.late.remove(0);
            let _ = self.reaches(&late);
        }
    }

    /// Once everything works again orders end, without anybody's help.
    pub(crate) fn recover(&mut self) {
        self.signers.values_mut().for_each(|signer| signer.is_down = false);
        for _ in 0..20 {
            while !self.desk.effects.is_empty() {
                self.happen(&Happening::Answered);
            }
            self.happen(&Happening::Wait(40));
            let now = self.desk.now.seconds() * 1000;
            let pool = self.desk.pool.as_mut().unwrap();
            for binding in pool.probe(now) {
                pool.asked(&binding);
                pool.answered(&binding, Some(Outcome::Settled), now);
            }
            self.happen(&Happening::Alarm);
        }
    }

    fn exchange(&mut self, happening: &Happening) {
        let Some(Effect::Sign(sign)) = self.desk.effects.pop() else { return };
        let no_answer = || Err("no answer".to_owned());
        let down = self.signers[&sign.signer].is_down;
        let answer = match happening {
            _ if down => no_answer(),
            Happening::Answered => self.reaches(&sign),
            Happening::LostBefore => no_answer(),
            Happening::Late => {
                self.late.push(Sign::clone(&sign));
                no_answer()
            }
            Happening::LostAfter => self.reaches(&sign).and(no_answer()),
            // What is signed is given; nothing else is refused or waits.
            _ if self.signers[&sign.signer].signed.is_some() => self.reaches(&sign),
            Happening::Queued(seconds) => {
                let signer = self.signers.get_mut(&sign.signer).unwrap();
                if !sign.settle {
                    signer.lease = signer.lease.max(sign.request.lease);
                }
                Ok(IssueReply::Queued { retry_after: *seconds })
            }
            _ => Ok(refused(Refusal::Unavailable)),
        };
        let lost = answer.is_err();
        tell(&mut self.desk, &sign, answer);
        if let Some(Effect::Sign(next)) = self.desk.effects.last()
            && next.signer != sign.signer
            && lost
        {
            self.unsettled += 1;
            let over = heard_of(&self.desk, sign.request.lease.unwrap());
            assert!(self.desk.now > over, "another signer was asked before this one could be heard of");
        }
    }

    fn signed(&self) -> usize {
        self.signers.values().filter(|signer| signer.signed.is_some()).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_two_signers_may_sign_an_order_at_the_same_time(happenings in happenings()) {
        let (desk, order) = desk();
        let mut world = World::new(desk);
        for happening in &happenings {
            world.happen(happening);
            let now = world.desk.now;
            let may = world.signers.values().filter(|signer| signer.may_sign(now)).count();
            prop_assert!(may <= 1, "{} signers may sign", may);
            prop_assert!(world.signed() <= 1 + world.unsettled, "a second certificate without need");
        }
        world.recover();
        prop_assert_eq!(&world.desk.read(order)["status"], "valid");
        prop_assert!(world.signed() <= 1 + world.unsettled);
    }
}
