//! Everything that can be replaced is replaced while requests are under way, and none of them fails.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use nix::sys::signal::Signal;
use rcgen::{CertifiedIssuer, KeyPair};
use shared::signing::{IssueReply, Refusal};

use crate::{
    client::{Edge, simple},
    site::{Daemon, EDGE, Site, eventually, infrastructure_ca, issue_identity, signal},
};

const ROTATIONS: usize = 100;

/// Over the old file in one step, as tools that write certificates do.
fn replace(site: &Site, name: &str, content: &str) {
    let new = site.path(&format!("{name}.new"));
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, site.path(name)).unwrap();
}

fn rotated(daemon: &Daemon) -> usize {
    daemon.log().matches(" rotated ").count()
}

/// Roots in one file, the old and the new one.
fn roots(infrastructures: &[&CertifiedIssuer<'static, KeyPair>]) -> String {
    infrastructures.iter().map(|one| one.pem()).collect()
}

#[test]
fn a_hundred_rotations_under_load_fail_no_request() {
    let mut site = Site::new(&["a1"]);
    let daemon = site.serve();
    // Four clients ask all the time, each with a connection of its own that it keeps when it may.
    let first = site.edge();
    let (mut old, stopped) = (infrastructure_ca(), AtomicBool::new(false));
    let (asked, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::mem::swap(&mut old, &mut site.infrastructure);
    let trusted = roots(&[&old, &site.infrastructure]);
    replace(&site, "tls/clients.pem", &trusted);
    signal(daemon.child.id(), Signal::SIGHUP);
    eventually("the first rotation", || rotated(&daemon) == 1);
    let second = site.edge();
    thread::scope(|scope| {
        for client in 0..4 {
            let identity = if client % 2 == 0 { &first } else { &second };
            let (edge, stopped, asked, failed) = (Edge::trusting(&site, &trusted, identity), &stopped, &asked, &failed);
            scope.spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    match edge.issue(&simple(number)) {
                        Ok(IssueReply::Issued(_)) => {}
                        other => {
                            eprintln!("{other:?}");
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        for rotation in 0..ROTATIONS {
            let infrastructure = if rotation % 2 == 0 { &site.infrastructure } else { &old };
            let server = issue_identity(infrastructure, "localhost");
            replace(&site, "tls/signer.key", &server.key);
            replace(&site, "tls/signer.pem", &server.certificate);
            let text = fs::read_to_string(site.path("signer.toml")).unwrap();
            let text =
                text.replace("dns_suffixes = [\"test\"", &format!("dns_suffixes = [\"test\", \"r{rotation}.example\""));
            replace(&site, "signer.toml", &text);
            signal(daemon.child.id(), Signal::SIGHUP);
            eventually("a rotation", || rotated(&daemon) == rotation + 2);
        }
        stopped.store(true, Ordering::Relaxed);
    });
    let (asked, failed) = (asked.into_inner(), failed.into_inner());
    println!("{asked} requests in {ROTATIONS} rotations, {failed} failed");
    assert_eq!(failed, 0);
    assert!(asked > ROTATIONS, "there was a load: {asked}");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    let bad = [("tls/signer.pem", "no certificate"), ("signer.toml", "unknown = 1"), ("tls/clients.pem", "")];
    for (number, (file, content)) in bad.into_iter().enumerate() {
        let good = fs::read_to_string(site.path(file)).unwrap();
        replace(&site, file, content);
        signal(daemon.child.id(), Signal::SIGHUP);
        eventually("a refusal", || {
            let log = daemon.log();
            let refused = log.lines().rfind(|line| line.contains("rotation refused")).unwrap_or_default();
            refused.contains(file)
        });
        assert!(matches!(Edge::new(&site).issue(&simple(number)), Ok(IssueReply::Issued(_))), "{file}");
        replace(&site, file, &good);
    }
    assert!(matches!(edge.issue(&simple(9)), Ok(IssueReply::Issued(_))));
}

#[test]
fn an_edge_that_is_taken_out_is_refused_on_its_open_connection_and_back_without_a_signal() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    let good = fs::read_to_string(site.path("signer.toml")).unwrap();
    replace(&site, "signer.toml", &good.replace(EDGE, "another.colophon.internal"));
    signal(daemon.child.id(), Signal::SIGHUP);
    eventually("the rotation", || rotated(&daemon) == 1);
    assert_eq!(edge.refusal(&simple(2)), Refusal::UnknownEdge);
    // Without a signal: the file itself is noticed.
    replace(&site, "signer.toml", &good);
    eventually("the rotation", || rotated(&daemon) == 2);
    edge.issued(&simple(2));
}

#[test]
fn what_needs_a_start_is_named() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    replace(&site, "signer.toml", &text.replace("queue = 1000", "queue = 999"));
    signal(daemon.child.id(), Signal::SIGHUP);
    eventually("the warning", || {
        daemon.log().contains("take effect at the next start") && daemon.log().contains("limits")
    });
}
