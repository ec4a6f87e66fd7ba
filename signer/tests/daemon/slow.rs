//! Queues and deadlines in front of a token that is as slow as a USB one.

use std::{collections::BTreeSet, fs, sync::Mutex, thread, time::Duration};

use nix::sys::signal::Signal;
use shared::signing::{IssueReply, Priority, Refusal, TokenState};

use crate::{
    client::{Edge, simple},
    clones::{clone_site, tokens, write_tokens},
    evil::of_second,
    leases::{is_refused, later, leased},
    site::{Site, eventually, issue_identity, signal},
};

pub(crate) const LATENCY: Duration = Duration::from_millis(250);

pub(crate) fn slow_site(issuers: &[&str]) -> Site {
    let mut site = Site::new(issuers);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(issuers, &format!("latency_ms = {}", LATENCY.as_millis()));
    site
}

/// Clones of one key, as many as there are labels.
pub(crate) fn slow_clones(labels: &[&str]) -> Site {
    let mut site = clone_site(labels);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site
}

pub(crate) fn signatures(edge: &Edge) -> u64 {
    edge.status().unwrap().issuers.iter().flat_map(|issuer| &issuer.tokens).map(|token| token.signatures).sum()
}

#[test]
fn a_clone_that_hangs_delays_its_own_jobs_alone() {
    let site = slow_clones(&["one", "two"]);
    write_tokens(&site, &["pkcs11:token=one", "pkcs11:token=two"], "latency_ms = 100\ndeadline_ms = 2000");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    eventually("both are ready", || tokens(&edge).iter().all(|token| token.state == TokenState::Ready));
    let requests: Vec<_> = (0..30).map(simple).collect();
    thread::scope(|scope| {
        for asked in &requests {
            scope.spawn(|| Edge::new(&site).issued(asked));
        }
        eventually("the first", || signatures(&edge) >= 4);
        signal(daemon.workers()[0], Signal::SIGSTOP);
    });
    let mut hangs: Vec<_> = tokens(&edge).into_iter().map(|token| (token.hangs, token.failures)).collect();
    hangs.sort_unstable();
    assert_eq!(hangs, [(0, 0), (1, 1)], "each for itself");
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (30, 30));
}

#[test]
fn an_order_that_is_asked_for_a_hundred_times_at_once_gets_one_certificate_of_one_job() {
    let site = slow_site(&["a1"]);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("latency_ms = 250", "latency_ms = 3000")).unwrap();
    let _daemon = site.serve();
    let (asked, answers) = (simple(1), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..100 {
            let (site, asked, answers) = (&site, &asked, &answers);
            scope.spawn(move || {
                let issued = Edge::new(site).issued(asked);
                answers.lock().unwrap().push(issued);
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    let serials: BTreeSet<_> = answers.iter().map(|issued| (issued.serial.to_string(), issued.journal_index)).collect();
    assert_eq!((answers.len(), serials.len()), (100, 1));
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
    assert_eq!(signatures(&Edge::new(&site)), 1);
}

#[test]
fn a_signer_that_is_told_to_stop_under_load_answers_everybody_and_loses_nothing() {
    let site = slow_clones(&["one", "two"]);
    let uris = ["pkcs11:token=one", "pkcs11:token=two"];
    write_tokens(&site, &uris, &format!("latency_ms = {}", LATENCY.as_millis()));
    let mut daemon = site.serve();
    let before: Vec<_> = (100..104).map(simple).map(|asked| Edge::new(&site).issued(&asked)).collect();
    let requests: Vec<_> = (0..40).map(simple).collect();
    let (edge, answers) = (Edge::new(&site), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for asked in &requests {
            let (site, answers) = (&site, &answers);
            scope.spawn(move || {
                let answer = Edge::new(site).issue(asked);
                answers.lock().unwrap().push((asked, answer));
            });
        }
        eventually("a backlog", || {
            let status = edge.status().unwrap();
            status.queued >= 20 && status.queued + 4 + signatures(&edge) >= 44
        });
        assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log());
    });
    let answers = answers.into_inner().unwrap();
    let mut issued = Vec::new();
    let mut refused = 0;
    for (asked, answer) in &answers {
        match answer {
            Ok(IssueReply::Issued(certificate)) => issued.push((*asked, certificate)),
            Ok(IssueReply::Refused(reason)) if reason.reason == Refusal::Unavailable => refused += 1,
            other => panic!("{}: {other:?}", asked.order),
        }
    }
    assert!(issued.len() >= 2 && refused >= 20 && issued.len() + refused == 40, "{} {refused}", issued.len());
    let all = issued.len() + before.len();
    assert_eq!(
        (site.events("intent").len(), site.events("signed").len()),
        (all, all),
        "what a token had begun was ended and answered"
    );

    let _daemon = site.serve();
    let edge = Edge::new(&site);
    for (asked, certificate) in issued {
        assert_eq!(edge.issued(asked), *certificate);
    }
    thread::scope(|scope| {
        for asked in &requests {
            scope.spawn(|| Edge::new(&site).issued(asked));
        }
    });
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (44, 44));
}

