//! CAA in the lives of authorizations and orders: looked at after each proof, again before a signature when that was too long
//! ago, and for every name by itself.

use edge::acme::{
    caa::{Property, RecordSet},
    caa_check::{CaaCheck, CaaFindings, CaaSubject},
    caa_climb::{CaaFault, CaaOutcome},
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    dns::DnsFault,
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Key,
};
use serde_json::{Value, json};
use shared::testing::TestCa;

use crate::desk::{Desk, config_object};

/// Seconds after which a name is looked up again.
const RECHECK: u64 = 100;

fn configured(caa: bool, identities: &Value) -> Result<Config, BadConfig> {
    let mut object = config_object(&TestCa::new(1));
    object["validation"]["caa"] = json!(caa);
    object["validation"]["caa_recheck"] = json!(RECHECK);
    object["caa_identities"] = identities.clone();
    Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap())
}

fn desk() -> Desk {
    let mut desk = Desk::new();
    let config = configured(true, &json!(["ca.test"])).unwrap();
    (desk.config.validation, desk.config.caa_identities, desk.config.scopes) =
        (config.validation, config.caa_identities, config.scopes);
    desk.new_account();
    desk
}

fn issue(value: &str) -> CaaOutcome {
    let property = Property { critical: false, tag: "issue".to_owned(), value: value.as_bytes().to_vec() };
    Ok(Some(RecordSet { at: "test".to_owned(), properties: vec![property] }))
}

fn servfail() -> CaaOutcome {
    Err(CaaFault::Lookup { asked: "CAA test".to_owned(), fault: DnsFault::Failure(2) })
}

/// The check that is under way.
fn check(desk: &mut Desk) -> CaaCheck {
    match desk.effects.pop() {
        Some(Effect::CheckCaa(check)) => check,
        other => panic!("{other:?}"),
    }
}

fn found(check: &CaaCheck, outcome: impl Fn(&str) -> CaaOutcome) -> CaaFindings {
    check.names.iter().map(|name| (name.clone(), outcome(name.as_str()))).collect()
}

/// Proves all authorizations of an order, with what is found for each name.
fn prove(desk: &mut Desk, order: &Value, outcome: impl Fn(&str) -> CaaOutcome) {
    for url in order["authorizations"].as_array().unwrap() {
        let Resource::Authorization(id) = desk.resource(url) else { panic!() };
        desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Dns01)), &json!({})).unwrap();
        let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!("no probe") };
        let right = desk.right_answer(&probe);
        desk.event(Event::Probed(probe, right)).unwrap();
        assert_eq!(desk.read(Resource::Authorization(id))["status"], "pending");
        let check = check(desk);
        let findings = found(&check, &outcome);
        desk.event(Event::CaaChecked(check.subject, findings)).unwrap();
    }
}

fn authorization(desk: &mut Desk, order: &Value) -> Value {
    let resource = desk.resource(&order["authorizations"][0]);
    desk.read(resource)
}

#[test]
fn a_proof_counts_only_when_the_records_permit_it_and_the_problem_says_where_and_why() {
    let table = [
        (Ok(None), "valid", "", ""),
        (issue("ca.test"), "valid", "", ""),
        (issue("other.test"), "invalid", "caa", "at test do not permit this certificate: they name other issuers"),
        (issue("ca.test; validationmethods=http-01"), "invalid", "caa", "does not list dns-01"),
        (servfail(), "invalid", "dns", "CAA test: the resolver failed with response code 2 (SERVFAIL)"),
        (Err(CaaFault::TooDeep), "invalid", "dns", "more than 32 labels"),
    ];
    for (outcome, status, kind, detail) in table {
        let mut desk = desk();
        let (_, order) = desk.new_order(&["a.test"]);
        prove(&mut desk, &order, |_| outcome.clone());
        let view = authorization(&mut desk, &order);
        assert_eq!(view["status"], status, "{outcome:?}");
        if status == "invalid" {
            let error = &view["challenges"][0]["error"];
            assert_eq!(error["type"], format!("urn:ietf:params:acme:error:{kind}"));
            assert!(error["detail"].as_str().unwrap().contains(detail), "{error}");
        }
    }
}

#[test]
fn an_authorization_whose_name_nobody_looked_up_is_refused() {
    let mut desk = desk();
    let (_, order) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&order["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Dns01)), &json!({})).unwrap();
    let subject = CaaSubject::Authorization(id, ChallengeType::Dns01);
    let other = CaaFindings::from([("b.test".parse().unwrap(), Ok(None))]);
    desk.event(Event::CaaChecked(subject, other)).unwrap();
    assert_eq!(authorization(&mut desk, &order)["status"], "invalid");
}

#[test]
fn a_lost_check_is_done_again_with_its_probe_and_a_late_one_changes_nothing() {
    let mut desk = desk();
    let (_, order) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&order["authorizations"][0]) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Dns01)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    let right = desk.right_answer(&probe);
    desk.event(Event::Probed(probe.clone(), right.clone())).unwrap();
    let lost = check(&mut desk);
    desk.restart();
    desk.event(Event::Due(Key::Authorization(id))).unwrap();
    assert!(matches!(desk.effects.pop(), Some(Effect::Probe(_))));
    desk.event(Event::Probed(probe, right)).unwrap();
    let check = check(&mut desk);
    assert_eq!(check, lost);
    desk.event(Event::CaaChecked(check.subject, found(&check, |_| Ok(None)))).unwrap();
    desk.event(Event::CaaChecked(lost.subject, found(&lost, |_| servfail()))).unwrap();
    assert_eq!(authorization(&mut desk, &order)["status"], "valid");
}

