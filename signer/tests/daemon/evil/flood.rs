//! Thousands of orders at once: a budget is what they cost.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use shared::{
    signing::{IssueReply, OCSP_PATH, Refusal},
    testing::TestKey,
};

use super::{
    Stage,
    connections::{connect, post},
    policy, rewrite,
};
use crate::{
    client::{Edge, csr, request, simple},
    site::{Site, stopwatch},
};

/// A twentieth of what somebody would try: each costs this test a signature and the signer two verifications without optimization.
const ORDERS: usize = 500;
const BUDGET: usize = 25;
const CLIENTS: usize = 4;

#[test]
fn a_flood_of_orders_gets_what_the_budget_has() {
    let site = Site::new(&["a1"]);
    policy(&site);
    let budget = format!("profiles = [\"server\"]\nbudget = {{ per_day = {BUDGET} }}\n");
    rewrite(&site, |text| text.replacen("profiles = [\"server\"]\n", &budget, 1));
    let stage = Stage::of(site);
    let before = stage.spent();
    let (next, names) = (AtomicUsize::new(0), ["host.test"]);
    // One key for all: a CSR for each would only cost the test time.
    let csr = csr(&names);
    let ask = || {
        let (edge, mut heard) = (Edge::new(&stage.site), BTreeMap::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= ORDERS {
                return heard;
            }
            // Accounts cost nothing, so there are many.
            let account = TestKey::new(u8::try_from(number % 250).unwrap());
            let said = match edge.issue(&request(number, &account, &csr, &names)).unwrap() {
                IssueReply::Issued(_) => "issued".to_owned(),
                IssueReply::Queued { .. } => "queued".to_owned(),
                IssueReply::Refused(refused) => format!("{:?}", refused.reason),
                IssueReply::Settled { .. } => "settled".to_owned(),
            };
            *heard.entry(said).or_insert(0_usize) += 1;
        }
    };
    let mut heard = BTreeMap::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        for (said, times) in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *heard.entry(said).or_insert(0) += times;
        }
    });
    let expected = [("issued".to_owned(), BUDGET), (format!("{:?}", Refusal::OverBudget), ORDERS - BUDGET)];
    assert_eq!(heard, BTreeMap::from(expected));
    let after = stage.spent();
    assert_eq!(after.signatures - before.signatures, u64::try_from(BUDGET).unwrap());
    assert_eq!(stage.site.events("signed").len(), BUDGET);
    stage.site.signer_ok("journal verify --config signer.toml");
}

/// Records that one caller's refusals make at once; then there is one a second.
const RECORDS: usize = 1_000;
const REFUSALS: usize = RECORDS + 300;

#[test]
fn a_flood_of_refusals_fills_no_disk() {
    let stage = Stage::new();
    let before = stage.spent();
    let mut stream = connect(&stage.site, &stage.site.edge()).unwrap();
    let started = stopwatch();
    for _ in 0..REFUSALS {
        assert_eq!(post(&mut stream, OCSP_PATH, b"{}").unwrap().0, 400);
    }
    let most = RECORDS + usize::try_from(started.elapsed().as_secs()).unwrap() + 2;
    let records = stage.site.events("refused").len();
    assert!((RECORDS..=most).contains(&records), "{records} records, at most {most} are right");
    thread::sleep(Duration::from_millis(1_100));
    post(&mut stream, OCSP_PATH, b"{}").unwrap();
    let refused = stage.site.events("refused");
    let left_out = refused.iter().filter_map(|record| {
        let (_, after) = record["detail"].as_str()?.split_once("before it ")?;
        after.split(' ').next()?.parse::<usize>().ok()
    });
    assert_eq!(refused.len() + left_out.sum::<usize>(), REFUSALS + 1, "each is counted");
    assert_eq!(stage.spent(), before);
    stage.edge.issued(&simple(1));
}
