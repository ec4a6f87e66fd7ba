//! kubernetes-01 challenges: for which names they are offered, what answers them, and how long the row keeps a token.

use edge::acme::{
    challenge::ChallengeType,
    kubernetes::judgement::Seen,
    object_id::ObjectId,
    probe::Evidence,
    problem::Problem,
    record::{AuthorizationRecord, Record as _},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::{Key, Rows as _},
};
use serde_json::json;

use crate::{
    desk::{Desk, json_of},
    kubernetes::{answer, api, desk, desk_with_order},
    workloads::{TestCluster, claims},
};

#[test]
fn an_answer_without_a_token_is_malformed_where_addresses_prove_nothing() {
    let (mut desk, id, _) = desk(&json!({}), "web.shop.test");
    let long = "a".repeat(8193);
    for payload in
        [json!({}), json!({"token": 1}), json!({"token": ""}), json!({"token": "a b"}), json!({"token": long})]
    {
        let answered = answer(&mut desk, id, &payload);
        assert!(matches!(answered, Err(Problem::Payload(_) | Problem::Member(..))), "{payload}");
    }
    assert_eq!(desk.read(Resource::Authorization(id))["status"], "pending");
    // Where they do, the address must be known.
    let (mut desk, id, _) = crate::kubernetes::desk(&json!({"api": api(), "pod_address": true}), "web.shop.test");
    desk.client = None;
    assert!(matches!(answer(&mut desk, id, &json!({})), Err(Problem::Payload(_))));
}

#[test]
fn a_probe_that_was_lost_is_done_again_with_the_same_proof() {
    let (mut desk, id, audience) = desk(&json!({}), "web.shop.test");
    let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
    let row = |desk: &Desk| desk.rows.read(Key::Authorization(id)).unwrap().unwrap();
    let probe = answer(&mut desk, id, &json!({ "token": token })).unwrap().unwrap();
    assert!(row(&desk).contains(&token));
    assert!(!format!("{probe:?}").contains(&token[..20]), "what is logged has no token");
    // The probe was lost: the alarm starts it again with the same proof.
    desk.restart();
    desk.now = desk.next_drive().unwrap();
    desk.event(Event::Due(Key::Authorization(id))).unwrap();
    let Some(Effect::Probe(again)) = desk.effects.pop() else { panic!() };
    assert_eq!(again, probe);
    // And so does a client that asks again, whatever it says.
    assert_eq!(answer(&mut desk, id, &json!({})).unwrap(), Some(probe));
    desk.event(Event::Probed(again, Ok(Evidence::Kubernetes(Seen::default())))).unwrap();
    assert_eq!(desk.read(Resource::Authorization(id))["status"], "valid");
}

/// A desk with an order that this token has made ready, under this time of reuse in seconds.
fn ready(reuse: u64) -> (Desk, Resource, ObjectId, String) {
    let (mut desk, order, id, audience) = desk_with_order(1, &json!({}), "web.shop.test");
    desk.config.lifetimes.authorization_reuse = reuse;
    let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
    let probe = answer(&mut desk, id, &json!({ "token": token })).unwrap().unwrap();
    desk.event(Event::Probed(probe, Ok(Evidence::Kubernetes(Seen::default())))).unwrap();
    (desk, order, id, token)
}

fn row(desk: &Desk, key: Key) -> String {
    desk.rows.read(key).unwrap().unwrap()
}

#[test]
fn the_signer_gets_the_token_and_the_rows_forget_it() {
    let (mut desk, order, id, token) = ready(0);
    let authorization = desk.read(Resource::Authorization(id));
    assert!(row(&desk, Key::Authorization(id)).contains(&token));
    assert!(!authorization.to_string().contains(&token), "it is never shown: {authorization}");
    desk.finalize(order, &["web.shop.test"]).unwrap();
    assert!(!row(&desk, Key::Authorization(id)).contains(&token));
    let question = desk.question();
    let proven = &question.request.identifiers[0];
    let evidence = proven.evidence.as_ref().unwrap();
    assert_eq!((proven.method.as_str(), evidence.token.expose()), ("kubernetes-01", token.as_str()));
    assert_eq!(authorization["challenges"][0]["token"], json!(evidence.challenge));
    assert!(!format!("{:?}", question.request).contains(&token), "what is logged has no token");
    let answer = desk.signer_answer(&question);
    assert!(row(&desk, Key::Order(question.order)).contains(&token), "a signer may have to be asked again");
    desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
    assert!(!row(&desk, Key::Order(question.order)).contains(&token));
}

#[test]
fn an_authorization_that_serves_several_orders_keeps_its_token_until_it_expires() {
    let (mut desk, order, id, token) = ready(600);
    desk.finalize(order, &["web.shop.test"]).unwrap();
    assert!(row(&desk, Key::Authorization(id)).contains(&token));
    let record = AuthorizationRecord::load(&desk.rows, Key::Authorization(id)).unwrap().unwrap();
    desk.now = record.expires.plus(1);
    desk.event(Event::Due(Key::Authorization(id))).unwrap();
    assert!(!row(&desk, Key::Authorization(id)).contains(&token));
    assert_eq!(desk.read(Resource::Authorization(id))["status"], "expired");
}

#[test]
fn an_authorization_that_its_holder_gives_up_forgets_its_token() {
    let (mut desk, _, id, token) = ready(600);
    desk.post(Route::Of(desk.account(), Resource::Authorization(id)), &json!({"status": "deactivated"})).unwrap();
    assert!(!row(&desk, Key::Authorization(id)).contains(&token));
}

#[test]
fn a_challenge_is_offered_for_names_that_a_template_could_give() {
    for (name, offered) in
        [("web.shop.test", true), ("*.shop.test", true), ("a.b.c.test", false), ("*.a.b.test", false)]
    {
        let (mut desk, id, _) = desk(&json!({}), name);
        let view = desk.read(Resource::Authorization(id));
        let kinds = view["challenges"].as_array().unwrap().iter().filter(|one| one["type"] == "kubernetes-01").count();
        assert_eq!(kinds == 1, offered, "{name}");
        let route = Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Kubernetes01));
        let answered = desk.get(route).map(|reply| json_of(&reply)["status"].clone());
        assert_eq!(answered.ok(), offered.then(|| json!("pending")), "{name}");
    }
}
