//! Whatever is lost or late between an order and its signers: every certificate that a journal names is delivered or undelivered in the
//! end, never both, and what a client can fetch is never called undelivered.

use std::collections::BTreeMap;

use edge::{
    acme::{
        kept::{Kept, kept},
        record::{OrderRecord, OrderState, Record as _},
        route::Resource,
        step::Event,
        storage::Key,
    },
    status::{
        case::{Case, CaseState, Judged, Rules, Whose},
        reconciliation_config::ReconciliationConfig,
    },
};
use proptest::prelude::*;
use shared::{
    serial::SerialNumber,
    signing::{IssueReply, SignedRecord},
    timestamp::Timestamp,
};

use crate::{
    desk::Desk,
    leases::{SIGNERS, World, desk, happenings},
};

/// Three journals and what was found in them.
#[derive(Default)]
struct Books {
    journals: BTreeMap<&'static str, Vec<SignedRecord>>,
    cursors: BTreeMap<&'static str, usize>,
    cases: BTreeMap<SerialNumber, (Case, Timestamp)>,
    delivered: Vec<SerialNumber>,
    undelivered: Vec<SerialNumber>,
}

impl Books {
    /// The journals name what was signed.
    fn write(&mut self, world: &World, order: &str) {
        for binding in SIGNERS {
            let journal = self.journals.entry(binding).or_default();
            if let (Some(IssueReply::Issued(issued)), true) = (&world.signers[binding].signed, journal.is_empty()) {
                let at = world.desk.now;
                journal.push(signed(order, issued.serial, at));
            }
        }
    }

    /// As the alarm of each journal's object does it.
    fn reconcile(&mut self, desk: &Desk, reachable: bool) {
        let now = desk.now;
        // So short that nothing is right because of it.
        let config = ReconciliationConfig { grace_seconds: 1, ..ReconciliationConfig::default() };
        let rules = Rules { config: &config, lifetimes: &desk.config.lifetimes, urls: &desk.urls, from: 0 };
        let mut cases: Vec<_> = Vec::new();
        for (binding, journal) in &self.journals {
            let cursor = self.cursors.entry(binding).or_default();
            cases.extend(journal[*cursor..].iter().map(|signed| Case::new(signed.clone(), now)));
            *cursor = journal.len();
        }
        let due = self.cases.iter().filter(|(_, (_, due))| *due <= now).map(|(serial, _)| *serial).collect::<Vec<_>>();
        let due = due.into_iter().filter_map(|serial| self.cases.remove(&serial)).map(|(case, _)| case);
        cases.extend(due);
        for case in cases {
            let serial = case.signed.serial;
            let said = match case.whose(&desk.urls, now) {
                Whose::Known(said) => Some(said),
                Whose::Order(account, order) => {
                    assert_eq!(account, desk.account());
                    reachable.then(|| kept(&desk.rows, order, serial, now).unwrap())
                }
            };
            if let CaseState::Undelivered(_) = case.state {
                self.cases.insert(serial, (case, Timestamp::MAX));
                continue;
            }
            match case.judged(said, &rules, now) {
                Judged::Delivered(_) => self.delivered.push(serial),
                Judged::Past => panic!("nothing lives for so short"),
                Judged::Open(case, again) => {
                    if let CaseState::Undelivered(_) = case.state {
                        self.undelivered.push(serial);
                    }
                    self.cases.insert(serial, (case, again));
                }
            }
        }
    }
}

fn signed(order: &str, serial: SerialNumber, at: Timestamp) -> SignedRecord {
    let profile = "server".parse().unwrap();
    SignedRecord { index: 0, order: order.to_owned(), serial, profile, at, not_after: at.plus(86_000), revocable: true }
}

