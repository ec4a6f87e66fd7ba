//! Each check by the request that fails it alone.

use super::*;
use crate::{
    fixture::{self, EDGE, ORDER},
    policy::tests::policy,
};
use serde_json::json;
use shared::{
    base64url,
    testing::{TestCa, TestKey},
};
use std::sync::LazyLock;

const NAMES: [&str; 2] = ["host.a.test", "*.a.test"];

fn csr(names: &[&str]) -> Vec<u8> {
    TestKey::new(7).csr(names, "")
}

fn request() -> IssueRequest {
    fixture::request(&NAMES, &csr(&NAMES))
}

/// One second for a whole test run, so that no check falls between two.
fn now() -> Timestamp {
    static NOW: LazyLock<Timestamp> = LazyLock::new(crate::clock::now);
    *NOW
}

fn judge(edge: &str, request: IssueRequest) -> Result<Admitted, Refusal> {
    let evidence = Evidence::verify(&policy(), edge, request).map_err(|refused| refused.reason)?;
    let (spendings, stops, bound) = (Spendings::default(), Stops::default(), Bound::default());
    let bounds = Bounds { spendings: &spendings, stops: &stops, bound: &bound };
    evidence.admit(&policy(), edge, now(), None, bounds).map_err(|refused| refused.reason)
}

/// Judges the request as one whose certificate an intent has decided on.
fn judge_decided(policy: &Policy, stops: &Stops, change: impl Fn(&mut Intent)) -> Result<Admitted, Refusal> {
    let names = ["host.a.test"];
    let request = fixture::request(&names, &TestKey::new(7).csr(&names, ""));
    let mut intent = fixture::intent(&TestCa::new(1), 7);
    change(&mut intent);
    let (spendings, bound) = (Spendings::default(), Bound::default());
    let bounds = Bounds { spendings: &spendings, stops, bound: &bound };
    let evidence = Evidence::verify(policy, EDGE, request).map_err(|refused| refused.reason)?;
    evidence.admit(policy, EDGE, now(), Some(&intent), bounds).map_err(|refused| refused.reason)
}

#[test]
fn a_certificate_that_was_decided_on_is_judged_by_the_policy_and_the_holds_of_today() {
    let (policy, free) = (policy(), Stops::default());
    let judge = |change: fn(&mut Intent)| judge_decided(&policy, &free, change).map(|admitted| admitted.scope);
    assert_eq!(judge(|_| ()), Ok("open".into()));
    type Change = fn(&mut Intent);
    let refusals: [(Refusal, Change); 7] = [
        (Refusal::NotPermitted, |intent| intent.scope = "removed".into()),
        (Refusal::NotPermitted, |intent| intent.scope = String::new()),
        (Refusal::NotPermitted, |intent| intent.binding = Some("removed".into())),
        (Refusal::BadProfile, |intent| intent.profile = "removed".parse().unwrap()),
        (Refusal::BadProfile, |intent| intent.not_after = intent.not_after.plus(1)),
        (Refusal::BadProfile, |intent| intent.extended_key_usage.clear()),
        (Refusal::UnknownEdge, |intent| intent.edge = "removed.test".into()),
    ];
    for (number, (refusal, change)) in refusals.into_iter().enumerate() {
        assert_eq!(judge(change), Err(refusal), "{number}");
    }
    let held = Stops { scopes: ["open".to_owned()].into(), ..Stops::default() };
    assert_eq!(judge_decided(&policy, &held, |_| ()).unwrap_err(), Refusal::Stopped);
    let held = Stops { edges: [EDGE.to_owned()].into(), ..Stops::default() };
    assert_eq!(judge_decided(&policy, &held, |_| ()).unwrap_err(), Refusal::Stopped);
}

fn refusal(change: impl Fn(&mut IssueRequest)) -> Refusal {
    let mut request = request();
    change(&mut request);
    judge(EDGE, request).unwrap_err()
}

#[test]
fn a_request_that_is_right_is_admitted_with_the_names_of_its_order() {
    let admitted = judge(EDGE, request()).unwrap();
    assert_eq!(admitted.names.len(), 2);
    assert_eq!(admitted.claim.account, TestKey::new(1).jwk().thumbprint());
}

#[test]
fn an_edge_speaks_only_for_orders_below_its_base_urls() {
    assert_eq!(judge("other.colophon.internal", request()).unwrap_err(), Refusal::UnknownEdge);
    for order in
        ["https://ca.test", "https://ca.test.evil/acme/order/1", "https://other.test/1", "https://ca.test/a b", ""]
    {
        assert_eq!(refusal(|request| request.order = order.into()), Refusal::UnknownEdge, "{order:?}");
    }
    let long = format!("https://ca.test/{}", "a".repeat(1024));
    assert_eq!(refusal(|request| request.order.clone_from(&long)), Refusal::UnknownEdge);
}

