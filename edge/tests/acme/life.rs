//! How things end: what has expired is deleted some time later, idle accounts delete themselves, and a deactivated account
//! takes everything with it.

use edge::acme::{
    challenge::ChallengeType,
    key_change::{Reservation, reserve},
    problem::Problem,
    record::{AccountRecord, Record},
    route::{AccountId, Resource, Route},
    step::Event,
    storage::{Key, Memory, Rows},
};
use serde_json::json;
use shared::{testing::TestKey, timestamp::Timestamp};

use crate::desk::{Desk, json_of};

// Of the desk's configuration: order 1000, authorization 500, idle_account 100 000, retention 2000 seconds.

fn status(desk: &mut Desk, resource: Resource) -> Option<String> {
    match desk.get(Route::Of(desk.account(), resource)) {
        Ok(reply) => Some(json_of(&reply)["status"].as_str().unwrap().to_owned()),
        Err(Problem::NotFound) => None,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_order_that_nobody_finalizes_expires_and_is_deleted_later() {
    let mut desk = Desk::new();
    desk.new_account();
    let start = desk.now;
    let (order, view) = desk.new_order(&["a.test"]);
    let authorization = desk.resource(&view["authorizations"][0]);
    desk.live_until(start.plus(1001));
    assert_eq!(status(&mut desk, order).as_deref(), Some("invalid"));
    assert_eq!(status(&mut desk, authorization).as_deref(), Some("invalid"));
    desk.live_until(start.plus(2999));
    assert_eq!(status(&mut desk, order).as_deref(), Some("invalid"));
    desk.live_until(start.plus(3000));
    assert_eq!(status(&mut desk, order), None);
    assert!(status(&mut desk, authorization).is_some(), "an order of its last second may still use it");
    desk.live_until(start.plus(3500));
    assert_eq!(status(&mut desk, authorization), None);
    assert_eq!(desk.read(Resource::Orders(None))["orders"], json!([]));
}

#[test]
fn a_certificate_can_be_read_until_some_time_after_its_end() {
    let (mut desk, _) = Desk::with_a_certificate(&["a.test"]);
    let url = desk.read(Resource::Orders(None))["orders"][0].clone();
    let order = desk.resource(&url);
    let end = desk.now.plus(86_000 + 2000);
    desk.live_until(Timestamp::from_seconds(end.seconds() - 1));
    assert_eq!(status(&mut desk, order).as_deref(), Some("valid"));
    desk.live_until(end);
    assert_eq!(status(&mut desk, order), None);
}

#[test]
fn what_led_to_a_deleted_authorization_is_deleted_too() {
    let (mut desk, _) = Desk::with_a_certificate(&["a.test"]);
    let start = desk.now;
    let keys =
        |desk: &Desk| desk.rows.keys().filter(|key| matches!(key, Key::Reusable(_) | Key::Authorization(_))).count();
    assert_eq!(keys(&desk), 2);
    desk.live_until(start.plus(3500));
    assert_eq!(keys(&desk), 0);
}

#[test]
fn an_account_that_issues_nothing_deletes_itself_and_its_key_may_come_again() {
    let mut desk = Desk::new();
    desk.new_account();
    let start = desk.now;
    desk.new_order(&["a.test"]);
    desk.live_until(start.plus(99_999));
    assert_eq!(status(&mut desk, Resource::Account).as_deref(), Some("valid"));
    desk.live_until(start.plus(100_000));
    assert_eq!(desk.rows.keys().count(), 0, "nothing is left, no alarm either");
    let look = json!({"onlyReturnExisting": true});
    assert_eq!(desk.post(Route::NewAccount, &look), Err(Problem::AccountDoesNotExist));
    desk.new_account();
}

#[test]
fn an_account_lives_on_from_its_last_certificate_on() {
    let mut desk = Desk::new();
    desk.new_account();
    desk.live_until(desk.now.plus(90_000));
    let issued = desk.now;
    desk.issue(&["a.test"]);
    desk.live_until(issued.plus(99_999));
    assert_eq!(status(&mut desk, Resource::Account).as_deref(), Some("valid"));
    desk.live_until(issued.plus(100_001));
    assert_eq!(desk.rows.keys().count(), 0);
}

#[test]
fn an_account_with_a_valid_certificate_or_an_order_under_way_stays() {
    let mut desk = Desk::new();
    desk.config.lifetimes.idle_account = 100;
    desk.new_account();
    let start = desk.now;
    desk.issue(&["a.test"]);
    desk.live_until(start.plus(85_999));
    assert_eq!(status(&mut desk, Resource::Account).as_deref(), Some("valid"));
    let (open, _) = desk.new_order(&["b.test"]);
    desk.live_until(start.plus(86_001));
    assert_eq!(status(&mut desk, open).as_deref(), Some("pending"));
    desk.live_until(start.plus(87_100));
    assert_eq!(desk.rows.keys().count(), 0);
}

#[test]
fn an_account_whose_order_a_signer_never_answers_stays() {
    let (mut desk, order) = Desk::with_a_processing_order();
    desk.config.lifetimes.idle_account = 100;
    desk.live_until(desk.now.plus(4000));
    assert_eq!(status(&mut desk, order).as_deref(), Some("processing"));
}

/// Gives the account another key, as a rollover leaves it.
fn roll_over(desk: &mut Desk) {
    use edge::acme::storage::Storage as _;

    let account = AccountRecord::load(&desk.rows, Key::Account).unwrap().unwrap();
    let account = AccountRecord { key: TestKey::new(9).jwk(), ..account };
    desk.rows.commit(&[account.put(Key::Account, Some(desk.now)).unwrap()]).unwrap();
}

#[test]
fn the_key_that_opened_a_rolled_over_account_never_comes_back_in_its_name() {
    let mut desk = Desk::new();
    desk.new_account();
    roll_over(&mut desk);
    desk.live_until(desk.now.plus(100_000));
    assert_eq!(desk.rows.keys().collect::<Vec<_>>(), [Key::Retired], "a mark is all that is left");
    assert!(matches!(desk.post(Route::NewAccount, &json!({})), Err(Problem::Unauthorized(_))));
    let entropy = desk.entropy();
    let other = AccountId(TestKey::new(5).jwk().thumbprint());
    let (reservation, changes) = reserve(&desk.rows, other, &desk.context(&entropy)).unwrap();
    assert_eq!((reservation, changes.len()), (Reservation::Held(desk.account()), 0));
}

#[test]
fn a_deactivated_account_makes_nothing_valid_any_more_and_stays_closed() {
    let mut desk = Desk::new();
    desk.new_account();
    let (_, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    let Some(edge::acme::step::Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Account), &json!({"status": "deactivated"})).unwrap();
    let deactivated = |rows: &Memory| rows.read(Key::Authorization(id)).unwrap().unwrap().contains("\"deactivated\"");

    let alarmed = {
        let mut alarmed = Desk::new();
        alarmed.rows = desk.rows.clone();
        alarmed.event(Event::Due(Key::Authorization(id))).unwrap();
        assert!(alarmed.effects.is_empty(), "no probe for it");
        alarmed
    };
    assert!(deactivated(&alarmed.rows));
    let outcome = desk.right_answer(&probe);
    desk.event(Event::Probed(probe, outcome)).unwrap();
    assert!(deactivated(&desk.rows));

    desk.live_until(desk.now.plus(300_000));
    assert_eq!(desk.rows.keys().collect::<Vec<_>>(), [Key::Account], "all but the account is deleted");
    assert!(matches!(desk.post(Route::NewAccount, &json!({})), Err(Problem::Deactivated)));
}
