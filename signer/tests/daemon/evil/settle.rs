//! Records that cost no signature: what `settle` and `bind` leave of orders that were made up, and of what was asked before.

use std::fs;

use shared::{
    signing::{IssueReply, IssueRequest, Refusal, SETTLE_PATH},
    testing::TestKey,
    timestamp::Timestamp,
};

use super::{Attempt, Stage, policy, rewrite};
use crate::{
    client::{csr, request},
    grants::{bind, bindable, key_change, new_binding, opens},
    site::Site,
};

/// Records that the edge has in a day.
const RECORDS: usize = 40;
/// Requests of each kind.
const REQUESTS: usize = 300;

fn stage() -> Stage {
    let site = Site::new(&["a1"]);
    policy(&site);
    rewrite(&site, |text| text.replacen("[[edge]]\n", &format!("[[edge]]\nrecords_per_day = {RECORDS}\n"), 1));
    Stage::of(site)
}

fn bytes(site: &Site) -> u64 {
    site.segments().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

/// A request to settle an order for this name.
fn leased(number: usize, account: &TestKey, csr: &[u8], name: &str) -> IssueRequest {
    let asked = request(number, account, csr, &[name]);
    IssueRequest { lease: Some(Timestamp::from_seconds(asked.deadline.seconds() - 300)), ..asked }
}

#[test]
fn a_flood_of_settlements_fills_neither_disk_nor_memory() {
    let stage = stage();
    let account = TestKey::new(1);
    let (outside, inside) = (csr(&["host.invalid"]), csr(&["host.test"]));
    // Orders that could not be issued: nothing is written but the refusals, which have a bound of their own.
    for number in 0..REQUESTS {
        let reply = stage.edge.settle(&leased(number, &account, &outside, "host.invalid"));
        assert!(matches!(&reply, IssueReply::Refused(refused) if refused.reason == Refusal::NotPermitted), "{reply:?}");
    }
    assert!(stage.site.events("settled").is_empty());
    // The same order again and again, also under leases that end sooner: one record.
    let asked = leased(REQUESTS, &account, &inside, "host.test");
    let mut replies: Vec<_> = (0..REQUESTS).map(|_| stage.edge.settle(&asked)).collect();
    replies.dedup();
    assert!(matches!(replies.as_slice(), [IssueReply::Settled { .. }]), "{replies:?}");
    let sooner = IssueRequest { lease: asked.lease.map(|lease| lease.minus(1)), ..asked.clone() };
    assert!(matches!(stage.edge.settle(&sooner), IssueReply::Refused(refused) if refused.reason == Refusal::Busy));
    assert_eq!(stage.site.events("settled").len(), 1);
    // A later lease each time is a record each time, and so is another order: as many as the edge has.
    let before = bytes(&stage.site);
    let (mut settled, mut busy) = (0, 0);
    for number in 1..=REQUESTS {
        let later = IssueRequest { lease: asked.lease.map(|lease| lease.plus(number as u64)), ..asked.clone() };
        let other = leased(REQUESTS + number, &account, &inside, "host.test");
        for asked in [later, other] {
            match stage.edge.settle(&asked) {
                IssueReply::Settled { .. } => settled += 1,
                IssueReply::Refused(refused) if refused.reason == Refusal::Busy => busy += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((settled + 1, settled + busy), (RECORDS, 2 * REQUESTS));
    assert_eq!(stage.site.events("settled").len(), RECORDS);
    let grown = bytes(&stage.site) - before;
    assert!(grown < 1000 * RECORDS as u64, "{grown} bytes");
    stage.edge.issued(&crate::client::simple(900_000));
}

#[test]
fn a_lease_of_years_is_not_settled() {
    let stage = stage();
    let asked = leased(1, &TestKey::new(1), &csr(&["host.test"]), "host.test");
    let asked = IssueRequest { lease: Some(Timestamp::MAX), ..asked };
    stage.try_each(&[
        Attempt::post("a lease of years", Refusal::Malformed, SETTLE_PATH, &asked).of_order(asked.order.clone())
    ]);
}

#[test]
fn two_key_changes_that_are_replayed_write_as_many_records_as_the_edge_has() {
    let site = Site::new(&["a1"]);
    bindable(&site);
    rewrite(&site, |text| text.replacen("[[edge]]\n", &format!("[[edge]]\nrecords_per_day = {RECORDS}\n"), 1));
    let key = new_binding(&site, "");
    let stage = Stage::of(site);
    let (old, new) = (TestKey::new(1), TestKey::new(2));
    let of_old = bind(&stage.edge, &opens(&key, &old)).unwrap().token;
    let forth = key_change(&old, &new, &old, &of_old);
    let of_new = bind(&stage.edge, &forth).unwrap().token;
    let back = key_change(&new, &old, &new, &of_new);
    for _ in 0..REQUESTS {
        let _ = (bind(&stage.edge, &back), bind(&stage.edge, &forth));
    }
    let records = stage.site.events("bound").len();
    assert!((2..=RECORDS).contains(&records), "{records} records of {} requests", 2 * REQUESTS + 2);
}
