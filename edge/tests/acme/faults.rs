//! Storage that fails, at every commit of a whole issuance: lost, and kept but reported as failed. The client tries again as
//! clients do; nothing is issued twice and nothing is stuck.

use edge::acme::{
    challenge::ChallengeType,
    problem::Problem,
    route::{Resource, Route},
    step::{Effect, Event},
    storage::{Failure, Rows},
};
use serde_json::json;

use crate::desk::Desk;

/// Drives everything that is under way or due, until nothing is. Every question to the signer is counted by its identity.
fn drive(desk: &mut Desk, questions: &mut Vec<String>) {
    for _ in 0..20 {
        while let Some(effect) = desk.effects.pop() {
            let event = match effect {
                Effect::Probe(probe) => {
                    let outcome = desk.right_answer(&probe);
                    Event::Probed(probe, outcome)
                }
                Effect::CheckCaa(_) => panic!("not configured"),
                Effect::Place(..) => panic!("the desk answers it"),
                Effect::Sign(sign) => {
                    questions.push(format!("{} {:?}", sign.request.order, sign.request.finalize));
                    let answer = desk.signer_answer(&sign);
                    Event::Signed(sign.order, Ok(answer))
                }
            };
            // A failed commit of an outcome is made good by the alarm.
            let _ = desk.event(event);
        }
        let Some(due) = desk.next_drive() else { return };
        desk.now = desk.now.max(due);
        for key in desk.rows.due(desk.now, 10).unwrap() {
            let _ = desk.event(Event::Due(key));
        }
    }
    panic!("something never settles");
}

/// A client that tries everything again until it works.
fn issue(desk: &mut Desk) -> Vec<String> {
    let mut questions = Vec::new();
    let retry = |desk: &mut Desk, route: Route, payload: &serde_json::Value| {
        desk.post(route, payload).or_else(|problem| match problem {
            Problem::Storage(_) => desk.post(route, payload),
            other => Err(other),
        })
    };
    retry(desk, Route::NewAccount, &json!({})).unwrap();
    let order = retry(desk, Route::NewOrder, &json!({"identifiers": [{"type": "dns", "value": "a.test"}]})).unwrap();
    let view = crate::desk::json_of(&order);
    let order = desk.resource(&json!(order.location.unwrap()));
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    retry(desk, Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    drive(desk, &mut questions);
    match desk.finalize(order, &["a.test"]) {
        Err(Problem::Storage(_)) => match desk.finalize(order, &["a.test"]) {
            Ok(_) | Err(Problem::OrderNotReady(_)) => {}
            Err(other) => panic!("{other:?}"),
        },
        other => drop(other.unwrap()),
    }
    drive(desk, &mut questions);
    assert_eq!(desk.read(order)["status"], "valid");
    questions
}

#[test]
fn every_commit_may_fail_and_the_order_still_becomes_valid_with_one_question() {
    let commits = {
        let mut desk = Desk::new();
        issue(&mut desk);
        desk.rows.commits
    };
    for failure in [Failure::Lost, Failure::Kept] {
        for at in 0..commits {
            let mut desk = Desk::new();
            desk.rows.fail_commit_number(at, failure);
            let mut questions = issue(&mut desk);
            questions.dedup();
            assert_eq!(questions.len(), 1, "{failure:?} at commit {at}");
        }
    }
}