/// EJBCA issued wildcards of names whose only record forbids everything.
#[test]
fn ejbca_a_wildcard_of_a_name_that_forbids_everything_is_refused() {
    let mut desk = desk();
    let (_, order) = desk.new_order(&["*.a.test"]);
    prove(&mut desk, &order, |name| {
        assert_eq!(name, "a.test");
        issue(";")
    });
    assert_eq!(authorization(&mut desk, &order)["challenges"][0]["error"]["type"], "urn:ietf:params:acme:error:caa");
}

/// Boulder looked one name of an order up as often as the order had names (2020-02-29): three million certificates.
#[test]
fn boulder_2020_an_order_of_three_names_is_refused_when_any_one_of_them_was_turned_bad_after_its_proof() {
    const NAMES: [&str; 3] = ["a.test", "b.test", "c.test"];
    for bad in NAMES {
        for turned in [issue(";"), servfail(), issue("ca.test; accounturi=https://ca.test/acct/other")] {
            let mut desk = desk();
            let (order, view) = desk.new_order(&NAMES);
            prove(&mut desk, &view, |_| issue("ca.test"));
            desk.now = desk.now.plus(RECHECK);
            desk.finalize(order, &NAMES).unwrap();
            let check = check(&mut desk);
            assert_eq!(check.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), NAMES);
            let findings = found(&check, |name| if name == bad { turned.clone() } else { issue("ca.test") });
            desk.event(Event::CaaChecked(check.subject, findings)).unwrap();
            assert!(desk.effects.is_empty(), "no signer is asked");
            let view = desk.read(order);
            assert_eq!(view["status"], "invalid");
            assert_eq!(view["error"]["subproblems"][0]["identifier"]["value"], bad, "{view}");
        }
        // And one that was left out is as bad as one that was turned.
        let mut desk = desk();
        let (order, view) = desk.new_order(&NAMES);
        prove(&mut desk, &view, |_| Ok(None));
        desk.now = desk.now.plus(RECHECK);
        desk.finalize(order, &NAMES).unwrap();
        let check = check(&mut desk);
        let mut findings = found(&check, |_| Ok(None));
        findings.remove(&bad.parse().unwrap());
        desk.event(Event::CaaChecked(check.subject, findings)).unwrap();
        assert_eq!(desk.read(order)["status"], "invalid");
    }
}

#[test]
fn names_are_looked_up_again_only_when_that_was_too_long_ago_and_a_lost_check_before_any_signature() {
    let mut desk = desk();
    let (order, view) = desk.new_order(&["a.test"]);
    prove(&mut desk, &view, |_| Ok(None));
    desk.now = desk.now.plus(RECHECK - 1);
    desk.finalize(order, &["a.test"]).unwrap();
    desk.question();

    let (order, view) = desk.new_order(&["b.test"]);
    prove(&mut desk, &view, |_| Ok(None));
    desk.now = desk.now.plus(RECHECK);
    desk.finalize(order, &["b.test"]).unwrap();
    let lost = check(&mut desk);
    let Resource::Order(id) = order else { panic!() };
    desk.restart();
    desk.event(Event::Due(Key::Order(id))).unwrap();
    let check = check(&mut desk);
    assert_eq!(check, lost);
    desk.event(Event::CaaChecked(check.subject, found(&check, |_| Ok(None)))).unwrap();
    // From now on the signer is asked, and a late outcome changes nothing.
    desk.question();
    desk.event(Event::CaaChecked(lost.subject, found(&lost, |_| servfail()))).unwrap();
    desk.event(Event::Due(Key::Order(id))).unwrap();
    let question = desk.question();
    let answer = desk.signer_answer(&question);
    desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
    assert_eq!(desk.read(order)["status"], "valid");
}

#[test]
fn who_looks_at_records_says_who_it_is() {
    assert!(matches!(configured(true, &json!([])), Err(BadConfig::CaaIdentities(_))));
    for bad in [json!(["*.ca.test"]), json!(["ca test"]), json!(vec!["ca.test"; 11])] {
        assert!(matches!(configured(false, &bad), Err(BadConfig::CaaIdentities(_))), "{bad}");
    }
    assert!(configured(false, &json!([])).is_ok());
}
