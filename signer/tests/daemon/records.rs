//! The verbs `records` and `disown` over real mutual TLS.

use std::{fs, thread};

use serde_json::json;
use shared::{
    ocsp::CertStatus,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{IssueRequest, Issued, RecordsReply, Refusal, Refused, RevokeReply, Revoked, SignedRecord},
};

use crate::{
    client::{Edge, simple},
    ocsp::{ask, content, response},
    operations::{get, observe},
    revoke::{revoked, simple_revocation},
    site::{EDGE, Site, eventually, issue_identity},
};

/// A site whose certificates have status, with this in its `[[edge]]`.
fn site(more: &str) -> Site {
    let site = Site::new(&["a1"]);
    site.tell_status("");
    allow(&site, more);
    site
}

/// Puts this into the configuration's `[[edge]]`.
pub(crate) fn allow(site: &Site, more: &str) {
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replacen("[[edge]]", &format!("[[edge]]\n{more}"), 1)).unwrap();
}

/// All that was signed for this edge, read from the beginning.
pub(crate) fn read_all(edge: &Edge) -> Vec<SignedRecord> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        match edge.records(from) {
            RecordsReply::Records { certificates, next, length } => {
                all.extend(certificates);
                if next >= length {
                    return all;
                }
                assert!(next > from, "no progress");
                from = next;
            }
            RecordsReply::Refused(refused) => panic!("{refused:?}"),
        }
    }
}

pub(crate) fn disowned(edge: &Edge, serial: SerialNumber) -> Revoked {
    match edge.disown(serial) {
        RevokeReply::Revoked(revoked) => revoked,
        RevokeReply::Refused(refused) => panic!("{refused:?}"),
    }
}

pub(crate) fn refused(edge: &Edge, serial: SerialNumber) -> Refused {
    match edge.disown(serial) {
        RevokeReply::Refused(refused) => refused,
        RevokeReply::Revoked(revoked) => panic!("not refused: {revoked:?}"),
    }
}

fn issue(edge: &Edge, numbers: std::ops::Range<usize>) -> Vec<(IssueRequest, Issued)> {
    numbers.map(simple).map(|order| (order.clone(), edge.issued(&order))).collect()
}

#[test]
fn an_edge_reads_every_certificate_that_was_signed_for_it_from_where_it_stopped() {
    let site = site("");
    // Two or three records a segment.
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replacen("[limits]", "[journal]\nsegment_bytes = 4096\n[limits]", 1))
        .unwrap();
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = issue(&edge, 1..5);
    for _ in 0..2 {
        let read = read_all(&edge);
        assert_eq!(read.len(), issued.len());
        for (record, (order, issued)) in read.iter().zip(&issued) {
            assert_eq!((&record.order, record.serial), (&order.order, issued.serial));
            assert_eq!((record.index, &record.profile), (issued.journal_index, &order.profile));
            assert!(record.revocable && record.at < record.not_after);
            let line = &site.journal()[usize::try_from(record.index).unwrap()];
            assert_eq!(line["at"], serde_json::to_value(record.at).unwrap());
        }
        // Between an intent and its certificate.
        let RecordsReply::Records { certificates, next, length } = edge.records(read[1].index) else { panic!() };
        assert_eq!((certificates.as_slice(), next), (&read[1..], length));
        assert_eq!(length, u64::try_from(site.journal().len()).unwrap());
        for beyond in [length, length + 1, u64::MAX] {
            let nothing = RecordsReply::Records { certificates: Vec::new(), next: beyond, length };
            assert_eq!(edge.records(beyond), nothing);
        }
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
}

#[test]
fn a_certificate_without_pointers_is_not_revocable_and_is_not_disowned() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let (_, issued) = issue(&edge, 1..2).remove(0);
    assert!(!read_all(&edge)[0].revocable);
    let refusal = refused(&edge, issued.serial);
    assert_eq!(refusal.reason, Refusal::BadProfile);
    assert!(refusal.detail.contains("until it expires"), "{refusal:?}");
    // Its client may say so nevertheless, and is not contradicted.
    let by_client = revoked(&edge, &simple_revocation(&issued));
    assert_eq!(disowned(&edge, issued.serial), by_client);
}

