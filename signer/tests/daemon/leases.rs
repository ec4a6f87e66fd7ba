//! Orders that may go to another signer: what is settled, and what its lease does not cover, is not signed, whatever crashes.

use shared::{
    signing::{IssueReply, IssueRequest, Refusal},
    testing::TestKey,
    timestamp::Timestamp,
};

use crate::{
    client::{Edge, csr, request, simple},
    site::Site,
};

/// A request with a lease that ends so many seconds from now, or so many before.
pub(crate) fn leased(number: usize, seconds: i64) -> IssueRequest {
    let asked = simple(number);
    let until = (asked.deadline.seconds() - 600).checked_add_signed(seconds).unwrap();
    IssueRequest { lease: Some(Timestamp::from_seconds(until)), ..asked }
}

pub(crate) fn later(asked: &IssueRequest, seconds: u64) -> IssueRequest {
    IssueRequest { lease: asked.lease.map(|lease| lease.plus(seconds)), ..asked.clone() }
}

pub(crate) fn is_refused(reply: &IssueReply, reason: Refusal) -> bool {
    matches!(reply, IssueReply::Refused(refused) if refused.reason == reason)
}

#[test]
fn what_was_settled_is_not_signed_after_a_crash_either_but_under_a_later_lease() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let asked = leased(1, 300);
    assert!(matches!(edge.settle(&asked), IssueReply::Settled { .. }));
    assert!(is_refused(&edge.issue(&asked).unwrap(), Refusal::Busy));
    daemon.kill();
    let _daemon = site.serve();
    // A request that was on its way for long.
    assert!(is_refused(&edge.issue(&asked).unwrap(), Refusal::Busy));
    assert!(matches!(edge.settle(&asked), IssueReply::Settled { .. }), "asking again is harmless");
    let again = later(&asked, 1);
    let issued = edge.issued(&again);
    match edge.settle(&again) {
        IssueReply::Issued(settled) => assert_eq!(settled, issued),
        other => panic!("{other:?}"),
    }
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
    site.signer_ok("journal verify --config signer.toml");
}

#[test]
fn a_lease_that_is_over_gets_what_is_signed_and_nothing_else() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let asked = leased(1, -5);
    assert!(is_refused(&edge.issue(&asked).unwrap(), Refusal::Busy));
    assert!(site.events("intent").is_empty());
    let issued = edge.issued(&later(&asked, 300));
    assert_eq!(edge.issued(&asked), issued, "the order's certificate is the order's");
    let without = IssueRequest { lease: None, ..simple(2) };
    assert!(is_refused(&edge.settle(&without), Refusal::Malformed));
}

#[test]
fn settling_writes_one_record_for_a_lease_and_none_for_an_order_that_the_policy_refuses() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    let records = || (site.events("settled").len(), site.events("refused").len());
    let asked = leased(1, 300);
    let indices: Vec<_> = (0..50)
        .map(|_| match edge.settle(&asked) {
            IssueReply::Settled { journal_index } => journal_index,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(indices.iter().all(|index| *index == indices[0]), "{indices:?}");
    let sooner = IssueRequest { lease: asked.lease.map(|lease| lease.minus(100)), ..asked.clone() };
    assert!(is_refused(&edge.settle(&sooner), Refusal::Busy), "a lease that ends before it");
    assert_eq!(records(), (1, 0));
    assert!(matches!(edge.settle(&later(&asked, 1)), IssueReply::Settled { .. }), "a later one is news");
    assert_eq!(records(), (2, 0));

    // Invented: another profile, names that no scope gives, a lease without an end.
    for _ in 0..10 {
        let profile = IssueRequest { profile: "invented".parse().unwrap(), ..leased(2, 300) };
        assert!(is_refused(&edge.settle(&profile), Refusal::BadProfile));
        let mut names = request(3, &TestKey::new(1), &csr(&["host.elsewhere.example"]), &["host.elsewhere.example"]);
        names.lease = leased(3, 300).lease;
        assert!(is_refused(&edge.settle(&names), Refusal::NotPermitted));
        assert!(is_refused(&edge.settle(&leased(4, 90_000)), Refusal::Malformed));
    }
    assert_eq!(records(), (2, 30));
    drop(daemon);
    let _daemon = site.serve();
    assert!(matches!(edge.settle(&later(&asked, 1)), IssueReply::Settled { .. }), "also after a restart");
    assert_eq!(records(), (2, 30));
}
