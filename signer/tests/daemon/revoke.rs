//! The verb `revoke` over real mutual TLS.

use std::{fs, thread};

use serde_json::{Value, json};
use shared::{
    base64url,
    revocation::RevocationReason,
    signing::{Issued, Refusal, RevokeReply, RevokeRequest, Revoked, Right, TokenState},
    testing::TestKey,
};

use crate::{
    client::{Edge, request, simple},
    site::{BASE_URL, Identity, Site, eventually, issue_identity},
};

const HOST: &str = "host.test";
/// Where revocations go.
const URL: &str = "/acme/revoke-cert";

/// A key that is no account's, and the certificate of it that account 1 was issued.
fn issue(edge: &Edge) -> (TestKey, Issued) {
    let own = TestKey::new(7);
    let issued = edge.issued(&request(1, &TestKey::new(1), &own.csr(&[HOST], ""), &[HOST]));
    (own, issued)
}

pub(crate) fn payload(certificate: &[u8], reason: i64) -> Value {
    json!({"certificate": base64url::encode(certificate), "reason": reason})
}

pub(crate) fn by_account(account: &TestKey, right: Right, url: &str, payload: &Value) -> RevokeRequest {
    let header = json!({"kid": format!("{BASE_URL}/acme/account/1"), "nonce": "bm9uY2U", "url": url});
    let request = account.sign_jws(&header, payload.to_string().as_bytes());
    RevokeRequest { request: serde_json::from_value(request).unwrap(), key: account.jwk(), right }
}

pub(crate) fn by_key(key: &TestKey, payload: &Value) -> RevokeRequest {
    let header = json!({"nonce": "bm9uY2U", "url": format!("{BASE_URL}{URL}")});
    let request = key.sign_jws_with_jwk(&header, payload.to_string().as_bytes());
    let right = Right::CertificateKey;
    RevokeRequest { request: serde_json::from_value(request).unwrap(), key: key.jwk(), right }
}

/// By the account that the certificate was issued to.
pub(crate) fn simple_revocation(issued: &Issued) -> RevokeRequest {
    let url = format!("{BASE_URL}{URL}");
    by_account(&TestKey::new(1), Right::Account, &url, &payload(&issued.chain[0].0, 1))
}

pub(crate) fn revoked(edge: &Edge, asked: &RevokeRequest) -> Revoked {
    match edge.revoke(asked).unwrap() {
        RevokeReply::Revoked(revoked) => revoked,
        RevokeReply::Refused(refused) => panic!("{refused:?}"),
    }
}

fn refusal(edge: &Edge, asked: &RevokeRequest) -> Refusal {
    match edge.revoke(asked).unwrap() {
        RevokeReply::Refused(refused) => refused.reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_certificate_is_revoked_once_and_whoever_asks_again_gets_the_first_answer() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let (own, issued) = issue(&edge);
    let asked = simple_revocation(&issued);
    let bytes = serde_json::to_vec(&asked).unwrap();
    let (status, first) = edge.post_revocation(&bytes).unwrap();
    assert_eq!(status, 200);
    let Ok(RevokeReply::Revoked(answer)) = serde_json::from_str(&first) else { panic!("{first}") };
    assert_eq!((answer.serial, answer.reason), (issued.serial, RevocationReason::KeyCompromise));
    let record = &site.journal()[usize::try_from(answer.journal_index).unwrap()];
    assert_eq!(record["at"], serde_json::to_value(answer.at).unwrap());
    assert_eq!(record["event"]["revoked"]["serial"], json!(issued.serial.to_string()));
    assert_eq!(record["event"]["revoked"]["order"], json!(crate::client::order(1)));
    for _ in 0..2 {
        assert_eq!(edge.post_revocation(&bytes).unwrap(), (200, first.clone()));
        // By another right, for another reason.
        assert_eq!(revoked(&edge, &by_key(&own, &payload(&issued.chain[0].0, 4))), answer);
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
    assert_eq!(site.events("revoked").len(), 1);
    assert!(site.events("refused").is_empty());
}

#[test]
fn each_right_revokes_and_the_order_still_gets_its_bytes() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let url = format!("{BASE_URL}{URL}");
    for (number, right) in [Right::Account, Right::Authorizations, Right::CertificateKey].into_iter().enumerate() {
        let own = TestKey::new(7);
        let order = request(number, &TestKey::new(1), &own.csr(&[HOST], ""), &[HOST]);
        let issued = edge.issued(&order);
        let payload = payload(&issued.chain[0].0, 0);
        let asked = match right {
            Right::CertificateKey => by_key(&own, &payload),
            // Not the key that it was issued to: the account's may have been changed since.
            right => by_account(&TestKey::new(2), right, &url, &payload),
        };
        assert_eq!(revoked(&edge, &asked).serial, issued.serial);
        assert_eq!(edge.issued(&order), issued);
    }
    let rights: Vec<_> = site.events("revoked").iter().map(|event| event["right"].clone()).collect();
    assert_eq!(rights, ["account", "authorizations", "certificate-key"]);
    assert_eq!(site.events("signed").len(), 3);
}

#[test]
fn ten_requests_at_once_are_one_record() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let (_, issued) = issue(&Edge::new(&site));
    let asked = simple_revocation(&issued);
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(|| revoked(&Edge::new(&site), &asked))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(site.events("revoked").len(), 1);
}