#[test]
fn what_nobody_has_is_disowned_once_and_the_responder_and_the_crl_say_so() {
    let site = site("");
    let url = observe(&site);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let (order, issued) = issue(&edge, 1..2).remove(0);
    assert!(!response(&edge, &ask(&issued)).revoked);
    let answers: Vec<_> = thread::scope(|scope| {
        let asking = || disowned(&Edge::new(&site), issued.serial);
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(asking)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first = answers[0].clone();
    assert!(answers.iter().all(|answer| *answer == first), "{answers:?}");
    assert_eq!((first.serial, first.reason), (issued.serial, RevocationReason::Superseded));
    let [record] = site.events("revoked").try_into().unwrap();
    assert_eq!((&record["right"], &record["order"]), (&json!("disowned"), &json!(order.order)));
    assert_eq!((&record["edge"], record.get("key")), (&json!(EDGE), None));
    let (_, metrics) = get(&format!("{url}/metrics"));
    for line in ["colophon_signer_disowned_total 1", "colophon_signer_revocations_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    for _ in 0..2 {
        let bad = response(&edge, &ask(&issued));
        assert!(bad.revoked);
        assert_eq!(content(&bad, &issued).status, CertStatus::Revoked(first.at, RevocationReason::Superseded));
        assert_eq!(disowned(&edge, issued.serial), first);
        assert_eq!(revoked(&edge, &simple_revocation(&issued)), first, "a client that asks later");
        assert_eq!(edge.issued(&order), issued, "the order has its bytes");
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
    assert_eq!((site.events("revoked").len(), site.events("refused").len()), (1, 0));
    assert!(site.signer_ok("journal verify --config signer.toml").contains("1 revoked (1 by no client)"));
    assert!(site.signer_ok("journal stats --config signer.toml").contains("1 of them by no client"));
    let found =
        site.signer_ok(&format!("journal search --config signer.toml --kind revoked --serial {}", issued.serial));
    assert!(found.contains(r#""right":"disowned""#), "{found}");
}

#[test]
fn only_so_many_are_disowned_in_a_day_and_a_restart_forgets_none() {
    let site = site("disowned_per_day = 2");
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let serials: Vec<_> = issue(&edge, 1..5).iter().map(|(_, issued)| issued.serial).collect();
    // Asked for ten times it counts once, and what a client asks for does not count.
    for _ in 0..10 {
        disowned(&edge, serials[0]);
    }
    let (_, of_client) = issue(&edge, 5..6).remove(0);
    revoked(&edge, &simple_revocation(&of_client));
    disowned(&edge, of_client.serial);
    disowned(&edge, serials[1]);
    for _ in 0..2 {
        let refusal = refused(&edge, serials[2]);
        assert_eq!(refusal.reason, Refusal::OverBudget);
        assert!(refusal.detail.contains("2 certificates in 86400 s") && refusal.detail.contains("disowned_per_day"));
        disowned(&edge, serials[0]);
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
    assert_eq!(site.events("revoked").len(), 3);
    // An operator gives more while the daemon runs, and then nothing at all.
    for (instead, expected) in [("disowned_per_day = 3", None), ("disowned_per_day = 0", Some(Refusal::NotPermitted))] {
        let text = fs::read_to_string(site.path("signer.toml")).unwrap();
        let old = text.lines().find(|line| line.starts_with("disowned_per_day")).unwrap().to_owned();
        fs::write(site.path("signer.toml"), text.replacen(&old, instead, 1)).unwrap();
        let serial = if expected.is_none() { serials[2] } else { serials[3] };
        eventually("the new limit holds", || match edge.disown(serial) {
            RevokeReply::Revoked(_) => expected.is_none(),
            RevokeReply::Refused(refused) => Some(refused.reason) == expected,
        });
    }
}

#[test]
fn the_kill_switch_stops_it_and_clients_are_still_heard() {
    let site = site("");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = issue(&edge, 1..3);
    let nobodys = SerialNumber::from_random([9; 16]);
    for what in ["--everything".to_owned(), format!("--edge {EDGE}")] {
        site.signer_ok(&format!("stop --config signer.toml {what}"));
        eventually("it is stopped", || refused(&edge, nobodys).reason == Refusal::Stopped);
        assert_eq!(refused(&edge, issued[0].1.serial).reason, Refusal::Stopped);
        if what == "--everything" {
            revoked(&edge, &simple_revocation(&issued[1].1));
            assert_eq!(read_all(&edge).len(), 2);
        } else {
            assert!(matches!(edge.records(0), RecordsReply::Refused(refused) if refused.reason == Refusal::Stopped));
        }
        site.signer_ok(&format!("resume --config signer.toml {what}"));
        eventually("it goes on", || refused(&edge, nobodys).reason == Refusal::UnknownCertificate);
    }
    eventually("it is revoked", || matches!(edge.disown(issued[0].1.serial), RevokeReply::Revoked(_)));
}

#[test]
fn an_expired_certificate_is_not_disowned_and_is_read_for_ever() {
    let site = site("");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let mut order = simple(1);
    // A request's deadline is ten minutes from now.
    order.not_after = Some(order.deadline.minus(600).plus(4));
    let (issued, end) = (edge.issued(&order), order.not_after);
    eventually("it expires", || Some(simple(0).deadline.minus(600)) > end);
    let refusal = refused(&edge, issued.serial);
    assert_eq!(refusal.reason, Refusal::UnknownCertificate);
    assert!(refusal.detail.contains("expired"), "{refusal:?}");
    assert_eq!(read_all(&edge)[0].serial, issued.serial);
}

#[test]
fn strangers_and_peers_get_nothing() {
    let site = site("");
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let peer = "[[peer]]\nname = \"b\"\nurl = \"https://localhost:1\"\nidentity = \"b.internal\"\n";
    fs::write(site.path("signer.toml"), text + peer).unwrap();
    let _daemon = site.serve();
    let (_, issued) = issue(&Edge::new(&site), 1..2).remove(0);
    for name in ["b.internal", "other.internal"] {
        let caller = Edge::with(&site, Some(&issue_identity(&site.infrastructure, name)));
        assert!(matches!(caller.records(0), RecordsReply::Refused(refused) if refused.reason == Refusal::UnknownEdge));
        assert_eq!(refused(&caller, issued.serial).reason, Refusal::UnknownEdge);
    }
    assert!(site.events("revoked").is_empty());
}
