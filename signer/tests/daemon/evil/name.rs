//! Names: those that no scope gives, and those that the CSR and the order do not agree about.

use std::net::IpAddr;

use serde_json::{Value, json};
use shared::{
    identifier::Identifier,
    signing::{ISSUE_PATH, IssueRequest, Refusal},
    testing::TestKey,
};

use super::{Attempt, Stage};
use crate::client::{request, simple};

/// A request for these names, proved by this method.
pub(super) fn asked(names: &[&str], method: &str) -> IssueRequest {
    let csr = TestKey::new(9).csr(names, "");
    let mut asked = request(1, &TestKey::new(1), &csr, &[]);
    asked.identifiers = names.iter().map(|name| proven(name, method)).collect();
    asked
}

fn proven(name: &str, method: &str) -> shared::signing::ProvenIdentifier {
    let [mut proven] = <[_; 1]>::try_from(simple(1).identifiers).unwrap();
    proven.identifier = match name.parse::<IpAddr>() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.parse().unwrap()),
    };
    method.clone_into(&mut proven.method);
    proven
}

/// A request whose first identifier is this.
fn raw(identifier: Value) -> Value {
    let mut asked = serde_json::to_value(simple(1)).unwrap();
    asked["identifiers"][0]["identifier"] = identifier;
    asked
}

/// Names that no scope gives, proved so.
pub(super) fn outside(_stage: &Stage) -> Vec<Attempt> {
    let refused =
        |name, names: &[&str], method: &str| Attempt::issue(name, Refusal::NotPermitted, &asked(names, method));
    let mut upper = serde_json::to_value(asked(&["host.eviltest"], "dns-01")).unwrap();
    upper["identifiers"][0]["identifier"]["value"] = json!("HOST.EVILTEST");
    vec![
        refused("another suffix", &["host.com"], "dns-01"),
        refused("a suffix that ends alike", &["evilplain.example"], "http-01"),
        refused("a label that ends alike", &["host.eviltest"], "dns-01"),
        Attempt::issue("the same in upper case", Refusal::NotPermitted, &serde_json::from_value(upper).unwrap()),
        refused("the suffix in the middle", &["host.test.evil.com"], "dns-01"),
        refused("a suffix of the suffix", &["example"], "http-01"),
        refused("a sibling of the suffix", &["other.example"], "http-01"),
        refused("a suffix of one label itself", &["test"], "dns-01"),
        refused("a name of one label", &["db1"], "dns-01"),
        refused("one name of two", &["host.test", "host.com"], "dns-01"),
        refused("names of two scopes", &["host.test", "host.plain.example"], "http-01"),
        refused("a wildcard where there is none", &["*.plain.example"], "dns-01"),
        refused("a wildcard, proved by a host", &["*.host.test"], "http-01"),
        refused("a wildcard over a suffix of all", &["*.com"], "dns-01"),
        refused("an address beside the network", &["10.2.0.1"], "http-01"),
        refused("an IPv6 address beside the network", &["fd00:2::1"], "http-01"),
        refused("the loopback address", &["127.0.0.1"], "http-01"),
        refused("an address, proved by DNS", &["10.1.0.1"], "dns-01"),
        refused("a method that the scope does not have", &["host.test"], "tls-alpn-01"),
        refused("a name without proof", &["host.test"], "pre-approved"),
        refused("a method that nobody knows", &["host.test"], "trust-me-01"),
        refused("a method in upper case", &["host.test"], "DNS-01"),
        refused("no method", &["host.test"], ""),
    ]
}

/// What is no name is no request.
pub(super) fn no_names(_stage: &Stage) -> Vec<Attempt> {
    let dns = |name, value: &str| {
        Attempt::post(name, Refusal::Malformed, ISSUE_PATH, &raw(json!({"type": "dns", "value": value})))
    };
    let ip = |name, value: &str| {
        Attempt::post(name, Refusal::Malformed, ISSUE_PATH, &raw(json!({"type": "ip", "value": value})))
    };
    let whole = |name, identifier| Attempt::post(name, Refusal::Malformed, ISSUE_PATH, &raw(identifier));
    vec![
        dns("a dot at the end", "host.test."),
        dns("a dot at the beginning", ".host.test"),
        dns("two dots", "host..test"),
        dns("a NUL", "host.test\0.evil.com"),
        dns("a space", "host.test evil.com"),
        dns("a comma", "host.test,evil.com"),
        dns("a slash", "host.test/evil"),
        dns("an underscore", "_acme.host.test"),
        dns("another script", "h\u{43e}st.test"),
        dns("an A-label that is none", "xn--a.test"),
        dns("two wildcards", "*.*.test"),
        dns("a wildcard within a label", "a*.host.test"),
        dns("a wildcard alone", "*"),
        dns("an address as a name", "10.1.0.1"),
        dns("nothing", ""),
        dns("more than 253 bytes", &format!("{}test", "a.".repeat(200))),
        ip("a network", "10.1.0.0/16"),
        ip("an IPv4 address inside of an IPv6 one", "::ffff:10.1.0.1"),
        ip("an address with zeros before", "010.1.0.1"),
        ip("a name as an address", "host.test"),
        whole("a type that nobody knows", json!({"type": "email", "value": "a@host.test"})),
        whole("a type in upper case", json!({"type": "DNS", "value": "host.test"})),
        whole("more than type and value", json!({"type": "dns", "value": "host.test", "wildcard": true})),
        whole("text", json!("host.test")),
    ]
}

/// Names that the CSR and the order do not both have.
pub(super) fn differing(_stage: &Stage) -> Vec<Attempt> {
    let account = TestKey::new(1);
    let differ = |name, csr: Vec<u8>, names: &[&str]| {
        let mut asked = request(1, &account, &csr, &[]);
        asked.identifiers = names.iter().map(|name| proven(name, "dns-01")).collect();
        Attempt::issue(name, Refusal::NameMismatch, &asked)
    };
    let key = TestKey::new(9);
    let plain = || key.csr(&["a.test"], "");
    vec![
        differ("more identifiers", plain(), &["a.test", "b.test"]),
        differ("fewer identifiers", key.csr(&["a.test", "b.test"], ""), &["a.test"]),
        differ("others", plain(), &["b.test"]),
        differ("none", plain(), &[]),
        differ("one twice", plain(), &["a.test", "a.test"]),
        differ("a name below", plain(), &["x.a.test"]),
        differ("a name above", key.csr(&["x.a.test"], ""), &["a.test"]),
        differ("a wildcard for a name", plain(), &["*.a.test"]),
        differ("a name for a wildcard", key.csr(&["*.a.test"], ""), &["a.test"]),
        differ("an address for a name", plain(), &["10.1.0.1"]),
        differ("a name for an address", key.csr(&["10.1.0.1"], ""), &["a.test"]),
        differ("another address", key.csr(&["10.1.0.1"], ""), &["10.1.0.2"]),
        differ("a CSR without names", key.csr(&[], ""), &["a.test"]),
        differ("a common name that the order does not have", key.csr(&["a.test"], "CN=b.test"), &["a.test"]),
        differ(
            "an address as a common name that the order does not have",
            key.csr(&["a.test"], "CN=10.1.0.1"),
            &["a.test"],
        ),
    ]
}
