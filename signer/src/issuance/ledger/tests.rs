//! Every state of an order against everything that can come.

use super::*;
use crate::{
    fixture,
    journal::{RevokedCertificate, SettledOrder, Signed},
    queue::{Class, Party, Queue, Waits},
};
use shared::{
    base64url::Base64Url, revocation::RevocationReason, serial::SerialNumber, signing::Right, timestamp::Timestamp,
};

struct Nothing;

impl Waits for Nothing {
    fn party(&self) -> Party {
        Party::SIGNER
    }
    fn deadline(&self) -> Timestamp {
        Timestamp::from_seconds(1)
    }
    fn is_forsaken(&self, _now: Timestamp) -> bool {
        false
    }
    fn fits(&self, _issuer: usize) -> bool {
        true
    }
    fn expire(self) {}
    fn turn_away(self) {}
}

fn place() -> Place {
    Queue::<Nothing>::new(1, 1).place(Class::New)
}

fn claim(seed: u8) -> Claim {
    Claim { account: Thumbprint([seed; 32]), csr: CsrHash([seed; 32]) }
}

fn others() -> [Claim; 2] {
    [Claim { account: Thumbprint([9; 32]), ..claim(1) }, Claim { csr: CsrHash([9; 32]), ..claim(1) }]
}

fn issued() -> Arc<Issued> {
    Arc::new(Issued { chain: Vec::new(), serial: SerialNumber::from_random([1; 16]), journal_index: 1 })
}

