//! The kill switch and budgets: what is stopped stops within a second, for what is asked and what already waits.

#[cfg(feature = "slow-token")]
use std::thread;
use std::{fs, time::Duration};

use shared::signing::{IssueReply, Refusal};

use crate::{
    client::{Edge, simple},
    site::{EDGE, HANG, Site, eventually, stopwatch},
};

/// A second where times are judged (`cargo xtask bench signer`); elsewhere only a hang takes longer.
const BOUND: Duration = if cfg!(feature = "measure") { Duration::from_secs(1) } else { HANG };

/// The refusal of a request that is asked again and again until it is refused so; how long that took is bounded.
fn stops_within_the_bound(edge: &Edge, first: usize) {
    let (started, mut number) = (stopwatch(), first);
    loop {
        match edge.issue(&simple(number)) {
            Ok(IssueReply::Refused(refused)) if refused.reason == Refusal::Stopped => break,
            other => assert!(started.elapsed() < BOUND, "{other:?}"),
        }
        number += 1;
    }
    assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
}

#[test]
fn a_scope_an_edge_and_everything_stop_within_a_second_and_go_on() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    for (number, what) in [(100, "--scope open"), (200, &format!("--edge {EDGE}")), (300, "--everything")] {
        site.signer_ok(&format!("stop --config signer.toml {what}"));
        stops_within_the_bound(&edge, number);
        let said = site.signer_ok(&format!("resume --config signer.toml {what}"));
        assert_eq!(said, "nothing is stopped\n");
        eventually("it goes on", || matches!(edge.issue(&simple(number + 50)), Ok(IssueReply::Issued(_))));
    }
    assert_eq!(site.events("stops").len(), 6, "each is journaled");
    assert!(site.signer_fails("stop --config signer.toml --scope opne").contains("no scope opne"));
    assert!(site.signer_fails("stop --config signer.toml").contains("required"));
}

#[test]
fn what_is_to_be_stopped_is_stopped_while_the_configuration_is_broken() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    let good = fs::read_to_string(site.path("signer.toml")).unwrap();
    let broken = [
        good.replace("wildcards = true", "wildcard = true"),
        good.replace("chain = \"issuers/a1.pem\"", "chain = \"issuers/none.pem\""),
        // No TOML, after the line that counts and before it.
        format!("{good}\n[[scope\nname = = 1\n"),
        format!("x = = 1\n{good}"),
    ];
    for (number, text) in broken.iter().enumerate() {
        fs::write(site.path("signer.toml"), text).unwrap();
        let stopped = site.signer("stop --config signer.toml --everything");
        let warning = String::from_utf8(stopped.stderr).unwrap();
        assert!(
            stopped.status.success() && warning.contains("the configuration cannot be used"),
            "{number}: {warning}"
        );
        stops_within_the_bound(&edge, 100 * (number + 1));
        site.signer_ok("resume --config signer.toml --everything");
        eventually("it goes on", || matches!(edge.issue(&simple(100 * (number + 1) + 50)), Ok(IssueReply::Issued(_))));
    }
    // Where there is nothing to read the folder is named, and one that is not there is not made.
    fs::write(site.path("signer.toml"), "nothing\n").unwrap();
    assert!(site.signer_fails("stop --config signer.toml --everything").contains("--state"));
    assert!(site.signer_fails("stop --state stat --everything").contains("no state folder"));
    assert!(!site.path("stat").exists());
    site.signer_ok(&format!("stop --state state --edge {EDGE}"));
    stops_within_the_bound(&edge, 900);
    drop(daemon);
}

/// Asks for a certificate that differs from all others of the test.
#[cfg(feature = "slow-token")]
fn edge_is_stopped(site: &Site) -> bool {
    matches!(Edge::new(site).issue(&simple(49)), Ok(IssueReply::Refused(refused)) if refused.reason == Refusal::Stopped)
}