#[test]
fn the_account_must_have_signed_a_finalize_request_of_this_order() {
    let account = TestKey::new(1);
    let payload = json!({"csr": base64url::encode(&csr(&NAMES))});
    let with =
        |header: serde_json::Value| refusal(|request| request.finalize = fixture::sign(&account, &header, &payload));
    let changed = |name: &str, value: serde_json::Value| {
        let mut header = fixture::header(ORDER);
        header[name] = value;
        with(header)
    };
    assert_eq!(changed("url", json!("https://ca.test/acme/order/ref/2/finalize")), Refusal::BadEvidence);
    assert_eq!(changed("url", json!(ORDER)), Refusal::BadEvidence);
    assert_eq!(changed("kid", json!("https://other.test/acme/account/1")), Refusal::BadEvidence);
    let jwk = serde_json::to_value(account.jwk()).unwrap();
    assert_eq!(with(json!({"jwk": jwk, "nonce": "bm9uY2U", "url": format!("{ORDER}/finalize")})), Refusal::BadEvidence);
    // Another key, whether it signed or is said to have.
    assert_eq!(
        refusal(|request| request.finalize = fixture::sign(&TestKey::new(2), &fixture::header(ORDER), &payload)),
        Refusal::BadEvidence
    );
    assert_eq!(refusal(|request| request.account_key = TestKey::new(2).jwk()), Refusal::BadEvidence);
}

#[test]
fn the_csr_is_the_one_that_the_account_has_signed() {
    let account = TestKey::new(1);
    let with = |payload: serde_json::Value| {
        refusal(|request| request.finalize = fixture::sign(&account, &fixture::header(ORDER), &payload))
    };
    assert_eq!(with(json!({})), Refusal::BadCsr);
    assert_eq!(with(json!({"csr": 1})), Refusal::BadCsr);
    assert_eq!(with(json!({"csr": "MAA"})), Refusal::BadCsr);
    // Swapped under a signature: the evidence is what fails.
    let other = base64url::encode(&TestKey::new(8).csr(&NAMES, ""));
    let swapped = base64url::encode(json!({"csr": other}).to_string().as_bytes());
    assert_eq!(refusal(|request| request.finalize.payload.clone_from(&swapped)), Refusal::BadEvidence);
}

#[test]
fn the_names_of_the_csr_are_exactly_the_orders() {
    assert_eq!(refusal(|request| drop(request.identifiers.pop())), Refusal::NameMismatch);
    assert_eq!(refusal(|request| request.identifiers.clear()), Refusal::NameMismatch);
    assert_eq!(refusal(|request| request.identifiers.push(request.identifiers[0].clone())), Refusal::NameMismatch);
    let more = csr(&["host.a.test", "*.a.test", "more.a.test"]);
    assert_eq!(judge(EDGE, fixture::request(&NAMES, &more)).unwrap_err(), Refusal::NameMismatch);
}

#[test]
fn the_policy_decides_on_names_and_profiles() {
    assert_eq!(refusal(|request| request.identifiers[0].method = "http-00".into()), Refusal::NotPermitted);
    assert_eq!(refusal(|request| request.profile = "other".parse().unwrap()), Refusal::BadProfile);
    let foreign = ["host.d.test"];
    let request = fixture::request(&foreign, &csr(&foreign));
    assert_eq!(judge(EDGE, request).unwrap_err(), Refusal::NotPermitted);
}

#[test]
fn times_are_within_what_a_certificate_of_now_could_have() {
    let now = now();
    let judge_times = |not_before: Option<u64>, not_after: Option<u64>| {
        let at = |offset: u64| now.minus(1000).plus(offset);
        let mut request = request();
        request.not_before = not_before.map(at);
        request.not_after = not_after.map(at);
        judge(EDGE, request).map(|admitted| admitted.times.validity(&admitted.profile, now)).is_ok()
    };
    // Offsets from a thousand seconds ago; the backdate is a minute, the validity a day.
    assert!(judge_times(None, None));
    assert!(judge_times(Some(940), None), "as early as the backdate");
    assert!(!judge_times(Some(938), None), "earlier than the backdate");
    assert!(judge_times(None, Some(2000)));
    assert!(!judge_times(None, Some(1000)), "over already");
    assert!(!judge_times(Some(3000), Some(2000)), "empty");
    assert!(judge_times(Some(1000), Some(1000 + 86_399)), "a whole day");
    assert!(!judge_times(Some(1000), Some(1000 + 86_400)), "a second more");
    assert!(!judge_times(Some(1100), Some(1100 + 86_399)), "a whole day that begins later");
    assert!(judge_times(None, Some(1000 + 86_399)), "a whole day, without a backdate");
    assert!(judge_times(None, Some(1000 + 86_400)), "a day from now");
    assert!(!judge_times(None, Some(1000 + 86_401)), "a second more than a day from now");
    assert!(!judge_times(Some(1001), Some(1001 + 86_400)), "a day and a second");
}

#[test]
fn a_last_second_that_is_asked_for_shortens_the_backdate_and_never_lengthens_the_life() {
    let now = now();
    let times = |ahead: u64| {
        let mut request = request();
        request.not_after = Some(now.plus(ahead));
        let admitted = judge(EDGE, request).unwrap();
        admitted.times.validity(&admitted.profile, now)
    };
    assert_eq!(times(1000), (now.minus(60), now.plus(1000)), "the whole backdate");
    assert_eq!(times(86_339), (now.minus(60), now.plus(86_339)));
    assert_eq!(times(86_370), (now.minus(29), now.plus(86_370)));
    assert_eq!(times(86_400), (now.plus(1), now.plus(86_400)));
}

#[test]
fn a_deadline_that_has_passed_is_busy() {
    assert_eq!(refusal(|request| request.deadline = now().minus(1)), Refusal::Busy);
}
