//! Challenges: every pair of state and event. A challenge's state is its authorization's, seen from one of its challenges.

use edge::acme::{
    challenge::ChallengeType,
    dns::DnsFault,
    object_id::ObjectId,
    probe::Probe,
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Key,
};
use serde_json::json;

use crate::desk::{Desk, json_of};
use crate::probe_faults::{late, lookup};

/// A desk with an authorization whose http-01 challenge is in this state; its probe where one is or was under way.
fn desk(state: &str) -> (Desk, ObjectId, Option<Probe>) {
    let mut desk = Desk::new();
    desk.new_account();
    let (_, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    let mut probe = None;
    if state != "pending" {
        respond(&mut desk, id, ChallengeType::Http01);
        let Some(Effect::Probe(started)) = desk.effects.pop() else { panic!() };
        match state {
            "valid" => {
                let outcome = desk.right_answer(&started);
                desk.event(Event::Probed(started.clone(), outcome)).unwrap();
            }
            "invalid" => desk.event(Event::Probed(started.clone(), Err(late()))).unwrap(),
            _ => {}
        }
        probe = Some(started);
    }
    assert_eq!(status(&mut desk, id, ChallengeType::Http01), state);
    (desk, id, probe)
}

fn respond(desk: &mut Desk, id: ObjectId, kind: ChallengeType) {
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, kind)), &json!({})).unwrap();
}

fn status(desk: &mut Desk, id: ObjectId, kind: ChallengeType) -> String {
    let reply = desk.get(Route::Of(desk.account(), Resource::Challenge(id, kind))).unwrap();
    let view = json_of(&reply);
    // RFC 8555 §7.1.5, §8.2: what a client needs beside the status.
    assert_eq!(view.get("validated").is_some(), view["status"] == "valid");
    assert_eq!(view.get("error").is_some(), view["status"] == "invalid");
    assert_eq!(reply.retry_after.is_some(), view["status"] == "processing");
    view["status"].as_str().unwrap().to_owned()
}

fn event(desk: &mut Desk, id: ObjectId, probe: Option<Probe>, event: &str) {
    let probe = probe.unwrap_or_else(|| desk.probe(id, ChallengeType::Http01));
    match event {
        "respond" => respond(desk, id, ChallengeType::Http01),
        "respond to the other" => respond(desk, id, ChallengeType::Dns01),
        "right answer" => {
            let outcome = desk.right_answer(&probe);
            desk.event(Event::Probed(probe, outcome)).unwrap();
        }
        "wrong answer" => desk.event(Event::Probed(probe, Err(lookup(DnsFault::NoSuchName)))).unwrap(),
        "answer for the other" => {
            let probe = Probe { challenge: ChallengeType::Dns01, ..probe };
            let outcome = desk.right_answer(&probe);
            desk.event(Event::Probed(probe, outcome)).unwrap();
        }
        "alarm" => desk.event(Event::Due(Key::Authorization(id))).unwrap(),
        "five alarms" => (0..5).for_each(|_| desk.event(Event::Due(Key::Authorization(id))).unwrap()),
        "read" => drop(desk.get(Route::Of(desk.account(), Resource::Authorization(id))).unwrap()),
        "expiry" => desk.now = desk.now.plus(501),
        other => panic!("{other}"),
    }
}

#[test]
fn every_state_takes_every_event() {
    let events = [
        "respond",
        "respond to the other",
        "right answer",
        "wrong answer",
        "answer for the other",
        "alarm",
        "five alarms",
        "read",
        "expiry",
    ];
    let table = [
        (
            "pending",
            ["processing", "pending", "pending", "pending", "pending", "pending", "pending", "pending", "pending"],
        ),
        (
            "processing",
            [
                "processing",
                "processing",
                "valid",
                "invalid",
                "processing",
                "processing",
                "invalid",
                "processing",
                "processing",
            ],
        ),
        ("valid", ["valid"; 9]),
        ("invalid", ["invalid"; 9]),
    ];
    for (state, expected) in table {
        for (event_name, after) in events.into_iter().zip(expected) {
            let (mut desk, id, probe) = desk(state);
            event(&mut desk, id, probe, event_name);
            assert_eq!(status(&mut desk, id, ChallengeType::Http01), after, "{state}: {event_name}");
        }
    }
}

#[test]
fn an_answered_challenge_settles_the_authorization_and_the_others_stay_as_they_were() {
    for (state, authorization) in [("valid", "valid"), ("invalid", "invalid")] {
        let (mut desk, id, _) = desk(state);
        assert_eq!(desk.read(Resource::Authorization(id))["status"], authorization);
        assert_eq!(status(&mut desk, id, ChallengeType::Dns01), "pending");
        // It can no longer be answered: there is nothing left to prove, or too late to.
        respond(&mut desk, id, ChallengeType::Dns01);
        assert!(desk.effects.is_empty());
        assert_eq!(status(&mut desk, id, ChallengeType::Dns01), "pending");
    }
}

#[test]
fn a_lost_probe_is_done_again_after_twice_as_long_each_time_and_not_for_ever() {
    let (mut desk, id, _) = desk("pending");
    respond(&mut desk, id, ChallengeType::Http01);
    let mut waits = Vec::new();
    while status(&mut desk, id, ChallengeType::Http01) == "processing" {
        // Each time the object was started anew before the outcome came.
        desk.restart();
        let due = desk.next_drive().unwrap();
        waits.push(due.since(desk.now));
        desk.now = due;
        desk.event(Event::Due(Key::Authorization(id))).unwrap();
    }
    assert_eq!(waits, [10, 20, 40, 80, 160]);
    assert_eq!(status(&mut desk, id, ChallengeType::Http01), "invalid");
}

#[test]
fn a_client_that_answers_again_starts_a_lost_probe_at_once_and_commits_nothing() {
    let (mut desk, id, _) = desk("pending");
    respond(&mut desk, id, ChallengeType::Http01);
    desk.restart();
    let commits = desk.rows.commits;
    respond(&mut desk, id, ChallengeType::Http01);
    assert!(matches!(desk.effects.as_slice(), [Effect::Probe(probe)] if probe.challenge == ChallengeType::Http01));
    assert_eq!(desk.rows.commits, commits);
    // The other challenge has to wait for the outcome of this one.
    desk.effects.clear();
    respond(&mut desk, id, ChallengeType::Dns01);
    assert!(desk.effects.is_empty());
}
