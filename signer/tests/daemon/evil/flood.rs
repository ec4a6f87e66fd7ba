//! Thousands of orders at once: a budget is what they cost.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use shared::{
    signing::{IssueReply, Refusal},
    testing::TestKey,
};

use super::{Stage, policy, rewrite};
use crate::{
    client::{Edge, csr, request},
    site::Site,
};

/// A tenth of what somebody would try: each costs this test a signature and the signer two verifications without optimization.
const ORDERS: usize = 1_000;
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
