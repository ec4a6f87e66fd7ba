//! The stored CRL: its number never goes back, and nothing is sent that has expired.

use edge::{
    acme::storage::{Memory, Rows, Storage},
    status::crl::{Due, Look, Outcome, Times, answered, due, look, purged, revoked},
};
use shared::{
    base64url::Base64Url,
    crl::CrlContent,
    pointers::{CrlShard, IssuerId},
    signing::{CrlReply, CrlRequest, Refusal, Refused, SignedCrl},
    testing::TestCa,
    timestamp::Timestamp,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

fn request(ca: &TestCa) -> CrlRequest {
    CrlRequest { issuer: IssuerId::of(ca.chain.issuer()), shard: CrlShard::COMPLETE }
}

fn crl(ca: &TestCa, number: u64, from: u64, pending: bool) -> SignedCrl {
    crl_of(ca, number, (from, pending), None)
}

fn crl_of(ca: &TestCa, number: u64, (from, pending): (u64, bool), distribution_point: Option<String>) -> SignedCrl {
    let (this_update, next_update) = (at(from), at(from + 1000));
    let content = CrlContent { number, this_update, next_update, distribution_point, entries: Vec::new() };
    let tbs = content.tbs(ca.chain.issuer()).unwrap();
    let signature = ca.sign(tbs.as_bytes());
    SignedCrl { crl: Base64Url(tbs.assemble(&signature).unwrap()), number, this_update, next_update, pending }
}

fn take_in(rows: &mut Memory, ca: &TestCa, reply: Result<CrlReply, String>, now: u64) -> Outcome {
    let times = Times { now: at(now), next: at(now + 2), purge: Some(at(now + 6)) };
    let (changes, outcome, _) = answered(rows, &request(ca), ca.chain.issuer(), reply, times).unwrap();
    rows.commit(&changes).unwrap();
    outcome
}

fn looked(rows: &Memory, now: u64) -> (&'static str, Option<Timestamp>) {
    match look(rows, at(now), 30).unwrap() {
        Look::Fresh(document) => ("fresh", Some(document.this_update)),
        Look::Old(document) => ("old", Some(document.this_update)),
        Look::Missing => ("missing", None),
    }
}

#[test]
fn a_crl_is_fresh_then_old_then_missing() {
    let ca = TestCa::new(1);
    let mut rows = Memory::default();
    assert_eq!(looked(&rows, 0), ("missing", None));
    take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 1, 0, false))), 0);
    let first = Some(at(0));
    for (now, expected) in
        [(29, ("fresh", first)), (30, ("old", first)), (999, ("old", first)), (1000, ("missing", None))]
    {
        assert_eq!(looked(&rows, now), expected, "{now}");
    }
    // The signer has no newer one: that was worth asking.
    take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 1, 0, false))), 500);
    assert_eq!(looked(&rows, 529), ("fresh", first));
}

#[test]
fn the_number_never_goes_back_and_what_is_wrong_changes_nothing() {
    let (ca, other) = (TestCa::new(1), TestCa::new(2));
    let mut rows = Memory::default();
    take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 5, 100, false))), 100);
    let refused = |reason| Ok(CrlReply::Refused(Refused { reason, detail: String::new(), retry_after: None }));
    let lied = SignedCrl { number: 9, ..crl(&ca, 8, 100, false) };
    for (reply, outcome) in [
        (Ok(CrlReply::Current(crl(&other, 6, 100, false))), Outcome::Later),
        (Ok(CrlReply::Current(lied)), Outcome::Later),
        (refused(Refusal::Busy), Outcome::Later),
        (refused(Refusal::UnknownCertificate), Outcome::Unknown),
        (Err("no answer".to_owned()), Outcome::Later),
    ] {
        assert_eq!(take_in(&mut rows, &ca, reply, 200), outcome);
        assert_eq!(looked(&rows, 200), ("old", Some(at(100))));
    }
    let Outcome::Current(sent) = take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 4, 150, false))), 200) else {
        panic!()
    };
    assert_eq!(sent.this_update, at(100));
    assert_eq!(take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 4, 150, false))), 1100), Outcome::Later);
}

