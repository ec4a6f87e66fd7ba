//! Every state of an order against everything that can come.

use super::*;
use crate::{
    fixture,
    journal::{RevokedCertificate, Signed},
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
    assert!(matches!(ledger.look_up("o", claim(1)), Known::Nothing));
    let (mut ticket, running, earlier) = ledger.begin("o", claim(1), place()).unwrap();
    assert!(earlier.is_none() && running.outcome.borrow().is_none());
    assert!(matches!(ledger.begin("o", claim(1), place()), Err(Known::Running(_))));
    ticket.intended(intent);
    ticket.signed(signed, issued());
    assert_eq!(running.outcome.borrow().as_ref().unwrap().as_ref().unwrap(), &issued());
    assert!(matches!(ledger.look_up("o", claim(1)), Known::Signed(location) if location == signed));
    assert!(matches!(ledger.begin("o", claim(1), place()), Err(Known::Signed(_))));
}

#[tokio::test]
async fn another_key_or_csr_gets_nothing_in_any_state() {
    let (_folder, [intent, signed]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    let nobody_else = |state: &str| {
        for other in others() {
            assert!(matches!(ledger.look_up("o", other), Known::Used), "{state}");
            assert!(matches!(ledger.begin("o", other, place()), Err(Known::Used)), "{state}");
        }
    };
    let (mut ticket, _, _) = ledger.begin("o", claim(1), place()).unwrap();
    nobody_else("running");
    ticket.intended(intent);
    ticket.give_up(Refusal::Busy, "");
    nobody_else("intended");
    let (ticket, _, earlier) = ledger.begin("o", claim(1), place()).unwrap();
    assert_eq!(earlier, Some(intent));
    ticket.signed(signed, issued());
    nobody_else("signed");
}

#[tokio::test]
async fn a_job_that_is_given_up_or_lost_leaves_what_the_journal_says() {
    let (_folder, [intent, _]) = fixture::locations().await;
    let ledger = Arc::new(Ledger::default());
    let (ticket, running, _) = ledger.begin("o", claim(1), place()).unwrap();
    ticket.give_up(Refusal::Busy, "late");
    assert_eq!(running.outcome.borrow().clone().unwrap().unwrap_err().reason, Refusal::Busy);
    assert!(matches!(ledger.look_up("o", claim(1)), Known::Nothing));
    let (mut ticket, running, _) = ledger.begin("o", claim(1), place()).unwrap();
    ticket.intended(intent);
    drop(ticket);
    assert_eq!(running.outcome.borrow().clone().unwrap().unwrap_err().reason, Refusal::Unavailable);
    assert!(matches!(ledger.look_up("o", claim(1)), Known::Intended));
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
            right: Right::Account,
            order: String::new(),
            key: Base64Url(Vec::new()),
            certificate_sha256: Base64Url(Vec::new()),
            edge: String::new(),
        })
    };
    let play = |events: &[Event]| {
        let ledger = Ledger::default();
        let mut locations = [first, second, second, second].into_iter();
        events.iter().try_for_each(|event| ledger.replay(&record(7, event.clone()), locations.next().unwrap()))
    };
    let bad = Err(BadRecord { index: 7, fault: Fault::Contradiction });
    assert_eq!(play(&[intent(), signed(first.index, &order)]), Ok(()));
    assert_eq!(play(&[intent(), intent()]), bad);
    assert_eq!(play(&[signed(0, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index + 5, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, "another")]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), signed(first.index, &order)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(1)]), Ok(()));
    assert_eq!(play(&[intent(), revoked(1)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(2)]), bad);
    assert_eq!(play(&[intent(), signed(first.index, &order), revoked(1), revoked(1)]), bad);
}
