//! Certificates that were decided on and not signed before a crash: the policy and the stops of today decide whether they are.

use std::fs;

use shared::signing::{IssueReply, IssueRequest, Refusal};

use crate::{
    client::{Edge, simple},
    site::{Daemon, Site},
};

const OTHER: &str = r#"
[[profile]]
name = "other"
validity_seconds = 86400
backdate_seconds = 60
extended_key_usage = ["serverAuth"]
revocation = "none"
[[scope]]
name = "wide"
open = true
dns_suffixes = ["test"]
wildcards = true
methods = ["http-01", "dns-01"]
profiles = ["server", "other"]
"#;

/// A site whose journal has the intent of this request, by the scope `open` and the profile `server`, and no signature. Today's policy
/// is `change` of a policy in which another scope and another profile give the same.
fn site(change: impl FnOnce(String) -> String) -> (Site, Daemon, Edge, IssueRequest) {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let asked = simple(1);
    Edge::new(&site).issued(&asked);
    daemon.kill();
    // As if the crash had come before the second record.
    let path = site.path("state/journal/00000000.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    fs::write(&path, journal.split_inclusive('\n').next().unwrap()).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let config = site.path("signer.toml");
    fs::write(&config, change(fs::read_to_string(&config).unwrap() + OTHER)).unwrap();
    let daemon = site.serve();
    let edge = Edge::new(&site);
    (site, daemon, edge, asked)
}

fn refusal_of(change: impl FnOnce(String) -> String, ask: impl FnOnce(IssueRequest) -> IssueRequest) -> Refusal {
    let (site, daemon, edge, asked) = site(change);
    let refusal = match edge.issue(&ask(asked)).unwrap() {
        IssueReply::Refused(refused) => refused.reason,
        other => panic!("not refused: {other:?}, {}", daemon.log()),
    };
    assert!(site.events("signed").is_empty());
    let tokens = edge.status().unwrap().issuers.remove(0).tokens;
    assert_eq!(tokens[0].signatures, 0, "no token was asked");
    refusal
}

#[test]
fn an_intent_of_a_scope_that_was_removed_is_not_signed_by_another_scope() {
    let refusal = refusal_of(|text| text.replacen("name = \"open\"", "name = \"renamed\"", 1), |asked| asked);
    assert_eq!(refusal, Refusal::NotPermitted);
}

#[test]
fn an_intent_of_a_scope_that_was_stopped_is_not_signed_by_another_scope() {
    let (site, mut daemon, edge, asked) = site(|text| text);
    daemon.kill();
    site.signer_ok("stop --config signer.toml --scope open");
    let _daemon = site.serve();
    assert_eq!(edge.refusal(&asked), Refusal::Stopped);
    assert!(site.events("signed").is_empty());
}

#[test]
fn an_intent_of_another_profile_than_is_asked_for_is_not_signed() {
    let other = |asked| IssueRequest { profile: "other".parse().unwrap(), ..asked };
    assert_eq!(refusal_of(|text| text, other), Refusal::BadProfile);
}

#[test]
fn an_intent_that_is_longer_than_its_profile_has_become_is_not_signed() {
    let narrow = |text: String| text.replacen("validity_seconds = 86400", "validity_seconds = 43200", 1);
    assert_eq!(refusal_of(narrow, |asked| asked), Refusal::BadProfile);
}

#[test]
fn an_intent_is_signed_as_it_stands_while_its_policy_holds() {
    let (site, _daemon, edge, asked) = site(|text| text);
    let intent = site.events("intent").remove(0);
    let issued = edge.issued(&asked);
    assert_eq!(intent["serial"], serde_json::to_value(issued.serial).unwrap());
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
}
