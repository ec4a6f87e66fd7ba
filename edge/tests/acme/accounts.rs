//! Accounts: every pair of state and event, with what the client hears and what the account becomes.

use edge::acme::{
    problem::Problem,
    record::{AccountRecord, AccountStatus, Record},
    route::{Resource, Route},
    step::{Event, Reply},
    storage::{Key, Rows},
};
use serde_json::{Value, json};

use crate::desk::Desk;

/// A desk whose account is in this state. Orders that it made before are there where it had any.
fn desk(state: &str) -> Desk {
    let mut desk = Desk::new();
    if state != "nothing" {
        desk.new_account();
    }
    match state {
        "deactivated" => {
            let route = Route::Of(desk.account(), Resource::Account);
            desk.post(route, &json!({"status": "deactivated"})).unwrap();
        }
        "retired" => {
            use edge::acme::storage::Storage as _;

            let account = AccountRecord::load(&desk.rows, Key::Account).unwrap().unwrap();
            let account = AccountRecord { key: shared::testing::TestKey::new(9).jwk(), ..account };
            desk.rows.commit(&[account.put(Key::Account, Some(desk.now)).unwrap()]).unwrap();
            desk.live_until(desk.now.plus(100_000));
        }
        _ => {}
    }
    assert_eq!(name(&desk), state);
    desk
}

fn name(desk: &Desk) -> &'static str {
    match AccountRecord::load(&desk.rows, Key::Account).unwrap().map(|account| account.status) {
        Some(AccountStatus::Valid) => "valid",
        Some(AccountStatus::Deactivated) => "deactivated",
        None if desk.rows.read(Key::Retired).unwrap().is_some() => "retired",
        None => "nothing",
    }
}

fn heard(answer: Result<Reply, Problem>) -> String {
    match answer {
        Ok(reply) => reply.status.to_string(),
        Err(problem) => problem.document().kind.rsplit(':').next().unwrap().to_owned(),
    }
}

fn event(desk: &mut Desk, event: &str) -> String {
    let account = Route::Of(desk.account(), Resource::Account);
    let post = |desk: &mut Desk, route: Route, payload: Value| heard(desk.post(route, &payload));
    match event {
        "newAccount" => post(desk, Route::NewAccount, json!({"termsOfServiceAgreed": true})),
        "look" => post(desk, Route::NewAccount, json!({"onlyReturnExisting": true})),
        "read" => heard(desk.get(account)),
        "update" => post(desk, account, json!({"contact": ["mailto:a@b.test"]})),
        "deactivate" => post(desk, account, json!({"status": "deactivated"})),
        "newOrder" => post(desk, Route::NewOrder, json!({"identifiers": [{"type": "dns", "value": "a.test"}]})),
        "newAuthz" => post(desk, Route::NewAuthorization, json!({"identifier": {"type": "dns", "value": "a.test"}})),
        "orders" => heard(desk.get(Route::Of(desk.account(), Resource::Orders(None)))),
        "alarm" => {
            desk.event(Event::Due(Key::Account)).unwrap();
            String::new()
        }
        "idle" => {
            desk.now = desk.now.plus(100_001);
            desk.event(Event::Due(Key::Account)).unwrap();
            String::new()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_state_takes_every_event() {
    const UNKNOWN: &str = "accountDoesNotExist";
    const REFUSED: &str = "unauthorized";
    let events =
        ["newAccount", "look", "read", "update", "deactivate", "newOrder", "newAuthz", "orders", "alarm", "idle"];
    // Of each state, for each event: what is heard, and the state after it.
    let table: [(&str, [(&str, &str); 10]); 4] = [
        (
            "nothing",
            [
                ("201", "valid"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                (UNKNOWN, "nothing"),
                ("", "nothing"),
                ("", "nothing"),
            ],
        ),
        (
            "valid",
            [
                ("200", "valid"),
                ("200", "valid"),
                ("200", "valid"),
                ("200", "valid"),
                ("200", "deactivated"),
                ("201", "valid"),
                ("201", "valid"),
                ("200", "valid"),
                ("", "valid"),
                ("", "nothing"),
            ],
        ),
        (
            "deactivated",
            [
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                (REFUSED, "deactivated"),
                ("", "deactivated"),
                ("", "deactivated"),
            ],
        ),
        (
            "retired",
            [
                (REFUSED, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                (UNKNOWN, "retired"),
                ("", "retired"),
                ("", "retired"),
            ],
        ),
    ];
    for (state, expected) in table {
        for (event_name, (answer, after)) in events.into_iter().zip(expected) {
            let mut desk = desk(state);
            assert_eq!(event(&mut desk, event_name), answer, "{state}: {event_name}");
            assert_eq!(name(&desk), after, "{state}: {event_name}");
        }
    }
}
