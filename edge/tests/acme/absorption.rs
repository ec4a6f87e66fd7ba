//! Who asks again for what it has just got is given that, and no signer is asked.

use edge::acme::{
    challenge::ChallengeType,
    problem::Problem,
    route::{Resource, Route},
    step::{Body, Effect, Event},
};
use serde_json::{Value, json};
use shared::{chain::Leaf, testing::TestKey, timestamp::Timestamp};

use crate::desk::{Desk, config_object, json_of};

/// A ready order of `a.test` with these members beside its identifiers.
fn ready(desk: &mut Desk, members: Value) -> Resource {
    let mut payload = members;
    payload["identifiers"] = json!([{"type": "dns", "value": "a.test"}]);
    let reply = desk.post(Route::NewOrder, &payload).unwrap();
    let order = desk.resource(&json!(reply.location.clone().unwrap()));
    desk.prove(&json_of(&reply), ChallengeType::Dns01);
    order
}

/// True when the order was valid at once; else a signer is asked, and answers.
fn absorbed(desk: &mut Desk, order: Resource) -> bool {
    let reply = desk.finalize(order, &["a.test"]).unwrap();
    match desk.effects.pop() {
        None => {
            assert_eq!(json_of(&reply)["status"], "valid");
            true
        }
        Some(Effect::Sign(question)) => {
            let answer = desk.signer_answer(&question);
            desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
            false
        }
        other => panic!("{other:?}"),
    }
}

fn chain(desk: &mut Desk, order: Resource) -> String {
    let url = desk.read(order)["certificate"].clone();
    let resource = desk.resource(&url);
    match desk.get(Route::Of(desk.account(), resource)).unwrap().body {
        Body::PemChain(pem) => pem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_again_is_the_same_certificate() {
    let mut desk = Desk::new();
    desk.new_account();
    let first = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, first));
    for _ in 0..3 {
        let again = ready(&mut desk, json!({}));
        assert!(absorbed(&mut desk, again));
        assert_eq!(chain(&mut desk, again), chain(&mut desk, first));
    }
    assert_eq!(desk.placed.len(), 1, "one certificate");
    assert!(matches!(desk.finalize(first, &["a.test"]), Err(Problem::OrderNotReady(_))), "each order once, as always");
}

#[test]
fn a_third_of_the_life_later_it_is_a_new_one_which_the_next_is_given() {
    let (mut desk, _) = Desk::with_a_certificate(&["a.test"]);
    let issued = desk.now;
    desk.now = issued.plus(86_060 / 3 - 61);
    let order = ready(&mut desk, json!({}));
    assert!(absorbed(&mut desk, order));
    desk.now = issued.plus(86_060 / 3 - 60 + 1);
    let order = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, order));
    let next = ready(&mut desk, json!({}));
    assert!(absorbed(&mut desk, next));
    assert_eq!(chain(&mut desk, next), chain(&mut desk, order));
}

#[test]
fn what_asks_for_anything_else_is_issued_anew() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let at = |seconds: u64| -> Timestamp { Timestamp::from_seconds(seconds) };
    let soon = at(Leaf::from_der(&certificate).unwrap().not_after.seconds() - 1000);
    let issuer = shared::base64url::encode(desk.ca.chain.issuer().key_identifier());
    let serial = Leaf::from_der(&certificate).unwrap().serial.to_x509().unwrap();
    let replaces = format!("{issuer}.{}", shared::base64url::encode(serial.as_bytes()));
    for members in [
        json!({"notAfter": soon}),
        json!({"notBefore": desk.now.plus(60)}),
        json!({"profile": "client"}),
        json!({"replaces": replaces}),
    ] {
        let order = ready(&mut desk, members.clone());
        desk.finalize(order, &["a.test"]).unwrap();
        assert!(matches!(desk.effects.pop(), Some(Effect::Sign(_))), "{members}");
    }
    desk.subject_key = TestKey::new(9);
    let order = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, order), "another key");
}

#[test]
fn other_names_and_other_accounts_have_certificates_of_their_own() {
    let (mut desk, _) = Desk::with_a_certificate(&["a.test", "b.test"]);
    let order = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, order), "fewer names");
    desk.account_key = TestKey::new(7);
    desk.rows = edge::acme::storage::Memory::default();
    desk.new_account();
    let order = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, order));
}

#[test]
fn a_certificate_that_there_is_a_reason_to_renew_is_not_given_again() {
    let (mut desk, _) = Desk::with_a_certificate(&["a.test"]);
    desk.early = false;
    let order = ready(&mut desk, json!({}));
    assert!(!absorbed(&mut desk, order));
}

#[test]
fn a_profile_can_do_without() {
    let mut desk = Desk::new();
    let mut object = config_object(&desk.ca);
    object["profiles"]["server"]["absorb"] = json!(false);
    desk.config = serde_json::from_value::<edge::acme::config::ConfigObject>(object).unwrap().try_into().unwrap();
    desk.new_account();
    for _ in 0..2 {
        let order = ready(&mut desk, json!({}));
        assert!(!absorbed(&mut desk, order));
    }
    assert_eq!(desk.placed.len(), 2);
}