#[cfg(feature = "slow-token")]
#[test]
fn what_waits_and_what_is_in_the_token_is_not_let_out_and_is_signed_when_it_goes_on() {
    let mut site = Site::new(&["a1"]);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(&["a1"], "latency_ms = 300");
    let daemon = site.serve();
    let jobs: Vec<_> = (0..12).map(simple).collect();
    thread::scope(|scope| {
        for asked in &jobs {
            scope.spawn(|| Edge::new(&site).issue(asked));
        }
        eventually("the first certificate", || !site.events("signed").is_empty());
        site.signer_ok("stop --config signer.toml --everything");
        eventually("the stop holds", || edge_is_stopped(&site));
        let then = site.events("signed").len();
        thread::sleep(Duration::from_millis(900));
        assert_eq!(site.events("signed").len(), then, "nothing is let out any more");
        assert!(then < jobs.len());
    });
    drop(daemon);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    assert_eq!(edge.refusal(&simple(50)), Refusal::Stopped, "across restarts");
    site.signer_ok("resume --config signer.toml --everything");
    eventually("it goes on", || matches!(edge.issue(&simple(51)), Ok(IssueReply::Issued(_))));
    for asked in &jobs {
        edge.issued(asked);
    }
    assert_eq!(site.events("signed").len(), jobs.len() + 1, "each once");
    assert_eq!(site.events("intent").len(), jobs.len() + 1);
}

#[test]
fn a_file_of_stops_that_nobody_understands_stops_everything_until_it_is_right() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    fs::write(site.path("state/stops.json"), "{\"scoops\":[]}").unwrap();
    stops_within_the_bound(&edge, 10);
    assert!(daemon.log().contains("scoops"), "{}", daemon.log());
    fs::remove_file(site.path("state/stops.json")).unwrap();
    eventually("it goes on", || matches!(edge.issue(&simple(90)), Ok(IssueReply::Issued(_))));
}

#[test]
fn a_spent_budget_refuses_across_a_restart_and_costs_no_signature() {
    let site = Site::new(&["a1"]);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let budget = "profiles = [\"server\"]\nkeys = [\"p256\"]\nbudget = { per_day = 3 }\n";
    fs::write(site.path("signer.toml"), text.replace("profiles = [\"server\"]\n", budget)).unwrap();
    let daemon = site.serve();
    let edge = Edge::new(&site);
    let asked: Vec<_> = (0..3).map(simple).collect();
    asked.iter().for_each(|asked| drop(edge.issued(asked)));
    assert_eq!(edge.refusal(&simple(4)), Refusal::OverBudget);
    // What is there is given again.
    edge.issued(&asked[1]);
    drop(daemon);
    let _daemon = site.serve();
    assert_eq!(edge.refusal(&simple(5)), Refusal::OverBudget);
    assert_eq!(site.events("intent").len(), 3);
    assert!(site.journal().iter().all(|record| record["policy"].is_string()), "each record names its policy");
    let policy = edge.status().unwrap().policy;
    assert_eq!(policy.0.len(), 32);
}

#[test]
fn the_policy_says_what_it_would_give_and_why_not() {
    let site = Site::new(&["a1"]);
    let explain = |more: &str| format!("policy explain --config signer.toml --profile server {more}");
    assert_eq!(site.signer_ok(&explain("a.test *.a.test")), "scope open: gives it\n");
    let said = site.signer(&explain("--method http-01 *.a.test"));
    assert_eq!(said.status.code(), Some(1));
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said, "scope open: does not give it: http-01 does not count as proof of *.a.test\n");
    assert!(
        site.signer_ok("policy check --config signer.toml").starts_with("the policy is good; scopes: open; SHA-256 ")
    );
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("wildcards = true", "wildcard = true")).unwrap();
    let said = site.signer_fails("policy check --config signer.toml");
    assert!(said.contains("line") && said.contains("wildcard"), "{said}");
    // What is TOML, and no policy.
    for (from, to) in [("methods = [", "methods = [\"dns-00\", "), ("profiles = [", "profiles = [\"other\", ")] {
        fs::write(site.path("signer.toml"), text.replacen(from, to, 1)).unwrap();
        let said = site.signer_fails("policy check --config signer.toml");
        let (before, _) = text.split_once(from).unwrap();
        let line = before.matches('\n').count() + 1;
        let place = format!("signer.toml:{line}:{}: ", from.len() + 1);
        assert!(said.contains(&place), "{place}: {said}");
    }
}
