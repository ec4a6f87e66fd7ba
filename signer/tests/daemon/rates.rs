//! Measures the share of the signatures of tokens as slow as USB ones that arrives as certificates, and the waits of renewals. Run by
//! `cargo xtask bench signer` alone: other programs that use the processors would be measured, too.

use std::{fs, thread, time::Duration};

use shared::signing::{Priority, TokenState};

use crate::{
    client::{Edge, simple},
    clones::{tokens, write_tokens},
    site::{Site, eventually, stopwatch},
    slow::{LATENCY, signatures, slow_clones, slow_site},
};

/// Asks for so many certificates at once and measures signatures a second, from one of the first to the last.
fn rate_under_backlog(site: &Site, jobs: u64, tokens: u64) -> f64 {
    let requests: Vec<_> = (0..jobs as usize).map(simple).collect();
    let edge = Edge::new(site);
    let before = signatures(&edge);
    thread::scope(|scope| {
        for asked in &requests {
            scope.spawn(|| Edge::new(site).issued(asked));
        }
        // The last of each token may find nothing behind it.
        let last = before + jobs - tokens;
        let mut first = 0;
        // Right after a signature, so that the measured time has whole ones.
        eventually("the first signatures", || {
            let seen = std::mem::replace(&mut first, signatures(&edge));
            first > before + 1 && first > seen && seen > 0
        });
        let started = stopwatch();
        // Whole rounds of all tokens, whose signatures fall where they like.
        let last = last - (last - first) % tokens;
        eventually("the last signature", || signatures(&edge) >= last);
        (last - first) as f64 / started.elapsed().as_secs_f64()
    })
}

/// The best of up to three measurements, as soon as it is enough: what else takes processor time only takes away from a rate.
fn best_rate(enough: f64, measure: impl Fn() -> f64) -> f64 {
    let mut best = f64::NEG_INFINITY;
    for _ in 0..3 {
        best = best.max(measure());
        if best >= enough {
            break;
        }
    }
    best
}

/// The same of what is better when it is less.
fn best_wait(enough: f64, measure: impl Fn() -> f64) -> f64 {
    -best_rate(-enough, || -measure())
}

/// Certificates over raw signatures of so many tokens.
fn share_of_tokens(issuers: &[&str], enough: f64) -> f64 {
    let tokens = issuers.len() as u64;
    best_rate(enough, || {
        let site = slow_site(issuers);
        let _daemon = site.serve();
        let share = rate_under_backlog(&site, 20 + 20 * tokens, tokens) * LATENCY.as_secs_f64() / tokens as f64;
        println!("certificates over raw signatures of {tokens} tokens: {share:.3}");
        share
    })
}

#[test]
fn under_backlog_a_token_is_never_idle() {
    let share = share_of_tokens(&["a1"], 0.97);
    assert!(share >= 0.97, "{share:.3}");
}

#[test]
fn two_tokens_sign_twice_as_fast_as_one() {
    let share = share_of_tokens(&["a1", "a2"], 0.95);
    assert!(share >= 0.95, "{share:.3}");
}

#[test]
fn clones_of_one_key_sign_so_many_times_as_fast_as_one() {
    const LABELS: [&str; 3] = ["one", "two", "three"];
    let site = slow_clones(&LABELS);
    let rate = |number: u64| {
        let uris: Vec<_> = LABELS.iter().take(number as usize).map(|label| format!("pkcs11:token={label}")).collect();
        let uris: Vec<_> = uris.iter().map(String::as_str).collect();
        write_tokens(&site, &uris, &format!("latency_ms = {}", 2 * LATENCY.as_millis()));
        let _ = fs::remove_dir_all(site.path("state"));
        let _daemon = site.serve();
        let edge = Edge::new(&site);
        eventually("all are ready", || tokens(&edge).iter().all(|token| token.state == TokenState::Ready));
        rate_under_backlog(&site, 20 * number, number)
    };
    let one = rate(1);
    let (two, three) = (best_rate(1.95, || rate(2) / one), best_rate(2.9, || rate(3) / one));
    println!("one token {one:.3} a second; two {two:.3} times that, three {three:.3} times");
    assert!(two >= 1.95 && three >= 2.9, "{two:.3} {three:.3}");
}

/// Waits of renewals, one after the other, begun at moments that have nothing to do with the tokens' own; shortest first.
fn waits_of_renewals(edge: &Edge, from: usize) -> Vec<Duration> {
    let mut waits: Vec<_> = (from..from + 20)
        .map(|number| {
            thread::sleep(Duration::from_millis(number as u64 * 97 % 250));
            let mut renewal = simple(number);
            renewal.priority = Priority::Renewal;
            let started = stopwatch();
            edge.issued(&renewal);
            started.elapsed()
        })
        .collect();
    waits.sort_unstable();
    waits
}

/// What renewals wait before a backlog, over what they wait without one: the slowest but one of each.
fn renewals_before_a_backlog() -> f64 {
    let site = slow_site(&["a1", "a2"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    waits_of_renewals(&edge, 1000);
    let idle = waits_of_renewals(&edge, 2000);
    let backlog: Vec<_> = (0..120).map(simple).collect();
    let loaded = thread::scope(|scope| {
        for asked in &backlog {
            scope.spawn(|| Edge::new(&site).issue(asked));
        }
        eventually("the backlog", || edge.status().unwrap().queued >= 100);
        let waits = waits_of_renewals(&edge, 3000);
        assert!(edge.status().unwrap().queued > 0, "the backlog has outlived them");
        waits
    });
    let slow = |waits: &[Duration]| waits[waits.len() - 2].as_secs_f64();
    println!("renewals, idle: {idle:.0?}\nbefore a backlog: {loaded:.0?}");
    slow(&loaded) / slow(&idle)
}

/// One signature is begun already; its own is the second. In between is the moment for which the next job is ready ahead.
#[test]
fn a_renewal_that_comes_to_a_backlog_waits_twice_as_long_as_without_one() {
    let times = best_wait(2.0, renewals_before_a_backlog);
    assert!(times <= 2.0, "{times:.2}");
}
