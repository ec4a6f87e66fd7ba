//! Kills at the worst moments. One order, one certificate, and one revocation of it, whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::Duration,
};

use shared::signing::{IssueReply, Refusal, RevokeReply};

use crate::{
    client::{Edge, csr, simple},
    revoke::{revoked, simple_revocation},
    site::{Site, eventually},
};

#[test]
fn killed_at_ten_random_points_there_is_exactly_one_certificate_for_each_order() {
    let site = Site::new(&["a1"]);
    for round in 0..10_usize {
        let mut daemon = site.serve();
        let asked = simple(round);
        thread::scope(|scope| {
            let pending = scope.spawn(|| Edge::new(&site).issue(&asked));
            // From before the handshake to after the answer.
            thread::sleep(Duration::from_micros(u64::from(random_byte()) * 150));
            daemon.kill();
            let _ = pending.join().unwrap();
        });
        let _daemon = site.serve();
        let edge = Edge::new(&site);
        let issued = edge.issued(&asked);
        assert_eq!(edge.issued(&asked), issued);
    }
    let mut of_order: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for record in site.events("intent") {
        of_order.entry(record["order"].to_string()).or_default().0 += 1;
    }
    for record in site.events("signed") {
        of_order.entry(record["order"].to_string()).or_default().1 += 1;
    }
    assert_eq!(of_order.len(), 10);
    assert!(of_order.values().all(|counts| *counts == (1, 1)), "{of_order:?}");
    site.signer_ok("journal verify --config signer.toml");
}

#[test]
fn an_intent_without_its_signature_is_signed_as_it_stands() {
    let site = Site::new(&["a1", "a2"]);
    let mut daemon = site.serve();
    let (edge, asked) = (Edge::new(&site), simple(1));
    let lost = edge.issued(&asked);
    daemon.kill();
    // As if the crash had come before the second record.
    let path = site.path("state/journal/00000000.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    let (intent, signed) = journal.split_once('\n').unwrap();
    fs::write(&path, format!("{intent}\n{}", &signed[..signed.len() / 2])).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let daemon = site.serve();
    assert!(daemon.log().contains("torn"), "{}", daemon.log());
    let issued = edge.issued(&asked);
    assert_eq!(issued.serial, lost.serial);
    assert_eq!(tbs(&issued.chain[0].0), tbs(&lost.chain[0].0), "the very bytes of the intent");
    assert_eq!(issued.chain[1], lost.chain[1], "by the same issuer");
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
}

#[test]
fn an_intent_without_its_signature_is_not_signed_under_a_policy_that_has_been_narrowed_since() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let (edge, asked) = (Edge::new(&site), simple(1));
    let lost = edge.issued(&asked);
    daemon.kill();
    // As if the crash had come before the second record.
    let path = site.path("state/journal/00000000.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    fs::write(&path, journal.split_inclusive('\n').next().unwrap()).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let config = fs::read_to_string(site.path("signer.toml")).unwrap();
    let other = "[[scope]]\nname = \"other\"\nopen = true\n";
    let narrowed = [
        // The scope is gone; another one would give the same to a new order.
        (config.replace("[[scope]]\nname = \"open\"\nopen = true\n", other), Refusal::NotPermitted),
        (config.replace("validity_seconds = 86400", "validity_seconds = 3600"), Refusal::BadProfile),
    ];
    for (text, refusal) in narrowed {
        assert_ne!(text, config);
        fs::write(site.path("signer.toml"), text).unwrap();
        let _daemon = site.serve();
        assert_eq!(edge.refusal(&asked), refusal);
    }
    fs::write(site.path("signer.toml"), &config).unwrap();
    let daemon = site.serve();
    site.signer_ok("stop --config signer.toml --scope open");
    let mut number = 100;
    eventually("the scope is stopped", || {
        number += 1;
        matches!(edge.issue(&simple(number)), Ok(IssueReply::Refused(refused)) if refused.reason == Refusal::Stopped)
    });
    assert_eq!(edge.refusal(&asked), Refusal::Stopped);
    site.signer_ok("resume --config signer.toml --scope open");
    assert_eq!(edge.issued(&asked).serial, lost.serial, "{}", daemon.log());
}

#[test]
fn killed_at_ten_random_points_there_is_exactly_one_revocation_of_each_certificate() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    for round in 0..10_usize {
        let asked = simple_revocation(&Edge::new(&site).issued(&simple(round)));
        let heard = thread::scope(|scope| {
            let pending = scope.spawn(|| Edge::new(&site).revoke(&asked));
            // From before the handshake to after the answer.
            thread::sleep(Duration::from_micros(u64::from(random_byte()) * 80));
            daemon.kill();
            pending.join().unwrap()
        });
        daemon = site.serve();
        let answer = revoked(&Edge::new(&site), &asked);
        assert_eq!(revoked(&Edge::new(&site), &asked), answer);
        if let Ok(heard) = heard {
            assert_eq!(heard, RevokeReply::Revoked(answer), "what was answered before the kill stays");
        }
    }
    let serials: BTreeSet<_> = site.events("revoked").iter().map(|event| event["serial"].to_string()).collect();
    assert_eq!((serials.len(), site.events("revoked").len()), (10, 10));
    site.signer_ok("journal verify --config signer.toml");
}

#[test]
fn a_revocation_that_was_cut_short_is_none_and_can_be_asked_for_again() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    revoked(&edge, &simple_revocation(&issued));
    daemon.kill();
    // As if the crash had come in the middle of the record.
    let path = site.path("state/journal/00000000.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    let cut = journal.find(r#""revoked""#).unwrap();
    fs::write(&path, &journal[..cut]).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let daemon = site.serve();
    assert!(daemon.log().contains("torn"), "{}", daemon.log());
    assert!(site.events("revoked").is_empty());
    assert_eq!(revoked(&edge, &simple_revocation(&issued)).serial, issued.serial);
    assert_eq!(site.events("revoked").len(), 1);
    site.signer_ok("journal verify --config signer.toml");
}

fn tbs(certificate: &[u8]) -> Vec<u8> {
    use der::{Decode, Encode};
    x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate().to_der().unwrap()
}

/// Different in every round and every run, without a generator: from a fresh key.
fn random_byte() -> u8 {
    csr(&["random.test"]).last().copied().unwrap()
}
