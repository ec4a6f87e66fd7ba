//! Which identifiers an order may have: names, names of one label, and addresses (RFC 8555 §7.1.3, RFC 8738).

use std::collections::BTreeSet;

use edge::acme::{
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    problem::Problem,
    route::{Resource, Route},
    step::{Body, Effect, Event},
};
use serde_json::{Value, json};
use shared::{
    base64url::Base64Url,
    identifier::{Identifier, IdentifierObject},
    network::NotANetwork,
    testing::TestCa,
};

use crate::desk::{Desk, config_object, json_of};

fn dns(value: &str) -> Value {
    json!({"type": "dns", "value": value})
}

fn ip(value: &str) -> Value {
    json!({"type": "ip", "value": value})
}

/// A desk of an estate that has addresses and names of one label, with an account.
fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.config.scopes.open.identifiers.ip_networks =
        ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
    desk.config.scopes.open.identifiers.single_labels = true;
    desk.new_account();
    desk
}

fn order(desk: &mut Desk, identifiers: &[Value]) -> Result<(Resource, Value), Problem> {
    let reply = desk.post(Route::NewOrder, &json!({"identifiers": identifiers}))?;
    Ok((desk.resource(&json!(reply.location.clone().unwrap())), json_of(&reply)))
}

/// Finalizes, lets the signer answer, and gives the names that the certificate carries.
fn certified(desk: &mut Desk, order: Resource, names: &[&str], subject: &str) -> BTreeSet<Identifier> {
    let Resource::Order(id) = order else { panic!() };
    let csr = Base64Url(desk.subject_key.csr(names, subject));
    desk.post(Route::Of(desk.account(), Resource::Finalize(id)), &json!({"csr": csr})).unwrap();
    let question = desk.question();
    let answer = desk.signer_answer(&question);
    desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
    let view = desk.read(order);
    let certificate = desk.resource(&view["certificate"]);
    let Body::PemChain(pem) = desk.get(Route::Of(desk.account(), certificate)).unwrap().body else { panic!() };
    let (_, der) =
        der::pem::decode_vec(pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().as_bytes()).unwrap();
    desk.ca.chain.verify_leaf(&der).unwrap().names
}

#[test]
fn an_address_is_proved_over_http_at_that_address_and_never_by_dns() {
    for (address, subject) in
        [("10.1.2.3", ""), ("10.1.2.3", "CN=10.1.2.3"), ("fd00::1", ""), ("fd00::1", "CN=fd00::1")]
    {
        let mut desk = desk();
        let (resource, view) = order(&mut desk, &[ip(address)]).unwrap();
        assert_eq!(view["identifiers"], json!([ip(address)]));
        let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
        let shown = desk.read(Resource::Authorization(id));
        assert_eq!(shown["identifier"], ip(address));
        assert!(shown.get("wildcard").is_none());
        let kinds: Vec<_> = shown["challenges"].as_array().unwrap().iter().map(|one| one["type"].clone()).collect();
        assert!(kinds.contains(&json!("http-01")) && !kinds.contains(&json!("dns-01")), "{kinds:?}");
        let by_dns = Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Dns01));
        assert_eq!(desk.post(by_dns, &json!({})), Err(Problem::NotFound));
        assert!(desk.effects.is_empty());

        let by_http = Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01));
        desk.post(by_http, &json!({})).unwrap();
        let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!("no probe") };
        let identifier = Identifier::Ip(address.parse().unwrap());
        assert_eq!(probe.identifier, identifier);
        let outcome = desk.right_answer(&probe);
        desk.event(Event::Probed(probe, outcome)).unwrap();
        assert_eq!(certified(&mut desk, resource, &[address], subject), BTreeSet::from([identifier]));
    }
}