fn serial_of(desk: &Desk, order: Resource) -> Option<SerialNumber> {
    let Resource::Order(id) = order else { panic!() };
    match OrderRecord::load(&desk.rows, Key::Order(id)).unwrap()?.state {
        OrderState::Valid(issued) => Some(issued.serial),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_signed_certificate_ends_as_delivered_or_as_undelivered(
        happenings in happenings(),
        looks in prop::collection::vec(0_u8..6, 60),
    ) {
        let (desk, order) = desk();
        let url = desk.url(order);
        let mut world = World::new(desk);
        let mut books = Books::default();
        for (happening, look) in happenings.iter().zip(&looks) {
            world.happen(happening);
            books.write(&world, &url);
            match look {
                0 | 1 => books.reconcile(&world.desk, true),
                2 => books.reconcile(&world.desk, false),
                _ => {}
            }
        }
        world.recover();
        books.write(&world, &url);
        // Longer than the grace, the longest pause, and the time for which the order could have been finalized.
        for _ in 0..4 {
            books.reconcile(&world.desk, true);
            world.desk.now = world.desk.now.plus(3601);
        }
        books.reconcile(&world.desk, true);
        let delivered = serial_of(&world.desk, order).expect("the order is valid");
        prop_assert_eq!(&books.delivered, &[delivered]);
        prop_assert!(!books.undelivered.contains(&delivered), "its client can fetch it");
        let signed: Vec<_> = books.journals.values().flatten().map(|signed| signed.serial).collect();
        prop_assert_eq!(books.delivered.len() + books.undelivered.len(), signed.len());
        prop_assert!(books.undelivered.iter().all(|serial| signed.contains(serial)));
        prop_assert_eq!(books.cases.len(), books.undelivered.len(), "nothing stays undecided");
    }
}

#[test]
fn an_order_says_of_a_certificate_what_its_client_can_fetch() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let Resource::Order(id) = order else { panic!() };
    let other = SerialNumber::from_random([9; 16]);
    let say = |desk: &Desk, serial| kept(&desk.rows, id, serial, desk.now).unwrap();
    assert_eq!(say(&desk, other), Kept::Undecided, "it is processing");
    let question = desk.question();
    let answer = desk.signer_answer(&question);
    let IssueReply::Issued(issued) = &answer else { panic!() };
    let serial = issued.serial;
    desk.event(Event::Signed(id, Ok(answer))).unwrap();
    assert_eq!((say(&desk, serial), say(&desk, other)), (Kept::Delivered(None), Kept::Otherwise));

    let (open, _) = desk.new_order(&["b.test"]);
    let Resource::Order(open) = open else { panic!() };
    let say_open = |desk: &Desk| kept(&desk.rows, open, other, desk.now).unwrap();
    assert_eq!(say_open(&desk), Kept::Undecided, "it may be finalized");
    desk.now = desk.now.plus(desk.config.lifetimes.order + 1);
    assert_eq!(say_open(&desk), Kept::Otherwise, "it has expired");

    // For as long as the certificate is valid, its order is there.
    let not_after = desk.now.plus(86_000);
    desk.live_until(not_after);
    assert_eq!(say(&desk, serial), Kept::Delivered(None));
    desk.live_until(not_after.plus(desk.config.lifetimes.retention + 1));
    assert_eq!(say(&desk, serial), Kept::Otherwise);
}

#[test]
fn the_first_estimate_of_a_signer_stays_with_the_certificate() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let Resource::Order(id) = order else { panic!() };
    let question = desk.question();
    desk.event(Event::Signed(id, Ok(IssueReply::Queued { retry_after: 10 }))).unwrap();
    desk.now = desk.now.plus(10);
    desk.event(Event::Signed(id, Ok(IssueReply::Queued { retry_after: 30 }))).unwrap();
    desk.now = desk.now.plus(5);
    let answer = desk.signer_answer(&question);
    let IssueReply::Issued(issued) = &answer else { panic!() };
    let serial = issued.serial;
    desk.event(Event::Signed(id, Ok(answer))).unwrap();
    let Kept::Delivered(Some(promise)) = kept(&desk.rows, id, serial, desk.now).unwrap() else { panic!() };
    assert_eq!((promise.promised, promise.took), (10, 15));
}
