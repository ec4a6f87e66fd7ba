//! From newAccount to a certificate (RFC 8555 §7).

use edge::acme::{
    challenge::ChallengeType,
    route::{Resource, Route},
    step::{Body, Effect, Event},
    storage::Rows,
};
use serde_json::json;
use shared::signing::IssueReply;

use crate::desk::{Desk, json_of};

#[test]
fn an_order_of_two_names_becomes_one_certificate() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["b.test", "A.test", "a.test"]);
    assert_eq!(view["status"], "pending");
    assert_eq!(view["identifiers"], json!([{"type": "dns", "value": "a.test"}, {"type": "dns", "value": "b.test"}]));
    desk.prove(&view, ChallengeType::Http01);
    assert_eq!(desk.read(order)["status"], "ready");

    let reply = desk.finalize(order, &["a.test", "b.test"]).unwrap();
    assert_eq!(json_of(&reply)["status"], "processing");
    assert_eq!(reply.retry_after, Some(1));
    let question = desk.question();
    assert_eq!(question.request.order, desk.url(order));
    let answer = desk.signer_answer(&question);
    desk.event(Event::Signed(question.order, Ok(answer))).unwrap();

    let view = desk.read(order);
    assert_eq!(view["status"], "valid");
    let certificate = desk.resource(&view["certificate"]);
    let reply = desk.get(Route::Of(desk.account(), certificate)).unwrap();
    let Body::PemChain(pem) = reply.body else { panic!() };
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(desk.next_drive().is_none(), "nothing is left to drive");
}

#[test]
fn a_wildcard_is_proved_by_dns_alone() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["*.a.test"]);
    let authorization = desk.resource(&view["authorizations"][0]);
    let shown = desk.read(authorization);
    assert_eq!(shown["wildcard"], true);
    assert_eq!(shown["identifier"]["value"], "a.test");
    let kinds: Vec<_> = shown["challenges"].as_array().unwrap().iter().map(|challenge| &challenge["type"]).collect();
    assert_eq!(kinds, ["dns-01"]);
    desk.prove(&view, ChallengeType::Dns01);
    assert_eq!(desk.read(order)["status"], "ready");
    assert!(desk.finalize(order, &["*.a.test"]).is_ok());
}

#[test]
fn the_same_key_finds_its_account_again() {
    let mut desk = Desk::new();
    desk.new_account();
    let reply = desk.post(Route::NewAccount, &json!({"onlyReturnExisting": true})).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.location, Some(desk.url(Resource::Account)));
}

#[test]
fn a_read_commits_nothing() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    let before = desk.rows.commits;
    desk.read(order);
    let authorization = desk.resource(&view["authorizations"][0]);
    desk.read(authorization);
    desk.read(Resource::Account);
    assert_eq!(desk.rows.commits, before);
}

#[test]
fn every_post_with_an_effect_is_one_commit() {
    let mut desk = Desk::new();
    desk.new_account();
    let before = desk.rows.commits;
    let (order, view) = desk.new_order(&["a.test", "b.test"]);
    assert_eq!(desk.rows.commits, before + 1);
    desk.prove(&view, ChallengeType::Http01);
    assert_eq!(desk.rows.commits, before + 1 + 2 * 2, "an answer and an outcome for each name");
    desk.finalize(order, &["a.test", "b.test"]).unwrap();
    assert_eq!(desk.rows.commits, before + 1 + 2 * 2 + 1);
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_question() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let first = desk.question();
    desk.restart();
    desk.now = desk.now.plus(10);
    for key in desk.rows.due(desk.now, 10).unwrap() {
        desk.event(Event::Due(key)).unwrap();
    }
    let second = desk.question();
    assert_eq!((first.request, first.signer), (second.request.clone(), second.signer.clone()));
    let answer = desk.signer_answer(&second);
    desk.event(Event::Signed(second.order, Ok(answer))).unwrap();
    assert_eq!(desk.read(order)["status"], "valid");
}

#[test]
fn a_second_answer_changes_nothing() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let question = desk.question();
    let (one, two) = (desk.signer_answer(&question), desk.signer_answer(&question));
    desk.event(Event::Signed(question.order, Ok(one))).unwrap();
    let Resource::Order(id) = order else { panic!() };
    let certificate = Route::Of(desk.account(), Resource::Certificate(id, None));
    let before = desk.get(certificate).unwrap();
    desk.event(Event::Signed(question.order, Ok(two))).unwrap();
    assert_eq!(desk.get(certificate).unwrap(), before);
}

#[test]
fn a_queued_order_is_asked_about_when_the_signer_said() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let question = desk.question();
    desk.event(Event::Signed(question.order, Ok(IssueReply::Queued { retry_after: 300 }))).unwrap();
    assert_eq!(desk.read(order)["status"], "processing");
    assert_eq!(desk.rows.next_due().unwrap(), Some(desk.now.plus(300)));
}

#[test]
fn a_lost_probe_is_done_again_a_bounded_number_of_times() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    let mut probes = 0;
    while let Some(due) = desk.next_drive() {
        probes += usize::from(matches!(desk.effects.pop(), Some(Effect::Probe(_))));
        desk.restart();
        desk.now = due;
        for key in desk.rows.due(desk.now, 10).unwrap() {
            desk.event(Event::Due(key)).unwrap();
        }
    }
    assert_eq!(probes, 5);
    assert_eq!(desk.read(order)["status"], "invalid");
}