#[test]
fn a_signer_that_hung_beyond_the_lease_drops_what_was_in_its_token() {
    let site = slow_site(&["a1"]);
    site.write_config(&["a1"], "latency_ms = 1500");
    let daemon = site.serve();
    let (edge, asked) = (Edge::new(&site), leased(1, 3));
    thread::scope(|scope| {
        let pending = scope.spawn(|| edge.issue(&asked));
        eventually("the intent", || !site.events("intent").is_empty());
        signal(daemon.child.id(), Signal::SIGSTOP);
        thread::sleep(Duration::from_secs(6));
        signal(daemon.child.id(), Signal::SIGCONT);
        assert!(is_refused(&pending.join().unwrap().unwrap(), Refusal::Busy));
    });
    assert!(site.events("signed").is_empty(), "another signer may have signed it");
    assert!(matches!(edge.settle(&asked), IssueReply::Settled { .. }));
    edge.issued(&later(&asked, 600));
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1), "the intent is signed as it stands");
}

#[test]
fn an_edge_that_fills_its_share_of_the_queue_leaves_another_one_its_places_and_its_turns() {
    let site = slow_site(&["a1"]);
    let (file, second) = (site.path("signer.toml"), "second.colophon.internal");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("queue = 1000", "queue = 20\nqueue_per_account = 10\nqueue_for_renewals = 0");
    let more = format!("[[edge]]\nname = \"{second}\"\nbase_urls = [\"https://second.test\"]\n");
    fs::write(&file, text + &more).unwrap();
    let _daemon = site.serve();
    let identity = issue_identity(&site.infrastructure, second);
    let (greedy, other) = (Edge::new(&site), Edge::with(&site, Some(&identity)));
    greedy.issued(&simple(1000));
    let backlog: Vec<_> = (0..30).map(simple).collect();
    let refused = Mutex::new(0_usize);
    thread::scope(|scope| {
        for asked in &backlog {
            scope.spawn(|| {
                if let Ok(IssueReply::Refused(said)) = Edge::new(&site).issue(asked) {
                    assert_eq!(said.reason, Refusal::Busy);
                    *refused.lock().unwrap() += 1;
                }
            });
        }
        eventually("the backlog", || other.status().unwrap().queued >= 8 && *refused.lock().unwrap() > 0);
        let before = site.events("signed").len();
        other.issued(&of_second(2000));
        // The one in the token, the one prepared behind it, and one of a turn.
        assert!(site.events("signed").len() <= before + 5, "it waited for the backlog");
    });
    assert!(refused.into_inner().unwrap() < backlog.len());
    // What is signed makes room again.
    greedy.issued(&simple(3000));
}

#[test]
fn a_renewal_overtakes_a_backlog_and_an_order_that_cannot_be_signed_in_time_is_refused() {
    let site = slow_site(&["a1"]);
    // So slow that a loaded machine sees each signature before the next one.
    site.write_config(&["a1"], "latency_ms = 1000");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1000));
    let backlog: Vec<_> = (0..30).map(simple).collect();
    thread::scope(|scope| {
        for asked in &backlog {
            scope.spawn(|| Edge::new(&site).issue(asked));
        }
        eventually("the backlog", || edge.status().unwrap().queued >= 25);

        let mut last = simple(2011);
        last.deadline = last.deadline.plus(60);
        match edge.issue(&last).unwrap() {
            IssueReply::Queued { retry_after } => assert!((10..=60).contains(&retry_after), "{retry_after}"),
            other => panic!("{other:?}"),
        }
        let mut hopeless = simple(2012);
        hopeless.deadline = hopeless.deadline.minus(600);
        assert_eq!(edge.refusal(&hopeless), Refusal::Busy);

        for number in 2000..2003 {
            let before = signatures(&edge);
            eventually("a signature", || signatures(&edge) > before);
            let before = signatures(&edge);
            let mut renewal = simple(number);
            renewal.priority = Priority::Renewal;
            edge.issued(&renewal);
            // The one in the token, perhaps the one prepared behind it, and the renewal: not the backlog.
            let signed = signatures(&edge) - before;
            assert!((2..=5).contains(&signed), "{signed} signatures until the renewal had its own");
            assert!(edge.status().unwrap().queued > 0, "the backlog outlives the renewal");
        }
    });
}
