//! Queues and deadlines in front of a token that is as slow as a USB one.

use std::{thread, time::Duration};

use shared::signing::{IssueReply, Priority, Refusal};

use crate::{
    client::{Edge, simple},
    site::{Site, eventually, stopwatch},
};

const LATENCY: Duration = Duration::from_millis(250);

fn slow_site(issuers: &[&str]) -> Site {
    let mut site = Site::new(issuers);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(issuers, &format!("latency_ms = {}", LATENCY.as_millis()));
    site
}

fn signatures(edge: &Edge) -> u64 {
    edge.status().unwrap().issuers.iter().flat_map(|issuer| &issuer.tokens).map(|token| token.signatures).sum()
}

/// Asks for so many certificates at once and measures signatures a second, from one of the first to the last.
fn rate_under_backlog(site: &Site, jobs: u64) -> f64 {
    let requests: Vec<_> = (0..jobs as usize).map(simple).collect();
    let edge = Edge::new(site);
    let before = signatures(&edge);
    thread::scope(|scope| {
        for asked in &requests {
            scope.spawn(|| Edge::new(site).issued(asked));
        }
        let last = before + jobs;
        let mut first = 0;
        // Right after a signature, so that the measured time has whole ones.
        eventually("the first signatures", || {
            let seen = std::mem::replace(&mut first, signatures(&edge));
            first > before + 1 && first > seen && seen > 0
        });
        let started = stopwatch();
        eventually("the last signature", || signatures(&edge) >= last);
        (last - first) as f64 / started.elapsed().as_secs_f64()
    })
}

#[test]
fn under_backlog_a_token_is_never_idle() {
    let site = slow_site(&["a1"]);
    let _daemon = site.serve();
    let ratio = rate_under_backlog(&site, 40) * LATENCY.as_secs_f64();
    println!("certificates over raw signatures of the token: {ratio:.3}");
    assert!(ratio >= 0.97, "{ratio:.3}");
}

#[test]
fn two_tokens_sign_twice_as_fast_as_one() {
    let site = slow_site(&["a1", "a2"]);
    let _daemon = site.serve();
    let ratio = rate_under_backlog(&site, 60) * LATENCY.as_secs_f64() / 2.0;
    println!("certificates over raw signatures of two tokens: {ratio:.3}");
    assert!(ratio >= 0.95, "{ratio:.3}");
}

#[test]
fn a_renewal_overtakes_a_backlog_and_what_cannot_be_in_time_is_refused_at_once() {
    let site = slow_site(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1000));
    let backlog: Vec<_> = (0..80).map(simple).collect();
    thread::scope(|scope| {
        for asked in &backlog {
            scope.spawn(|| Edge::new(&site).issue(asked));
        }
        eventually("the backlog", || edge.status().unwrap().queued >= 60);

        let started = stopwatch();
        let mut renewal = simple(2000);
        renewal.priority = Priority::Renewal;
        assert!(matches!(edge.issue(&renewal), Ok(IssueReply::Issued(_))));
        // The one in the token, the one prepared behind it, and itself.
        assert!(started.elapsed() < LATENCY * 5, "{:?}", started.elapsed());

        let mut last = simple(2001);
        last.deadline = last.deadline.plus(60);
        let started = stopwatch();
        match edge.issue(&last).unwrap() {
            IssueReply::Queued { retry_after } => assert!((10..=25).contains(&retry_after), "{retry_after}"),
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() < LATENCY * 4, "said at once, with a true estimate");
        let mut hopeless = simple(2002);
        hopeless.deadline = hopeless.deadline.minus(600);
        let started = stopwatch();
        assert_eq!(edge.refusal(&hopeless), Refusal::Busy);
        assert!(started.elapsed() < LATENCY * 2, "refused at once");
    });
}