/// What an edge that was taken over may try, and what a client may that an edge lets through.
#[test]
fn each_forbidden_thing_is_refused_for_its_reason_and_journaled() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let (own, issued) = issue(&edge);
    let (leaf, account) = (&issued.chain[0].0, TestKey::new(1));
    let url = format!("{BASE_URL}{URL}");
    let good = simple_revocation(&issued);

    // The signature over the certificate is changed: content and serial number are the same.
    let mut forged = leaf.clone();
    *forged.last_mut().unwrap() ^= 1;
    // One bit of the serial number, too: nobody has that.
    let mut unknown = leaf.clone();
    // Without its first bytes, which DER may have left out.
    let end = &issued.serial.as_bytes()[8..];
    let at = leaf.windows(8).position(|bytes| bytes == end).unwrap();
    unknown[at + 7] ^= 1;

    let asks = |right, url: &str, leaf: &[u8], reason| by_account(&account, right, url, &payload(leaf, reason));
    let table = [
        (RevokeRequest { key: TestKey::new(2).jwk(), ..good.clone() }, Refusal::BadEvidence),
        (asks(Right::Account, &url, leaf, 6), Refusal::Malformed),
        (asks(Right::Account, &url, &issued.chain[1].0, 1), Refusal::Malformed),
        (asks(Right::Account, &format!("https://other.test{URL}"), leaf, 1), Refusal::UnknownEdge),
        (asks(Right::Account, &url, &forged, 1), Refusal::UnknownCertificate),
        (asks(Right::Account, &url, &unknown, 1), Refusal::UnknownCertificate),
        (by_key(&TestKey::new(8), &payload(leaf, 1)), Refusal::BadEvidence),
        (asks(Right::CertificateKey, &url, leaf, 1), Refusal::BadEvidence),
        (RevokeRequest { right: Right::Account, ..by_key(&own, &payload(leaf, 1)) }, Refusal::BadEvidence),
    ];
    for (asked, reason) in &table {
        assert_eq!(refusal(&edge, asked), *reason);
    }
    assert!(site.events("revoked").is_empty());
    let reasons: Vec<_> = site.events("refused").iter().map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, table.map(|(_, reason)| serde_json::to_value(reason).unwrap()));
    assert_eq!(revoked(&edge, &good).serial, issued.serial, "the same without a fault");
}

#[test]
fn only_edges_may_ask_and_only_in_the_protocols_words() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let (_, issued) = issue(&edge);
    let asked = simple_revocation(&issued);
    let stranger: Identity = issue_identity(&site.infrastructure, "other.internal");
    assert_eq!(refusal(&Edge::with(&site, Some(&stranger)), &asked), Refusal::UnknownEdge);
    let mut more = serde_json::to_value(&asked).unwrap();
    more["serial"] = json!(issued.serial);
    for body in [b"".as_slice(), b"[]", b"{}", more.to_string().as_bytes(), &[b' '; 70_000]] {
        let (status, answer) = edge.post_revocation(body).unwrap();
        assert!(status == 400 && answer.contains(r#""reason":"malformed""#), "{answer}");
    }
    assert_eq!((site.events("refused").len(), site.events("revoked").len()), (6, 0));
}

#[test]
fn it_works_while_no_token_does() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let (_, issued) = issue(&edge);
    assert!(daemon.terminate().success());
    fs::rename(site.path("tokens"), site.path("unplugged")).unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
    let _daemon = site.serve();
    eventually("the token is lost", || edge.status().unwrap().issuers[0].tokens[0].state == TokenState::Failed);
    assert_eq!(edge.refusal(&simple(2)), Refusal::Unavailable);
    assert_eq!(revoked(&edge, &simple_revocation(&issued)).serial, issued.serial);
}

#[test]
fn an_expired_certificate_is_refused_unless_it_was_revoked_in_time() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let [(first, _), (second, end)] = [1, 2].map(|number| {
        let mut order = simple(number);
        // A request's deadline is ten minutes from now.
        order.not_after = Some(order.deadline.minus(600).plus(8));
        (edge.issued(&order), order.not_after)
    });
    let in_time = revoked(&edge, &simple_revocation(&first));
    eventually("the second certificate expires", || Some(simple(0).deadline.minus(600)) > end);
    assert_eq!(refusal(&edge, &simple_revocation(&second)), Refusal::UnknownCertificate);
    assert!(site.events("refused")[0]["detail"].as_str().unwrap().contains("expired"));
    assert_eq!(revoked(&edge, &simple_revocation(&first)), in_time);
}

#[test]
fn a_journal_with_a_revocation_verifies_and_a_changed_one_does_not() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let (_, issued) = issue(&edge);
    revoked(&edge, &simple_revocation(&issued));
    edge.issued(&simple(2));
    assert!(daemon.terminate().success());
    assert!(site.signer_ok("journal verify --config signer.toml").contains("2 signed, 1 revoked"));
    let path = site.path("state/journal/00000000.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let changed = good.replace(r#""reason":"keyCompromise""#, r#""reason":"superseded""#);
    assert_ne!(changed, good);
    fs::write(&path, changed).unwrap();
    assert!(site.signer_fails("journal verify --config signer.toml").contains("record 3 is bad"));
    assert_eq!(site.signer("serve --config signer.toml").status.code(), Some(78));
}
