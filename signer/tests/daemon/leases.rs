//! Orders that may go to another signer: what is settled, and what its lease does not cover, is not signed, whatever crashes.

use shared::{
    signing::{IssueReply, IssueRequest, Refusal},
    timestamp::Timestamp,
};

use crate::{
    client::{Edge, simple},
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