#[tokio::test]
async fn an_order_has_one_job_and_then_one_certificate_for_ever() {
    let (_folder, [intent, signed]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    assert!(matches!(ledger.look_up("o", claim(1), None), Known::Nothing));
    let (mut ticket, running, earlier) = ledger.begin("o", claim(1), place(), None).unwrap();
    assert!(earlier.is_none() && running.outcome.borrow().is_none());
    assert!(matches!(ledger.begin("o", claim(1), place(), None), Err(Known::Running(_))));
    ticket.intended(intent);
    ticket.signed(signed, issued());
    assert_eq!(running.outcome.borrow().as_ref().unwrap().as_ref().unwrap(), &issued());
    assert!(matches!(ledger.look_up("o", claim(1), None), Known::Signed(location) if location == signed));
    assert!(matches!(ledger.begin("o", claim(1), place(), None), Err(Known::Signed(_))));
}

#[tokio::test]
async fn another_key_or_csr_gets_nothing_in_any_state() {
    let (_folder, [intent, signed]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    let nobody_else = |state: &str| {
        for other in others() {
            assert!(matches!(ledger.look_up("o", other, None), Known::Used), "{state}");
            assert!(matches!(ledger.begin("o", other, place(), None), Err(Known::Used)), "{state}");
        }
    };
    let (mut ticket, _, _) = ledger.begin("o", claim(1), place(), None).unwrap();
    nobody_else("running");
    ticket.intended(intent);
    ticket.give_up(Refusal::Busy, "");
    nobody_else("intended");
    let (ticket, _, earlier) = ledger.begin("o", claim(1), place(), None).unwrap();
    assert_eq!(earlier, Some(intent));
    ticket.signed(signed, issued());
    nobody_else("signed");
    let (ticket, _, _) = ledger.begin("p", claim(1), place(), Some(at(10))).unwrap();
    assert!(matches!(ledger.settle("p", claim(1), at(10), at(0)), Settlement::Settled));
    drop(ticket);
    for other in others() {
        assert!(matches!(ledger.settle("o", other, at(10), at(0)), Settlement::Used));
        assert!(matches!(ledger.look_up("p", other, Some(at(20))), Known::Used));
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

#[tokio::test]
async fn what_is_settled_begins_again_only_under_a_later_lease() {
    let (_folder, [intent, signed]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    let (early, late) = (Some(at(10)), Some(at(20)));
    // Nobody has ever asked; then a request that was on its way arrives.
    assert!(matches!(ledger.settle("o", claim(1), at(10), at(0)), Settlement::Settled));
    for stale in [None, Some(at(9)), early] {
        assert!(matches!(ledger.look_up("o", claim(1), stale), Known::Settled), "{stale:?}");
        assert!(matches!(ledger.begin("o", claim(1), place(), stale), Err(Known::Settled)), "{stale:?}");
    }
    // It waits in the queue: the job ends, and what it leaves is not changed by its end.
    let (waiting, running, _) = ledger.begin("o", claim(1), place(), late).unwrap();
    assert!(matches!(ledger.settle("o", claim(1), at(19), at(0)), Settlement::Later));
    assert!(matches!(ledger.settle("o", claim(1), at(20), at(0)), Settlement::Settled));
    assert!(!waiting.lease().begin(at(1)));
    waiting.give_up(Refusal::Busy, "");
    assert!(running.outcome.borrow().is_some());
    assert!(matches!(ledger.look_up("o", claim(1), late), Known::Settled));
    // It is in the token: there is nothing to settle before that has ended.
    let (mut begun, _, earlier) = ledger.begin("o", claim(1), place(), Some(at(30))).unwrap();
    assert!(earlier.is_none() && begun.lease().begin(at(25)));
    begun.intended(intent);
    assert!(matches!(ledger.settle("o", claim(1), at(30), at(0)), Settlement::Begun));
    begun.give_up(Refusal::Unavailable, "");
    assert!(matches!(ledger.settle("o", claim(1), at(30), at(0)), Settlement::Settled));
    // The intent stays the order's only one.
    let (ticket, _, earlier) = ledger.begin("o", claim(1), place(), Some(at(40))).unwrap();
    assert_eq!(earlier, Some(intent));
    ticket.signed(signed, issued());
    assert!(matches!(ledger.settle("o", claim(1), at(40), at(0)), Settlement::Signed(location) if location == signed));
}

#[tokio::test]
async fn a_running_job_has_the_latest_lease_that_was_asked_with() {
    let ledger = Arc::new(Ledger::default());
    let (ticket, _, _) = ledger.begin("o", claim(1), place(), Some(at(10))).unwrap();
    assert!(ticket.lease().is_over(at(11)));
    assert!(matches!(ledger.look_up("o", claim(1), Some(at(30))), Known::Running(_)));
    assert!(matches!(ledger.look_up("o", claim(1), Some(at(20))), Known::Running(_)));
    assert!(!ticket.lease().is_over(at(30)) && ticket.lease().is_over(at(31)));
}

#[tokio::test]
async fn a_job_that_is_given_up_or_lost_leaves_what_the_journal_says() {
    let (_folder, [intent, _]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    let (ticket, running, _) = ledger.begin("o", claim(1), place(), None).unwrap();
    ticket.give_up(Refusal::Busy, "late");
    assert_eq!(running.outcome.borrow().clone().unwrap().unwrap_err().reason, Refusal::Busy);
    assert!(matches!(ledger.look_up("o", claim(1), None), Known::Nothing));
    let (mut ticket, running, _) = ledger.begin("o", claim(1), place(), None).unwrap();
    ticket.intended(intent);
    drop(ticket);
    assert_eq!(running.outcome.borrow().clone().unwrap().unwrap_err().reason, Refusal::Unavailable);
    assert!(matches!(ledger.look_up("o", claim(1), None), Known::Intended(_)));
}

#[tokio::test]
async fn records_that_contradict_each_other_are_bad() {
    let (_folder, [first, second]) = fixture::locations().await;
    let record = |index, event| Record {
        index,
        previous: Base64Url(vec![0; 32]),
        at: Timestamp::from_seconds(0),
        policy: None,
        event,
    };
    let intent = fixture::intent(&shared::testing::TestCa::new(1), 7);
    let signed = |intent: u64, order: &str| {
        Event::Signed(Signed {
            order: order.into(),
            intent,
            serial: SerialNumber::from_random([1; 16]),
            chain: Vec::new(),
        })
    };
    let order = intent.order.clone();
    let intent = || Event::Intent(Box::new(intent.clone()));
    let revoked = |seed: u8| {
        Event::Revoked(RevokedCertificate {
            serial: SerialNumber::from_random([seed; 16]),
            reason: RevocationReason::Unspecified,
            right: Right::Account.into(),
            order: String::new(),
            key: None,
            certificate_sha256: Base64Url(Vec::new()),
            edge: String::new(),
        })
    };
    let settled = |lease: u64| {
        let Event::Intent(intent) = intent() else { panic!() };
        let (account, csr, order) = (intent.account, intent.csr, intent.order);
        Event::Settled(SettledOrder { order, account, csr, lease: Timestamp::from_seconds(lease), edge: String::new() })
    };
    let play = |events: &[Event]| {
        let ledger = Ledger::default();
        let mut locations = [first, second, second, second].into_iter();
        events.iter().try_for_each(|event| ledger.replay(&record(7, event.clone()), locations.next().unwrap()))
    };
    let bad = Err(BadRecord { index: 7, fault: Fault::Contradiction });
    assert_eq!(play(&[intent(), signed(first.index, &order)]), Ok(()));
    assert_eq!(play(&[intent(), intent()]), bad);
    assert_eq!(play(&[settled(1), intent()]), Ok(()));
    assert_eq!(play(&[intent(), settled(1), settled(2), signed(first.index, &order)]), Ok(()));
    assert_eq!(play(&[intent(), settled(1), intent()]), bad);
    assert_eq!(play(&[settled(1), signed(first.index, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), settled(1)]), bad);
    assert_eq!(play(&[signed(0, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index + 5, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, "another")]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), signed(first.index, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(1)]), Ok(()));
    assert_eq!(play(&[intent(), revoked(1)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(2)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(1), revoked(1)]), bad);
}

#[test]
fn a_settlement_is_recorded_once_and_forgotten_when_its_lease_is_long_over() {
    let ledger = Arc::new(Ledger::default());
    assert!(matches!(ledger.settle("o", claim(1), at(10), at(0)), Settlement::Settled));
    assert!(matches!(ledger.settle("o", claim(1), at(10), at(0)), Settlement::Settled), "not written yet");
    ledger.settlement_recorded("o", at(10), 7);
    assert!(matches!(ledger.settle("o", claim(1), at(10), at(0)), Settlement::Recorded(7)));
    assert!(matches!(ledger.settle("o", claim(1), at(9), at(0)), Settlement::Later));
    assert!(matches!(ledger.settle("o", claim(1), at(11), at(0)), Settlement::Settled), "a later lease is news");
    ledger.settlement_recorded("o", at(11), 8);

    let number = |ledger: &Ledger| (ledger.orders().len(), ledger.settled().len());
    for order in 0..1000 {
        let lease = at(20 + order);
        assert!(matches!(ledger.settle(&format!("{order}"), claim(1), lease, at(order)), Settlement::Settled));
    }
    let (orders, settled) = number(&ledger);
    assert!(orders <= 625 && settled <= 626, "{orders} {settled}");
    let now = at(2000 + SETTLED_SECONDS);
    assert!(matches!(ledger.settle("last", claim(1), now, now), Settlement::Settled));
    assert_eq!(number(&ledger), (1, 1));
}
