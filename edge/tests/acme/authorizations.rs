//! Authorizations: every pair of state and event, with what the client hears and what the authorization becomes
//! (RFC 8555 §7.1.6).

use edge::acme::{
    challenge::ChallengeType,
    object_id::ObjectId,
    problem::Problem,
    route::{Resource, Route},
    step::Event,
    storage::Key,
};
use serde_json::json;

use crate::desk::Desk;
use crate::probe_faults::late;

/// A desk with one authorization in this state.
fn desk(state: &str) -> (Desk, ObjectId) {
    let mut desk = Desk::new();
    desk.new_account();
    let (_, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    if matches!(state, "probing" | "valid" | "invalid" | "deactivated" | "expired") {
        happen(&mut desk, id, "respond");
    }
    match state {
        "valid" | "deactivated" | "expired" => drop(happen(&mut desk, id, "right answer")),
        "invalid" => drop(happen(&mut desk, id, "wrong answer")),
        _ => {}
    }
    match state {
        "deactivated" => drop(happen(&mut desk, id, "deactivate")),
        "expired" | "too late" => drop(happen(&mut desk, id, "expiry")),
        _ => {}
    }
    desk.effects.clear();
    (desk, id)
}

fn status(desk: &mut Desk, id: ObjectId) -> String {
    desk.read(Resource::Authorization(id))["status"].as_str().unwrap().to_owned()
}

fn happen(desk: &mut Desk, id: ObjectId, event: &str) -> String {
    let authorization = Route::Of(desk.account(), Resource::Authorization(id));
    let challenge = Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01));
    let answer = match event {
        "read" => desk.get(authorization),
        "deactivate" => desk.post(authorization, &json!({"status": "deactivated"})),
        "make valid" => desk.post(authorization, &json!({"status": "valid"})),
        "respond" => desk.post(challenge, &json!({})),
        _ => {
            let probe = desk.probe(id, ChallengeType::Http01);
            match event {
                "right answer" => {
                    let outcome = desk.right_answer(&probe);
                    desk.event(Event::Probed(probe, outcome)).unwrap();
                }
                "wrong answer" => desk.event(Event::Probed(probe, Err(late()))).unwrap(),
                "alarm" => desk.event(Event::Due(Key::Authorization(id))).unwrap(),
                "five alarms" => (0..5).for_each(|_| desk.event(Event::Due(Key::Authorization(id))).unwrap()),
                "expiry" => desk.now = desk.now.plus(501),
                other => panic!("{other}"),
            }
            return String::new();
        }
    };
    match answer {
        Ok(reply) => reply.status.to_string(),
        Err(Problem::Payload(_)) => "malformed".to_owned(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn every_state_takes_every_event() {
    let events = [
        "read",
        "deactivate",
        "make valid",
        "respond",
        "right answer",
        "wrong answer",
        "alarm",
        "five alarms",
        "expiry",
    ];
    // Of each state: what it is called; what is heard after "deactivate"; what it is after each event.
    let table: [(&str, &str, &str, [&str; 9]); 7] = [
        (
            "pending",
            "pending",
            "200",
            ["pending", "deactivated", "pending", "pending", "pending", "pending", "pending", "pending", "invalid"],
        ),
        (
            "probing",
            "pending",
            "200",
            ["pending", "deactivated", "pending", "pending", "valid", "invalid", "pending", "invalid", "invalid"],
        ),
        (
            "valid",
            "valid",
            "200",
            ["valid", "deactivated", "valid", "valid", "valid", "valid", "valid", "valid", "expired"],
        ),
        ("invalid", "invalid", "malformed", ["invalid"; 9]),
        ("deactivated", "deactivated", "200", ["deactivated"; 9]),
        ("expired", "expired", "malformed", ["expired"; 9]),
        ("too late", "invalid", "malformed", ["invalid"; 9]),
    ];
    for (state, called, deactivated, afters) in table {
        for (event, after) in events.into_iter().zip(afters) {
            let (mut desk, id) = desk(state);
            assert_eq!(status(&mut desk, id), called, "{state}");
            let heard = happen(&mut desk, id, event);
            let expected = match event {
                "read" | "respond" => "200",
                "deactivate" => deactivated,
                "make valid" => "malformed",
                _ => "",
            };
            assert_eq!(heard, expected, "{state}: {event}");
            assert_eq!(status(&mut desk, id), after, "{state}: {event}");
        }
    }
}