#[test]
fn after_a_revocation_it_is_asked_for_until_it_has_it() {
    let ca = TestCa::new(1);
    let mut rows = Memory::default();
    assert_eq!(revoked(&rows, at(10), at(12)).unwrap(), [], "nobody has asked for it");
    take_in(&mut rows, &ca, Ok(CrlReply::Current(crl(&ca, 1, 0, false))), 0);
    let changes = revoked(&rows, at(10), at(12)).unwrap();
    rows.commit(&changes).unwrap();
    assert_eq!(looked(&rows, 10).0, "old");
    // The one before, then one that does not have it yet, then one that has.
    for (reply, asks) in [(crl(&ca, 1, 0, true), true), (crl(&ca, 2, 10, true), true), (crl(&ca, 3, 11, false), false)]
    {
        take_in(&mut rows, &ca, Ok(CrlReply::Current(reply)), 12);
        let (changes, found) = due(&rows, at(14), at(16), 100).unwrap();
        rows.commit(&changes).unwrap();
        // Caches may have the one before when the one has come that has it.
        assert_eq!(found, Due { ask: asks.then(|| request(&ca)), purge: (!asks).then(|| request(&ca)) });
    }
    assert_eq!(looked(&rows, 14).0, "fresh");
    let (changes, found) = due(&rows, at(11 + 1000 + 86_400), at(0), 100).unwrap();
    rows.commit(&changes).unwrap();
    assert_eq!((found, looked(&rows, 14).0), (Due::default(), "missing"));
}

#[test]
fn caches_are_purged_when_the_crl_has_come_until_that_is_done_or_of_no_use() {
    let ca = TestCa::new(1);
    let mut start = Memory::default();
    take_in(&mut start, &ca, Ok(CrlReply::Current(crl(&ca, 1, 0, false))), 0);
    assert_eq!(start.next_due().unwrap(), Some(at(1000 + 86_400)), "one without a revocation");
    let changes = revoked(&start, at(10), at(12)).unwrap();
    start.commit(&changes).unwrap();
    take_in(&mut start, &ca, Ok(CrlReply::Current(crl(&ca, 2, 11, false))), 20);
    assert_eq!(start.next_due().unwrap(), Some(at(26)), "when no isolate has the one before");
    // The alarm, how it went, and when there is another one.
    let end = at(11 + 1000 + 86_400);
    for (now, succeeds, purges, next) in
        [(26, true, true, end), (26, false, true, at(28)), (120, false, true, at(122)), (121, false, false, end)]
    {
        let mut rows = start.clone();
        let (changes, found) = due(&rows, at(now), at(now + 2), 100).unwrap();
        rows.commit(&changes).unwrap();
        assert_eq!(found, Due { ask: None, purge: purges.then(|| request(&ca)) }, "{now}");
        if succeeds {
            let changes = purged(&rows, at(now + 2)).unwrap();
            rows.commit(&changes).unwrap();
        }
        assert_eq!(rows.next_due().unwrap(), Some(next), "{now}");
    }
}

#[test]
fn a_crl_of_another_part_or_issuer_is_refused() {
    let (ca, other) = (TestCa::new(1), TestCa::new(2));
    let url = |shard: CrlShard| format!("http://status.test/crl/{}/{shard}.crl", IssuerId::of(ca.chain.issuer()));
    let part = |number| CrlShard::new(number, 2).unwrap();
    let of_other = format!("http://status.test/crl/{}/1-of-2.crl", IssuerId::of(other.chain.issuer()));
    for (asked, signer, point, taken) in [
        (part(1), &ca, Some(url(part(1))), true),
        (part(1), &ca, Some(url(part(2))), false),
        (part(1), &ca, Some(url(CrlShard::COMPLETE)), false),
        (part(1), &ca, Some(of_other), false),
        (part(1), &ca, None, false),
        (part(1), &other, Some(url(part(1))), false),
        (CrlShard::COMPLETE, &ca, None, true),
        (CrlShard::COMPLETE, &ca, Some(url(part(1))), false),
    ] {
        let case = format!("{asked}, {point:?}");
        let request = CrlRequest { shard: asked, ..request(&ca) };
        let reply = Ok(CrlReply::Current(crl_of(signer, 1, (0, false), point)));
        let times = Times { now: at(0), next: at(2), purge: None };
        let (_, outcome, _) = answered(&Memory::default(), &request, ca.chain.issuer(), reply, times).unwrap();
        assert_eq!(matches!(outcome, Outcome::Current(_)), taken, "{case}");
    }
}
