//! dns-account-01 and dns-persist-01 in the lives of authorizations: what is offered, asked, and judged.

use edge::acme::{
    challenge::{self, ChallengeType},
    dns::DnsFault,
    probe::{Evidence, Probe},
    route::{Resource, Route},
    step::{Effect, Event},
};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::probe_faults::lookup;

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.config.caa_identities = vec!["ca.test".parse().unwrap()];
    desk.config.scopes.open.challenges.extend([ChallengeType::DnsAccount01, ChallengeType::DnsPersist01]);
    desk.new_account();
    desk
}

/// A fresh order of a name, its authorization's resource, and the probe of this challenge of it.
fn waiting(desk: &mut Desk, name: &str, kind: ChallengeType) -> (Resource, Probe) {
    let (_, order) = desk.new_order(&[name]);
    let resource = desk.resource(&order["authorizations"][0]);
    let Resource::Authorization(id) = resource else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, kind)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!("no probe") };
    (resource, probe)
}

fn kinds(view: &Value) -> Vec<&str> {
    view["challenges"].as_array().unwrap().iter().map(|challenge| challenge["type"].as_str().unwrap()).collect()
}

#[test]
fn a_wildcard_has_the_challenges_by_dns_and_a_persistent_one_has_issuers_and_no_token() {
    let mut desk = desk();
    let (_, order) = desk.new_order(&["*.a.test"]);
    let resource = desk.resource(&order["authorizations"][0]);
    let view = desk.read(resource);
    assert_eq!(kinds(&view), ["dns-01", "dns-account-01", "dns-persist-01"]);
    let persistent = &view["challenges"][2];
    assert!(persistent.get("token").is_none());
    assert_eq!(persistent["issuerDomainNames"], json!(["ca.test"]));
    assert_eq!(persistent["issuer-domain-names"], json!(["ca.test"]));
    assert!(view["challenges"][1]["token"].is_string());
    assert!(view["challenges"][1].get("issuerDomainNames").is_none());
}

#[test]
fn a_persistent_challenge_is_not_offered_by_a_ca_without_a_name() {
    let mut desk = Desk::new();
    desk.new_account();
    let (_, order) = desk.new_order(&["a.test"]);
    let resource = desk.resource(&order["authorizations"][0]);
    assert!(!kinds(&desk.read(resource)).contains(&"dns-persist-01"));
}

#[test]
fn each_challenge_asks_at_its_own_name_and_the_right_answer_proves_it() {
    for (kind, label) in [
        (ChallengeType::Dns01, "_acme-challenge."),
        (ChallengeType::DnsAccount01, "._acme-challenge."),
        (ChallengeType::DnsPersist01, "_validation-persist."),
    ] {
        for name in ["a.test", "*.a.test"] {
            let mut desk = desk();
            let (resource, probe) = waiting(&mut desk, name, kind);
            let asked = challenge::question(&probe).unwrap().to_string();
            assert!(asked.starts_with("TXT _") && asked.ends_with(&format!("{label}a.test")), "{asked}");
            let right = desk.right_answer(&probe);
            desk.event(Event::Probed(probe, right)).unwrap();
            assert_eq!(desk.read(resource)["status"], "valid", "{kind:?} {name}");
        }
    }
}

#[test]
fn problems_name_the_question_and_what_came_and_never_a_whole_record() {
    let secret = b"ca.test; accounturi=https://secret.test/1".to_vec();
    let table = [
        (
            ChallengeType::Dns01,
            Err(lookup(DnsFault::Failure(2))),
            "dns",
            "TXT _acme-challenge.a.test: the resolver failed with response code 2 (SERVFAIL).",
        ),
        (
            ChallengeType::Dns01,
            Err(lookup(DnsFault::NoSuchName)),
            "dns",
            "TXT _acme-challenge.a.test: the name does not exist (NXDOMAIN).",
        ),
        (
            ChallengeType::Dns01,
            Err(lookup(DnsFault::Timeout)),
            "dns",
            "TXT _acme-challenge.a.test: no resolver answered in time.",
        ),
        (
            ChallengeType::Dns01,
            Ok(Evidence::Txt(vec![secret.clone()])),
            "incorrectResponse",
            "Found: \"ca.test; account…\" (41 bytes).",
        ),
        (
            ChallengeType::DnsAccount01,
            Ok(Evidence::Txt(vec![secret.clone()])),
            "incorrectResponse",
            "._acme-challenge.a.test: no record has the expected value",
        ),
        (
            ChallengeType::DnsPersist01,
            Ok(Evidence::Txt(vec![secret])),
            "unauthorized",
            "TXT _validation-persist.a.test: of the 1 records the one that names this CA has another accounturi",
        ),
    ];
    for (kind, outcome, expected, detail) in table {
        let mut desk = desk();
        let (resource, probe) = waiting(&mut desk, "a.test", kind);
        desk.event(Event::Probed(probe, outcome)).unwrap();
        let view = desk.read(resource);
        let error = &view["challenges"][0]["error"];
        assert_eq!(error["type"], format!("urn:ietf:params:acme:error:{expected}"), "{error}");
        assert!(error["detail"].as_str().unwrap().contains(detail), "{error}");
        assert!(!view.to_string().contains("secret"));
    }
}

#[test]
fn an_authorization_ends_with_the_record_that_proved_it() {
    let mut desk = desk();
    let (resource, probe) = waiting(&mut desk, "a.test", ChallengeType::DnsPersist01);
    let until = desk.now.plus(7);
    let record = format!("ca.test; accounturi={}; persistUntil={}", probe.account, until.seconds());
    desk.event(Event::Probed(probe, Ok(Evidence::Txt(vec![record.into_bytes()])))).unwrap();
    assert_eq!(desk.read(resource)["expires"], until.to_string());
    desk.now = until.plus(1);
    assert_eq!(desk.read(resource)["status"], "expired");
}