#[test]
fn an_order_may_have_names_and_addresses_each_once() {
    let mut desk = desk();
    let identifiers = [dns("Db1"), ip("10.0.0.1"), dns("db1")];
    let (resource, view) = order(&mut desk, &identifiers).unwrap();
    assert_eq!(view["identifiers"], json!([dns("db1"), ip("10.0.0.1")]));
    assert_eq!(view["authorizations"].as_array().unwrap().len(), 2);
    desk.prove(&view, ChallengeType::Http01);
    for (names, how) in [
        (&["db1"][..], "it lacks 10.0.0.1."),
        (&["db1", "10.0.0.2"], "it lacks 10.0.0.1, and it has 10.0.0.2, which the order does not name."),
        (&["db1", "10.0.0.1", "b.test"], "it has b.test, which the order does not name."),
        (&[], "it lacks db1, 10.0.0.1."),
    ] {
        let problem = desk.finalize(resource, names).unwrap_err();
        assert!(matches!(problem, Problem::CsrNames(_)), "{problem:?}");
        let detail = problem.document().detail;
        assert_eq!(detail, format!("The names in the CSR must be exactly the order's identifiers: {how}"));
    }
    let names = certified(&mut desk, resource, &["10.0.0.1", "db1"], "CN=db1");
    assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db1", "10.0.0.1"]);
}

#[test]
fn identifiers_are_counted_as_they_are_sent() {
    let mut desk = desk();
    assert!(order(&mut desk, &[dns("a.test"), dns("A.test"), dns("a.TEST")]).is_ok());
    let four = [dns("a.test"), dns("a.test"), dns("a.test"), dns("a.test")];
    assert_eq!(order(&mut desk, &four), Err(Problem::IdentifierCount(3)));
    assert_eq!(order(&mut desk, &[]), Err(Problem::IdentifierCount(3)));
}

#[test]
fn an_address_is_authorized_in_advance_like_a_name() {
    let mut desk = desk();
    let reply = desk.post(Route::NewAuthorization, &json!({"identifier": ip("fd00::1")})).unwrap();
    let Resource::Authorization(id) = desk.resource(&json!(reply.location.unwrap())) else { panic!() };
    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    let outcome = desk.right_answer(&probe);
    desk.event(Event::Probed(probe, outcome)).unwrap();
    assert_eq!(order(&mut desk, &[ip("fd00::1")]).unwrap().1["status"], "ready");
    assert_eq!(order(&mut desk, &[ip("fd00::2")]).unwrap().1["status"], "pending");
}

/// What is wrong with an identifier, the error type, and words that nothing else is refused with.
fn refusals() -> Vec<(Value, &'static str, &'static str)> {
    let long_label = format!("{}.test", "a".repeat(64));
    let long_name = format!("{}test", "a.".repeat(125));
    vec![
        (dns(""), "malformed", "The name is empty."),
        (dns("a..test"), "malformed", "A label is empty"),
        (dns("a.test."), "malformed", "Leave out the dot at the end."),
        (dns(&long_label), "malformed", "at most 63 bytes"),
        (dns(&long_name), "malformed", "at most 253 bytes"),
        (dns("bücher.test"), "malformed", "as A-labels (xn--…)"),
        (dns("xn--a.test"), "malformed", "is not an A-label"),
        (dns("a_b.test"), "malformed", "has no underscore"),
        (dns("-a.test"), "malformed", "ends with a hyphen"),
        (dns("a b.test"), "malformed", "letters, digits and hyphens only"),
        (dns("a.*.test"), "malformed", "the whole first label"),
        (dns("a*.test"), "malformed", "the whole first label"),
        (dns("*.10.0.0.1"), "malformed", "never over an address"),
        (ip("*.10.0.0.1"), "malformed", "never over an address"),
        (dns("10.0.0.1"), "malformed", "of type \"ip\""),
        (dns("fd00::1"), "malformed", "of type \"ip\""),
        (ip("10.0.0.01"), "malformed", "canonical text form"),
        (ip("FD00::1"), "malformed", "canonical text form"),
        (ip("a.test"), "malformed", "canonical text form"),
        (ip("::ffff:10.0.0.1"), "malformed", "give the IPv4 address"),
        (ip("192.0.2.1"), "rejectedIdentifier", "for this address"),
        (dns("a.example"), "rejectedIdentifier", "for this name"),
        (dns("*.db1"), "rejectedIdentifier", "for this name"),
        (json!({"type": "email", "value": "a@b.test"}), "unsupportedIdentifier", "\"dns\" and \"ip\" are known"),
    ]
}

