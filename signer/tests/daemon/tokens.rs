//! Tokens that fail: wrong PINs, dead and hung workers, tokens that go away and come back.

use std::fs;

use nix::sys::signal::Signal;
use shared::signing::{IssueReply, TokenState};

use crate::{
    client::{Edge, simple},
    site::{Daemon, PIN, Site, eventually, signal, stopwatch},
};

fn logins(daemon: &Daemon) -> usize {
    daemon.log().matches("logging in").count()
}

#[test]
fn a_wrong_pin_is_tried_once_across_three_restarts() {
    let site = Site::new(&["a1"]);
    site.write_secret("pins/a1", "654321");
    let mut tries = 0;
    for _ in 0..3 {
        let mut daemon = site.spawn();
        assert_eq!(daemon.child.wait().unwrap().code(), Some(78), "{}", daemon.log());
        tries += logins(&daemon);
        assert!(!daemon.log().contains("654321"));
    }
    assert_eq!(tries, 1);
    assert!(site.path("state/pin-rejected-a1-0").exists());

    // An operator puts the right one there.
    site.write_secret("pins/a1", PIN);
    let _daemon = site.serve();
    Edge::new(&site).issued(&simple(1));
    assert!(!site.path("state/pin-rejected-a1-0").exists());
}

#[test]
fn pin_ok_has_a_marked_pin_tried_once_more_by_a_daemon_that_runs_and_by_the_next() {
    let site = Site::new(&["a1", "a2"]);
    fs::create_dir_all(site.path("state")).unwrap();
    // As after a crash in the middle of the first login: whatever the mark is of, it counts against every PIN.
    fs::write(site.path("state/pin-rejected-a1-0"), b"{").unwrap();
    let daemon = site.serve();
    let state = || Edge::new(&site).status().unwrap().issuers[0].tokens[0].state;
    eventually("the other token alone", || state() == TokenState::PinRejected);
    assert_eq!(logins(&daemon), 1, "of the other one");
    assert!(site.signer_fails("pin-ok --config signer.toml --token a3-0").contains("there are a1-0, a2-0"));
    let said = site.signer_ok("pin-ok --config signer.toml --token a1-0");
    assert!(said.contains("a1-0: the PIN in") && said.contains("tried once more"), "{said}");
    eventually("both", || state() == TokenState::Ready);

    // What the operator says is not the last word: a PIN that the token rejects is marked again.
    drop(daemon);
    site.write_secret("pins/a1", "654321");
    site.signer_ok("pin-ok --config signer.toml --token a1-0");
    let daemon = site.serve();
    eventually("the rejection", || state() == TokenState::PinRejected);
    assert_eq!(logins(&daemon), 2);
    drop(daemon);
    let daemon = site.serve();
    assert_eq!(logins(&daemon), 1, "only the other one");
}

#[test]
fn a_token_with_a_wrong_pin_does_not_stop_the_others() {
    let site = Site::new(&["a1", "a2"]);
    site.write_secret("pins/a1", "654321");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    let states: Vec<_> = edge.status().unwrap().issuers.iter().map(|issuer| issuer.tokens[0].state).collect();
    assert_eq!(states, [TokenState::PinRejected, TokenState::Ready]);

    site.write_secret("pins/a1", PIN);
    let state = || edge.status().unwrap().issuers[0].tokens[0].state;
    eventually("the token is used when its PIN file was changed", || state() == TokenState::Ready);
}

#[test]
fn a_killed_worker_is_started_again() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    for round in 0..3 {
        let workers = daemon.workers();
        assert_eq!(workers.len(), 1);
        signal(workers[0], Signal::SIGKILL);
        edge.issued(&simple(round));
        assert_ne!(daemon.workers(), workers);
    }
    assert!(edge.status().unwrap().issuers[0].tokens[0].signatures >= 3);
}

#[test]
fn a_hung_worker_is_killed_at_its_deadline_and_the_job_is_not_lost() {
    let site = Site::new(&["a1"]);
    site.write_config(&["a1"], "deadline_ms = 1000");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    let hung = daemon.workers()[0];
    signal(hung, Signal::SIGSTOP);
    let started = stopwatch();
    assert!(matches!(edge.issue(&simple(2)), Ok(IssueReply::Issued(_))), "in the same answer");
    assert!(started.elapsed().as_millis() >= 1000);
    eventually("the hung worker is gone", || !daemon.workers().contains(&hung));
    assert!(daemon.log().contains("no answer within 1000 ms"), "{}", daemon.log());
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (2, 2));
}

#[test]
fn workers_end_with_their_daemon() {
    let site = Site::new(&["a1", "a2"]);
    let mut daemon = site.serve();
    let workers = daemon.workers();
    assert_eq!(workers.len(), 2);
    daemon.kill();
    let lives =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("worker"));
    eventually("the workers are gone", || !workers.iter().any(lives));
}

#[test]
fn a_token_that_goes_away_is_refused_and_used_again_when_it_is_back() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    fs::rename(site.path("tokens"), site.path("unplugged")).unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
    let asked = simple(2);
    let _ = edge.issue(&asked);
    eventually("the token is failed", || edge.status().unwrap().issuers[0].tokens[0].state != TokenState::Ready);
    fs::remove_dir(site.path("tokens")).unwrap();
    fs::rename(site.path("unplugged"), site.path("tokens")).unwrap();
    edge.issued(&asked);
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (2, 2));
}

#[test]
fn a_worker_gets_nothing_but_its_configured_environment() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", daemon.workers()[0])).unwrap();
    assert_eq!(arguments, "signer\0worker\0", "no secret in the arguments");
}

#[test]
fn a_daemon_that_is_told_to_stop_exits_with_zero() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log());
}

#[test]
fn tokens_are_measured_all_at_the_same_time_and_tested_by_three_signatures() {
    let site = Site::new(&["a1", "a2"]);
    let measured = |arguments: &str| -> Vec<serde_json::Value> {
        serde_json::from_str(&site.signer_ok(&format!("{arguments} --config signer.toml --json"))).unwrap()
    };
    let names = |all: &[serde_json::Value]| all.iter().map(|one| one["token"].clone()).collect::<Vec<_>>();
    let bench = measured("bench --seconds 1");
    assert_eq!(names(&bench), ["a1-0", "a2-0"]);
    for one in &bench {
        assert!(one["signatures"].as_u64().unwrap() > 3 && one["rate"].as_f64().unwrap() > 1.0, "{one}");
    }
    let tested = measured("sign-test --token a2-0");
    assert_eq!((names(&tested), &tested[0]["signatures"]), (vec!["a2-0".into()], &3.into()));

    site.write_secret("pins/a1", "654321");
    assert!(site.signer_fails("sign-test --config signer.toml").contains("a1-0 did not sign"));
    assert!(site.path("state/pin-rejected-a1-0").exists(), "and the PIN is not tried again");
    assert!(site.signer_fails("bench --seconds 1 --config signer.toml --token a1-0").contains("rejected before"));
    assert!(site.journal().is_empty(), "nothing was issued");
}
