//! kubernetes-01 challenges: for which names they are offered, what answers them, and how long the row keeps a token.

use edge::acme::{
    challenge::ChallengeType,
    kubernetes::judgement::Seen,
    probe::Evidence,
    problem::Problem,
    route::{Resource, Route},
    step::{Effect, Event},
    storage::{Key, Rows as _},
};
use serde_json::json;

use crate::{
    desk::{Desk, json_of},
    kubernetes::{answer, api, desk},
    workloads::{TestCluster, claims},
};

#[test]
fn an_answer_without_a_token_is_malformed_where_addresses_prove_nothing() {
    let (mut desk, id, _) = desk(&json!({}), "web.shop.test");
    let long = "a".repeat(8193);
    for payload in
        [json!({}), json!({"token": 1}), json!({"token": ""}), json!({"token": "a b"}), json!({"token": long})]
    {
        assert!(matches!(answer(&mut desk, id, &payload), Err(Problem::Payload(_))), "{payload}");
    }
    assert_eq!(desk.read(Resource::Authorization(id))["status"], "pending");
    // Where they do, the address must be known.
    let (mut desk, id, _) = crate::kubernetes::desk(&json!({"api": api(), "pod_address": true}), "web.shop.test");
    desk.client = None;
    assert!(matches!(answer(&mut desk, id, &json!({})), Err(Problem::Payload(_))));
}

#[test]
fn the_row_has_the_token_while_a_probe_may_be_done_again_and_no_longer() {
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
    assert!(!row(&desk).contains(&token));
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