#[test]
fn every_reason_has_words_of_its_own_in_orders_and_in_advance() {
    let table = refusals();
    let all_words: BTreeSet<_> = table.iter().map(|(_, _, words)| *words).collect();
    for (identifier, kind, words) in table {
        let mut desk = desk();
        let commits = desk.rows.commits;
        let in_order = order(&mut desk, &[dns("a.test"), identifier.clone()]).unwrap_err();
        let in_advance = desk.post(Route::NewAuthorization, &json!({"identifier": identifier})).unwrap_err();
        for problem in [in_order, in_advance] {
            let document = problem.document();
            assert_eq!(document.kind, format!("urn:ietf:params:acme:error:{kind}"), "{identifier}");
            let [about] = document.subproblems.as_slice() else { panic!("{document:?}") };
            assert_eq!(about.kind, document.kind);
            assert_eq!(serde_json::to_value(about.identifier.as_ref().unwrap()).unwrap(), identifier);
            let found: Vec<_> = all_words.iter().filter(|words| about.detail.contains(**words)).collect();
            assert_eq!(found, [&words], "{identifier}: {}", about.detail);
        }
        assert_eq!(desk.rows.commits, commits);
    }
}

#[test]
fn names_of_one_label_wildcards_and_addresses_are_a_choice_of_the_operator() {
    let table = [
        (dns("db1"), "rejectedIdentifier", "of one label"),
        (dns("test"), "rejectedIdentifier", "of one label"),
        (dns("*.a.test"), "rejectedIdentifier", "does not permit wildcards"),
        (ip("10.0.0.1"), "unsupportedIdentifier", "Only identifiers of type \"dns\""),
    ];
    for (identifier, kind, words) in table {
        let mut desk = Desk::new();
        desk.config.scopes.open.identifiers.wildcards = false;
        desk.new_account();
        let document = order(&mut desk, std::slice::from_ref(&identifier)).unwrap_err().document();
        assert_eq!(document.kind, format!("urn:ietf:params:acme:error:{kind}"), "{identifier}");
        assert!(document.subproblems[0].detail.contains(words), "{}", document.subproblems[0].detail);
        assert!(order(&mut self::desk(), &[identifier]).is_ok());
    }
}

#[test]
fn identifiers_that_differ_in_their_reasons_are_refused_together() {
    let mut desk = desk();
    let document = order(&mut desk, &[dns("a_b.test"), dns("a.test"), ip("192.0.2.1")]).unwrap_err().document();
    assert_eq!(document.kind, "urn:ietf:params:acme:error:rejectedIdentifier");
    let about: Vec<IdentifierObject> = document.subproblems.into_iter().filter_map(|sub| sub.identifier).collect();
    assert_eq!(serde_json::to_value(about).unwrap(), json!([dns("a_b.test"), ip("192.0.2.1")]));
}

#[test]
fn a_wildcard_in_advance_is_told_to_make_an_order() {
    let mut desk = desk();
    let refused = desk.post(Route::NewAuthorization, &json!({"identifier": dns("*.a.test")})).unwrap_err().document();
    assert_eq!(refused.kind, "urn:ietf:params:acme:error:rejectedIdentifier");
    assert!(refused.subproblems[0].detail.contains("Make an order"), "{refused:?}");
}

#[test]
fn a_network_that_is_none_is_found_at_the_start() {
    let read = |table: &str, key: &str, value: Value| {
        let mut object = config_object(&TestCa::new(1));
        object[table][key] = value;
        Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap())
    };
    for (table, key) in [("identifiers", "ip_networks"), ("validation", "networks")] {
        let config = read(table, key, json!(["10.0.0.0/8", "::1/128"])).unwrap();
        let both = [config.scopes.open.identifiers.ip_networks.len(), config.scopes.open.networks.listed.len()];
        assert_eq!(both, if table == "identifiers" { [2, 0] } else { [0, 2] });
        let error = read(table, key, json!(["10.0.0.0/8", "10.0.0.1/8"])).unwrap_err();
        let name = if table == "identifiers" { "identifiers.ip_networks" } else { "validation.networks" };
        assert_eq!(error, BadConfig::Network(name, "10.0.0.1/8".into(), NotANetwork));
        assert!(error.to_string().starts_with(&format!("{name}: \"10.0.0.1/8\": a network is")), "{error}");
    }
}
