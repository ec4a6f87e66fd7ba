//! Rate limits of an account's own rows, and what is asked of meters outside (RFC 8555 §6.6).

use edge::acme::{
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    object_id::ObjectId,
    problem::Problem,
    rate_limit::{MeterName, MeterQuestion, Rate, charged_binding, question},
    record::{AccountRecord, Record},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::{Key, Rows, Storage},
};
use serde_json::{Value, json};

use crate::{
    desk::{Desk, config_object},
    probe_faults::late,
};

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

/// Challenges that are answered at the same time begin no more validations than may fail.
#[test]
fn of_forty_challenges_at_the_same_time_as_many_are_looked_at_as_may_fail() {
    let mut desk = Desk::new();
    desk.new_account();
    let challenges: Vec<_> = (0..40)
        .map(|_| {
            let (_, view) = desk.new_order(&["a.test"]);
            let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
            Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01))
        })
        .collect();
    desk.config.rate_limits.failures_per_account = Some(Rate { count: 3, seconds: 300 });
    let answers: Vec<_> = challenges.iter().map(|challenge| desk.post(*challenge, &json!({}))).collect();
    let limited = |answer: &&Result<_, Problem>| matches!(answer, Err(Problem::RateLimited(_, 100)));
    assert_eq!((desk.effects.len(), answers.iter().filter(limited).count()), (3, 37));

    // One that succeeds gives its place back, and only once; those that fail keep theirs.
    let mut probes = std::mem::take(&mut desk.effects).into_iter();
    let mut next = || {
        let Some(Effect::Probe(probe)) = probes.next() else { panic!() };
        probe
    };
    let right = next();
    for _ in 0..3 {
        let outcome = desk.right_answer(&right);
        desk.event(Event::Probed(right.clone(), outcome)).unwrap();
    }
    desk.event(Event::Probed(next(), Err(late()))).unwrap();
    desk.event(Event::Probed(next(), Err(late()))).unwrap();
    let again: Vec<_> = challenges.iter().map(|challenge| desk.post(*challenge, &json!({})).is_ok()).collect();
    assert_eq!(desk.effects.len(), 1, "{again:?}");
}

/// A probe whose outcome never comes back has failed in the end, and one that an older version began is counted then.
#[test]
fn a_validation_that_began_uncounted_is_counted_when_it_fails() {
    let mut desk = Desk::new();
    desk.new_account();
    let (_, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    desk.config.rate_limits.failures_per_account = Some(Rate { count: 1, seconds: 1000 });
    desk.restart();
    desk.live_until(desk.now.plus(400));
    assert_eq!(desk.read(Resource::Authorization(id))["status"], "invalid");
    assert!(matches!(order(&mut desk), Err(Problem::RateLimited("failed validations of this account", _))));
}

#[test]
fn new_accounts_are_refused_where_they_are_counted_by_address_and_the_address_is_unknown() {
    let mut desk = Desk::new();
    desk.config.rate_limits.accounts_per_address = Some(RATE);
    desk.config.rate_limits.client_address_header = Some("CF-Connecting-IP".to_owned());
    let asked = question(&desk.rows, Route::NewAccount, true, None, &desk.config);
    assert_eq!(asked, Err(Problem::ClientAddress("CF-Connecting-IP".to_owned())));
    let problem = asked.unwrap_err();
    assert_eq!(problem.status(), 500);
    assert!(problem.log().is_some_and(|line| line.contains("in the header CF-Connecting-IP, which")));
    assert_eq!(question(&desk.rows, Route::NewAccount, false, None, &desk.config), Ok(None), "finding one is free");
}

/// A header that a client can write is no address.
#[test]
fn the_header_of_the_clients_address_is_trusted_only_where_a_proxy_sets_it() {
    let rate = json!({"count": 1, "seconds": 1});
    let read = |limits: Value| {
        let mut object = config_object(&Desk::new().ca);
        object["rate_limits"] = limits;
        Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap())
    };
    let header = "CF-Connecting-IP";
    for limits in [
        json!({"client_address_header": header}),
        json!({"client_address_header": header, "client_address_set_by_proxy": false, "accounts_per_address": rate}),
        json!({"client_address_set_by_proxy": true}),
    ] {
        assert_eq!(read(limits.clone()).err(), Some(BadConfig::AddressTrust), "{limits}");
    }
    assert_eq!(read(json!({"accounts_per_address": rate})).err(), Some(BadConfig::AddressHeader));
    for prefix in [0, 129, 255] {
        assert_eq!(read(json!({"ipv6_prefix": prefix})).err(), Some(BadConfig::Ipv6Prefix), "{prefix}");
    }
    let trusted =
        json!({"client_address_header": header, "client_address_set_by_proxy": true, "accounts_per_address": rate});
    let config = read(trusted).unwrap();
    assert_eq!((config.rate_limits.trusted_address_header(), config.rate_limits.ipv6_prefix), (Some(header), 56));
    assert_eq!(read(json!({})).unwrap().rate_limits.trusted_address_header(), None);
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
    let asked = MeterQuestion { name: address, take: Some(RATE), failures: None, reserves: false };
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
    let both = MeterQuestion { name: name.clone(), take: Some(RATE), failures: Some(RATE), reserves: false };
    assert_eq!(question(&desk.rows, Route::NewOrder, false, client, &desk.config), Ok(Some(both)));
    let failures = MeterQuestion { name: name.clone(), take: None, failures: Some(RATE), reserves: false };
    assert_eq!(question(&desk.rows, Route::NewAuthorization, false, client, &desk.config), Ok(Some(failures.clone())));
    let challenge = Route::Of(desk.account(), Resource::Challenge(ObjectId::of_identifier("x"), ChallengeType::Http01));
    assert_eq!(question(&desk.rows, challenge, false, client, &desk.config), Ok(None), "reading is free");
    let reserved = MeterQuestion { reserves: true, ..failures };
    assert_eq!(question(&desk.rows, challenge, true, client, &desk.config), Ok(Some(reserved)));
    assert_eq!(charged_binding(&desk.rows, &desk.config), Ok(Some((name, RATE))));
    assert!(desk.rows.read(Key::Account).unwrap().is_some());
}
