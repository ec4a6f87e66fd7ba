//! Orders: every pair of state and event, with what the client hears and what the order becomes (RFC 8555 §7.1.6).

use edge::acme::{
    challenge::ChallengeType,
    object_id::ObjectId,
    problem::Problem,
    record::{OrderRecord, Record},
    route::{Resource, Route},
    step::{Effect, Event, Reply},
    storage::{Key, Rows},
};
use serde_json::{Value, json};
use shared::signing::{IssueReply, Refusal, Refused};

use crate::desk::Desk;

const NAME: &str = "a.test";

/// A desk with one order in this state.
fn desk(state: &str) -> (Desk, ObjectId, Value) {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&[NAME]);
    let Resource::Order(id) = order else { panic!() };
    if state != "pending" {
        desk.prove(&view, ChallengeType::Http01);
    }
    if matches!(state, "processing" | "valid" | "refused") {
        desk.finalize(order, &[NAME]).unwrap();
    }
    match state {
        "valid" => issued(&mut desk, id),
        "refused" => answered(&mut desk, id, Ok(refused(Refusal::NotPermitted))),
        "expired" => desk.now = desk.now.plus(1001),
        _ => {}
    }
    (desk, id, view)
}

fn status(desk: &mut Desk, id: ObjectId) -> String {
    desk.read(Resource::Order(id))["status"].as_str().unwrap().to_owned()
}

fn refused(reason: Refusal) -> IssueReply {
    IssueReply::Refused(Refused { reason, detail: String::new(), retry_after: None })
}

fn answered(desk: &mut Desk, id: ObjectId, answer: Result<IssueReply, String>) {
    desk.event(Event::Signed(id, answer)).unwrap();
}

/// The signer's certificate, late or not: of the question of this order, or of one like it where none was asked.
fn issued(desk: &mut Desk, id: ObjectId) {
    let question = match desk.effects.pop() {
        Some(Effect::Sign(question)) => question,
        _ => Desk::with_a_processing_order().0.question(),
    };
    let answer = desk.signer_answer(&question);
    answered(desk, id, Ok(answer));
}

fn heard(answer: Result<Reply, Problem>) -> String {
    match answer {
        Ok(reply) => reply.status.to_string(),
        Err(problem) => problem.document().kind.rsplit(':').next().unwrap().to_owned(),
    }
}

fn happen(desk: &mut Desk, id: ObjectId, view: &Value, event: &str) -> String {
    let order = Resource::Order(id);
    match event {
        "read" => return heard(desk.get(Route::Of(desk.account(), order))),
        "certificate" => return heard(desk.get(Route::Of(desk.account(), Resource::Certificate(id, None)))),
        "finalize" => return heard(desk.finalize(order, &[NAME])),
        "finalize for others" => return heard(desk.finalize(order, &["b.test"])),
        "finalize without" => {
            return heard(desk.post(Route::Of(desk.account(), Resource::Finalize(id)), &json!({})));
        }
        "give up" => {
            let Resource::Authorization(authorization) = desk.resource(&view["authorizations"][0]) else { panic!() };
            let route = Route::Of(desk.account(), Resource::Authorization(authorization));
            let _ = desk.post(route, &json!({"status": "deactivated"}));
        }
        "issued" => issued(desk, id),
        "refused" => answered(desk, id, Ok(refused(Refusal::NotPermitted))),
        "busy" => answered(desk, id, Ok(refused(Refusal::Busy))),
        "queued" => answered(desk, id, Ok(IssueReply::Queued { retry_after: 3 })),
        "unreachable" => answered(desk, id, Err("no answer".to_owned())),
        "alarm" => desk.event(Event::Due(Key::Order(id))).unwrap(),
        "expiry" => desk.now = desk.now.plus(1001),
        other => panic!("{other}"),
    }
    String::new()
}

#[test]
fn every_state_takes_every_event() {
    const NOT_READY: &str = "orderNotReady";
    let events = [
        "read",
        "certificate",
        "finalize",
        "finalize for others",
        "finalize without",
        "give up",
        "issued",
        "refused",
        "busy",
        "queued",
        "unreachable",
        "alarm",
        "expiry",
    ];
    // Of each state: what it is called; what is heard after the first five events; what it is after each event.
    let table: [(&str, &str, [&str; 5], [&str; 13]); 6] = [
        ("pending", "pending", ["200", NOT_READY, NOT_READY, NOT_READY, NOT_READY], {
            let mut after = ["pending"; 13];
            after[5] = "invalid";
            after[12] = "invalid";
            after
        }),
        ("ready", "ready", ["200", NOT_READY, "200", "badCSR", "malformed"], {
            let mut after = ["ready"; 13];
            after[2] = "processing";
            after[5] = "invalid";
            after[12] = "invalid";
            after
        }),
        ("processing", "processing", ["200", NOT_READY, NOT_READY, NOT_READY, NOT_READY], {
            let mut after = ["processing"; 13];
            after[6] = "valid";
            after[7] = "invalid";
            after
        }),
        ("valid", "valid", ["200", "200", NOT_READY, NOT_READY, NOT_READY], ["valid"; 13]),
        ("refused", "invalid", ["200", NOT_READY, NOT_READY, NOT_READY, NOT_READY], ["invalid"; 13]),
        ("expired", "invalid", ["200", NOT_READY, NOT_READY, NOT_READY, NOT_READY], ["invalid"; 13]),
    ];
    for (state, called, answers, afters) in table {
        for (index, (event, after)) in events.into_iter().zip(afters).enumerate() {
            let (mut desk, id, view) = desk(state);
            assert_eq!(status(&mut desk, id), called);
            let heard = happen(&mut desk, id, &view, event);
            assert_eq!(heard, answers.get(index).copied().unwrap_or_default(), "{state}: {event}");
            assert_eq!(status(&mut desk, id), after, "{state}: {event}");
        }
    }
}

#[test]
fn a_refused_order_waits_as_long_as_its_signer_says_and_ends_when_it_has_expired() {
    let (mut desk, order) = Desk::with_a_processing_order();
    let Resource::Order(id) = order else { panic!() };
    let route = Route::Of(desk.account(), order);
    let refuse = |desk: &mut Desk, retry_after| {
        let spent = Refused { reason: Refusal::OverBudget, detail: String::new(), retry_after };
        answered(desk, id, Ok(IssueReply::Refused(spent)));
    };
    let expires = OrderRecord::load(&desk.rows, Key::Order(id)).unwrap().unwrap().expires;
    refuse(&mut desk, Some(86_400));
    assert_eq!(desk.get(route).unwrap().retry_after, Some(86_400), "what the signer said");
    let again = desk.rows.next_due().unwrap().unwrap();
    assert!(again <= desk.now.plus(desk.config.lifetimes.redrive * 8), "but the signer is asked sooner: {again:?}");
    refuse(&mut desk, None);
    assert_eq!(desk.get(route).unwrap().retry_after, Some(desk.config.lifetimes.redrive));

    desk.now = expires.plus(1);
    assert_eq!(status(&mut desk, id), "processing", "a signer may have it still");
    refuse(&mut desk, Some(86_400));
    let view = desk.read(order);
    assert_eq!((view["status"].as_str(), view["error"]["status"].as_u64()), (Some("invalid"), Some(429)), "{view}");
}
