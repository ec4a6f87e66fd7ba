//! Several perspectives on one challenge: how many must have found its proof, what is kept of each, and what the client hears.

use edge::acme::{
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    dns::DnsFault,
    perspective::{HINTS, Sighting},
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome},
    record::{AuthorizationRecord, Record as _},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Key,
};
use serde_json::{Value, json};
use shared::testing::TestCa;

use crate::desk::{Desk, config_object};
use crate::probe_faults::{late, lookup};

/// The configuration with these perspectives, and this quorum where it is no null.
fn configured(perspectives: &Value, quorum: &Value) -> Result<Config, BadConfig> {
    let mut object = config_object(&TestCa::new(1));
    object["validation"]["perspectives"] = perspectives.clone();
    object["validation"]["quorum"] = quorum.clone();
    Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap())
}

/// A client that waits for its challenge with two perspectives beside the account's object, and the probe.
fn waiting(quorum: &Value) -> (Desk, Probe) {
    let mut desk = Desk::new();
    desk.config.validation = configured(&json!([{"hint": "weur"}, {"hint": "apac"}]), quorum).unwrap().validation;
    desk.new_account();
    let (_, order) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&order["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!("no probe") };
    (desk, probe)
}

fn wrong() -> ProbeOutcome {
    Ok(Evidence::Http { status: 200, body: b"something else".to_vec() })
}

#[test]
fn a_quorum_of_the_outcomes_proves_a_challenge_and_fewer_do_not() {
    for quorum in 1..=3 {
        for found in 0..8_u8 {
            let (mut desk, probe) = waiting(&json!(quorum));
            let right = desk.right_answer(&probe);
            let sighting = |index: usize, from| Sighting {
                from,
                outcome: if found & (1 << index) == 0 { wrong() } else { right.clone() },
            };
            let sightings = ["home", "weur", "apac"].into_iter().enumerate().map(|(index, from)| sighting(index, from));
            desk.event(Event::ProbedFrom(probe.clone(), sightings.collect())).unwrap();
            let authorization = desk.read(Resource::Authorization(probe.authorization));
            let expected = if found.count_ones() >= quorum { "valid" } else { "invalid" };
            assert_eq!(authorization["status"], expected, "{found:b} of a quorum of {quorum}");
        }
    }
}

#[test]
fn without_a_quorum_all_must_find_the_proof() {
    let (mut desk, probe) = waiting(&Value::Null);
    let right = desk.right_answer(&probe);
    let sightings = vec![
        Sighting::at_home(right.clone()),
        Sighting { from: "weur", outcome: right },
        Sighting { from: "apac", outcome: wrong() },
    ];
    desk.event(Event::ProbedFrom(probe.clone(), sightings)).unwrap();
    assert_eq!(desk.read(Resource::Authorization(probe.authorization))["status"], "invalid");
}

#[test]
fn the_account_alone_is_never_enough_for_a_larger_quorum() {
    for (quorum, status) in [(1, "valid"), (2, "invalid")] {
        let (mut desk, probe) = waiting(&json!(quorum));
        let right = desk.right_answer(&probe);
        desk.event(Event::Probed(probe.clone(), right)).unwrap();
        assert_eq!(desk.read(Resource::Authorization(probe.authorization))["status"], status, "{quorum}");
    }
    let (mut desk, probe) = waiting(&json!(1));
    desk.event(Event::ProbedFrom(probe.clone(), Vec::new())).unwrap();
    assert_eq!(desk.read(Resource::Authorization(probe.authorization))["status"], "invalid", "nobody looked");
}

#[test]
fn the_client_hears_who_did_not_find_it_and_the_operator_why() {
    let (mut desk, probe) = waiting(&json!(3));
    let sightings = vec![
        Sighting::at_home(desk.right_answer(&probe)),
        Sighting { from: "weur", outcome: Err(ProbeFault::NoPerspective) },
        Sighting { from: "apac", outcome: wrong() },
    ];
    desk.event(Event::ProbedFrom(probe.clone(), sightings)).unwrap();
    let challenge = desk.read(Resource::Challenge(probe.authorization, ChallengeType::Http01));
    let error = &challenge["error"];
    assert_eq!(error["type"], "urn:ietf:params:acme:error:serverInternal", "{challenge}");
    let detail = error["detail"].as_str().unwrap();
    assert!(detail.ends_with("from 3 places; 1 found the proof and 3 must. Not found from: weur, apac."), "{detail}");
    assert!(!detail.contains("something else"), "{detail}");

    let record = AuthorizationRecord::load(&desk.rows, Key::Authorization(probe.authorization)).unwrap().unwrap();
    let seen = serde_json::to_value(&record.seen).unwrap();
    assert_eq!(seen[0], json!({"from": "home"}));
    let kinds: Vec<_> = seen.as_array().unwrap().iter().map(|seen| seen["problem"]["type"].as_str()).collect();
    let [internal, incorrect] =
        ["serverInternal", "incorrectResponse"].map(|kind| format!("urn:ietf:params:acme:error:{kind}"));
    assert_eq!(kinds, [None, Some(internal.as_str()), Some(incorrect.as_str())]);
}

#[test]
fn who_found_it_is_kept_with_an_authorization_that_was_proved() {
    let (mut desk, probe) = waiting(&json!(2));
    let right = desk.right_answer(&probe);
    let sightings = vec![
        Sighting::at_home(Err(late())),
        Sighting { from: "weur", outcome: right.clone() },
        Sighting { from: "apac", outcome: right },
    ];
    desk.event(Event::ProbedFrom(probe.clone(), sightings)).unwrap();
    let record = AuthorizationRecord::load(&desk.rows, Key::Authorization(probe.authorization)).unwrap().unwrap();
    let problems: Vec<_> = record.seen.iter().map(|seen| (seen.from.as_str(), seen.problem.is_some())).collect();
    assert_eq!(problems, [("home", true), ("weur", false), ("apac", false)]);
}

#[test]
fn a_late_outcome_from_elsewhere_changes_nothing() {
    let (mut desk, probe) = waiting(&json!(1));
    let right = desk.right_answer(&probe);
    desk.event(Event::Probed(probe.clone(), right)).unwrap();
    let before = desk.read(Resource::Authorization(probe.authorization));
    desk.event(Event::ProbedFrom(probe.clone(), vec![Sighting { from: "weur", outcome: wrong() }])).unwrap();
    assert_eq!(desk.read(Resource::Authorization(probe.authorization)), before);
}

#[test]
fn perspectives_are_checked_at_the_start() {
    let all = Value::from(HINTS.map(|hint| json!({"hint": hint})).to_vec());
    assert_eq!(configured(&all, &Value::Null).unwrap().validation.perspectives.quorum, 10);
    let one = json!([{"hint": "weur", "resolvers": ["tcp://192.0.2.1:53"]}]);
    let checked = configured(&one, &json!(1)).unwrap().validation.perspectives;
    assert_eq!((checked.others[0].resolvers.len(), checked.quorum), (1, 1));
    assert_eq!(configured(&json!([]), &Value::Null).unwrap().validation.perspectives.quorum, 1);
    for (perspectives, quorum, expected) in [
        (json!([{"hint": "mars"}]), Value::Null, BadConfig::Hint("mars".into())),
        (json!([{"hint": "WEUR"}]), Value::Null, BadConfig::Hint("WEUR".into())),
        (json!([{"hint": "home"}]), Value::Null, BadConfig::Hint("home".into())),
        (json!([{"hint": "weur"}, {"hint": "weur"}]), Value::Null, BadConfig::Hint("weur".into())),
        (json!([{"hint": "weur", "resolvers": ["x"]}]), Value::Null, BadConfig::Resolver("x".into())),
        (json!([]), json!(0), BadConfig::Quorum(1)),
        (json!([]), json!(2), BadConfig::Quorum(1)),
        (json!([{"hint": "weur"}]), json!(0), BadConfig::Quorum(2)),
        (json!([{"hint": "weur"}]), json!(3), BadConfig::Quorum(2)),
    ] {
        assert_eq!(configured(&perspectives, &quorum).unwrap_err(), expected);
    }
}

#[test]
fn fetching_goes_with_public_networks_alone() {
    let read = |http: &str, networks: &Value| {
        let mut object = config_object(&TestCa::new(1));
        object["validation"]["http"] = json!(http);
        object["validation"]["networks"] = networks.clone();
        let object = serde_json::from_value::<ConfigObject>(object).map_err(|_| None)?;
        Config::try_from(object).map(|_| ()).map_err(Some)
    };
    for way in ["socket", "fetch", "fetch-then-socket"] {
        assert_eq!(read(way, &json!([])), Ok(()), "{way}");
        let listed = read(way, &json!(["10.0.0.0/8"]));
        assert_eq!(listed, if way == "socket" { Ok(()) } else { Err(Some(BadConfig::HttpWay)) }, "{way}");
    }
    assert_eq!(read("curl", &json!([])), Err(None));
}

#[test]
fn the_deployments_own_hosts_are_refused_in_every_scope() {
    let mut object = config_object(&TestCa::new(1));
    object["signers"] = json!([{"binding": "SIGNER_1", "url": "https://10.0.0.7:9443"}]);
    object["external_account_binding"] = json!("optional");
    object["validation"]["refused_networks"] = json!(["10.9.0.0/16"]);
    object["scopes"] = json!({"team": {"bindings": ["a"], "networks": ["10.0.0.0/8"],
        "identifiers": {"dns_suffixes": ["test"], "wildcards": true, "per_order": 3}}});
    let config = Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap()).unwrap();
    let team = serde_json::from_value(json!("team")).unwrap();
    let networks = &config.scopes.named(&team).networks;
    assert!(networks.permit("10.0.0.8".parse().unwrap()));
    for address in ["10.0.0.7", "10.9.0.1", "64:ff9b::10.9.0.1"] {
        assert!(!networks.permit(address.parse().unwrap()), "{address}");
    }
    for scope in [networks, &config.scopes.open.networks] {
        assert!(scope.own.have_name(&"ca.test".parse().unwrap()), "the base URL's host");
    }
}

#[test]
fn probes_and_outcomes_travel_as_json_strictly() {
    let (_, probe) = waiting(&Value::Null);
    let text = serde_json::to_string(&probe).unwrap();
    assert_eq!(serde_json::from_str::<Probe>(&text).unwrap(), probe);
    let mut more: Value = serde_json::from_str(&text).unwrap();
    more["port"] = json!(22);
    assert!(serde_json::from_value::<Probe>(more).is_err());
    let outcomes = [
        wrong(),
        Ok(Evidence::Txt(vec![vec![0, 255], Vec::new()])),
        Err(lookup(DnsFault::Failure(2))),
        Err(ProbeFault::Refused("a.test".to_owned())),
    ];
    for outcome in outcomes {
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<ProbeOutcome>(&text).unwrap(), outcome, "{text}");
    }
    for other in [r#"{"Ok":{"Http":{"status":200}}}"#, r#"{"Ok":"Fine"}"#, r#"{"Err":"Fine"}"#, "true", "{}"] {
        assert!(serde_json::from_str::<ProbeOutcome>(other).is_err(), "{other}");
    }
}
