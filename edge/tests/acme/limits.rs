//! Rate limits of an account's own rows, and what is asked of meters outside (RFC 8555 §6.6).

use edge::acme::{
    challenge::ChallengeType,
    problem::Problem,
    rate_limit::{MeterName, MeterQuestion, Rate, charged_binding, question},
    record::{AccountRecord, Record},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::{Key, Rows, Storage},
};
use serde_json::json;

use crate::desk::Desk;
use crate::probe_faults::late;

const RATE: Rate = Rate { count: 2, seconds: 100 };

fn order(desk: &mut Desk) -> Result<u16, Problem> {
    let identifiers = json!({"identifiers": [{"type": "dns", "value": "a.test"}]});
    desk.post(Route::NewOrder, &identifiers).map(|reply| reply.status)
}

/// Orders, answers http-01, and lets the probe fail.
fn fail(desk: &mut Desk) {
    let (_, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    desk.event(Event::Probed(probe, Err(late()))).unwrap();
}

/// RFC 8555 §6.6 SHOULD: `rateLimited` comes with a Retry-After that is true.
#[test]
fn too_many_orders_are_refused_until_the_time_that_is_said() {
    let mut desk = Desk::new();
    desk.config.rate_limits.orders_per_account = Some(RATE);
    desk.new_account();
    for _ in 0..2 {
        assert_eq!(order(&mut desk), Ok(201));
    }
    let commits = desk.rows.commits;
    let problem = order(&mut desk).unwrap_err();
    assert_eq!(problem, Problem::RateLimited("new orders of this account", 50));
    let document = problem.document();
    assert_eq!((document.status, problem.retry_after()), (Some(429), Some(50)));
    assert_eq!(document.kind, "urn:ietf:params:acme:error:rateLimited");
    assert_eq!(desk.rows.commits, commits, "a refusal counts nothing");
    desk.now = desk.now.plus(50);
    assert_eq!(order(&mut desk), Ok(201));
}

/// RFC 8555 §8.2 SHOULD: how often a client may have challenges looked at is limited.
#[test]
fn too_many_failed_validations_stop_orders_and_challenges() {
    let mut desk = Desk::new();
    desk.config.rate_limits.failures_per_account = Some(RATE);
    desk.new_account();
    let (_, view) = desk.new_order(&["open.test"]);
    let Resource::Authorization(open) = desk.resource(&view["authorizations"][0]) else { panic!() };
    fail(&mut desk);
    fail(&mut desk);
    let limited = Err(Problem::RateLimited("failed validations of this account", 50));
    assert_eq!(order(&mut desk), limited);
    let challenge = Route::Of(desk.account(), Resource::Challenge(open, ChallengeType::Http01));
    assert_eq!(desk.post(challenge, &json!({})).map(|reply| reply.status), limited);
    assert!(desk.get(challenge).is_ok(), "reading is free");
    let identifier = json!({"identifier": {"type": "dns", "value": "a.test"}});
    assert_eq!(desk.post(Route::NewAuthorization, &identifier).map(|reply| reply.status), limited);
    desk.now = desk.now.plus(50);
    assert_eq!(order(&mut desk), Ok(201));
}

#[test]
fn a_meter_that_says_nothing_any_more_is_deleted() {
    let mut desk = Desk::new();
    desk.config.rate_limits.orders_per_account = Some(RATE);
    desk.new_account();
    order(&mut desk).unwrap();
    let meters = |desk: &Desk| desk.rows.keys().filter(|key| matches!(key, Key::Meter(_))).count();
    assert_eq!(meters(&desk), 1);
    desk.live_until(desk.now.plus(50));
    assert_eq!(meters(&desk), 0);
}

#[test]
fn without_limits_nothing_is_metered() {
    let mut desk = Desk::new();
    desk.new_account();
    for _ in 0..50 {
        order(&mut desk).unwrap();
    }
    assert!(!desk.rows.keys().any(|key| matches!(key, Key::Meter(_))));
    let client = Some("192.0.2.1".parse().unwrap());
    for route in [Route::NewAccount, Route::NewOrder, Route::NewAuthorization] {
        assert_eq!(question(&desk.rows, route, true, client, &desk.config), Ok(None));
    }
}

#[test]
fn meters_outside_are_asked_only_where_they_must_be() {
    let mut desk = Desk::new();
    desk.new_account();
    let client = Some("2001:db8::7".parse().unwrap());
    desk.config.rate_limits.accounts_per_address = Some(RATE);
    let address = MeterName::Address("2001:db8::".parse().unwrap());
    let asked = MeterQuestion { name: address, take: Some(RATE), failures: None };
    assert_eq!(question(&desk.rows, Route::NewAccount, true, client, &desk.config), Ok(Some(asked)));
    assert_eq!(question(&desk.rows, Route::NewAccount, false, client, &desk.config), Ok(None));

    desk.config.rate_limits.orders_per_binding = Some(RATE);
    desk.config.rate_limits.failures_per_binding = Some(RATE);
    assert_eq!(question(&desk.rows, Route::NewOrder, false, client, &desk.config), Ok(None), "no binding");
    let mut account = AccountRecord::load(&desk.rows, Key::Account).unwrap().unwrap();
    let proof = serde_json::from_value(json!({"protected": "", "payload": "", "signature": ""})).unwrap();
    account.binding = Some(edge::acme::external_account::Binding { key_id: "one".into(), proof, grant: None });
    desk.rows.commit(&[account.put(Key::Account, None).unwrap()]).unwrap();
    let name = MeterName::Binding("one".into());
    let both = MeterQuestion { name: name.clone(), take: Some(RATE), failures: Some(RATE) };
    assert_eq!(question(&desk.rows, Route::NewOrder, false, client, &desk.config), Ok(Some(both)));
    let failures = MeterQuestion { name: name.clone(), take: None, failures: Some(RATE) };
    assert_eq!(question(&desk.rows, Route::NewAuthorization, false, client, &desk.config), Ok(Some(failures)));
    assert_eq!(charged_binding(&desk.rows, &desk.config), Ok(Some((name, RATE))));
    assert!(desk.rows.read(Key::Account).unwrap().is_some());
}
