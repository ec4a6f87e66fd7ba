//! Each check by the request that fails it alone.

use super::*;
use crate::{
    fixture::{self, EDGE, ORDER},
    policy::tests::policy,
};
use serde_json::{Value, json};
use shared::{base64url, revocation::RevocationReason, testing::TestKey};

const URL: &str = "https://ca.test/acme/revoke-cert";

/// The journal's certificate, of the key 7.
fn signed() -> Signed {
    fixture::signed().1
}

fn payload(signed: &Signed) -> Value {
    json!({"certificate": base64url::encode(&signed.chain[0].0), "reason": 4})
}

fn with_kid() -> Value {
    json!({"kid": "https://ca.test/acme/account/1", "nonce": "bm9uY2U", "url": URL})
}

fn with_jwk(key: &TestKey) -> Value {
    json!({"jwk": serde_json::to_value(key.jwk()).unwrap(), "nonce": "bm9uY2U", "url": URL})
}

fn ask(key: &TestKey, right: Right, header: &Value, payload: &Value) -> RevokeRequest {
    RevokeRequest { request: fixture::sign(key, header, payload), key: key.jwk(), right }
}

fn judge(edge: &str, asked: RevokeRequest, signed: Signed) -> Result<Granted, Refusal> {
    let plea = Plea::verify(&policy(), edge, asked).map_err(|refused| refused.reason)?;
    plea.grant(&policy(), edge, signed).map_err(|refused| refused.reason)
}

#[test]
fn every_right_is_granted_and_the_record_says_what_was_asked() {
    let signed = signed();
    let (account, own) = (TestKey::new(1), TestKey::new(7));
    let table = [
        (&account, Right::Account, with_kid()),
        (&account, Right::Authorizations, with_kid()),
        (&own, Right::CertificateKey, with_jwk(&own)),
    ];
    for (key, right, header) in table {
        let granted = judge(EDGE, ask(key, right, &header, &payload(&signed)), signed.clone()).unwrap();
        let expected = RevokedCertificate {
            serial: signed.serial,
            reason: RevocationReason::Superseded,
            right: right.into(),
            order: ORDER.into(),
            key: Some(Base64Url(key.jwk().thumbprint().0.to_vec())),
            certificate_sha256: Base64Url(Sha256::digest(&signed.chain[0].0).to_vec()),
            edge: EDGE.into(),
        };
        assert_eq!(granted.record, expected);
    }
}

#[test]
fn the_key_that_is_named_must_have_signed() {
    let (signed, account) = (signed(), TestKey::new(1));
    let good = || ask(&account, Right::Account, &with_kid(), &payload(&signed));
    let refusal = |asked| judge(EDGE, asked, signed.clone()).unwrap_err();
    assert_eq!(refusal(RevokeRequest { key: TestKey::new(2).jwk(), ..good() }), Refusal::BadEvidence);
    let mut swapped = good();
    swapped.request.payload = base64url::encode(b"{}");
    assert_eq!(refusal(swapped), Refusal::BadEvidence);
    let mut torn = good();
    torn.request.protected.clear();
    assert_eq!(refusal(torn), Refusal::BadEvidence);
}

#[test]
fn the_payload_must_be_of_a_revocation_for_a_reason_of_ours() {
    let (signed, account) = (signed(), TestKey::new(1));
    let mut hold = payload(&signed);
    hold["reason"] = json!(6);
    for payload in [json!({}), json!({"certificate": "MAA"}), hold] {
        let asked = ask(&account, Right::Account, &with_kid(), &payload);
        assert_eq!(judge(EDGE, asked, signed.clone()).unwrap_err(), Refusal::Malformed, "{payload}");
    }
}

#[test]
fn an_edge_speaks_only_for_urls_below_its_base_urls() {
    let (signed, account) = (signed(), TestKey::new(1));
    let refusal = |edge, url: &str| {
        let mut header = with_kid();
        header["url"] = json!(url);
        judge(edge, ask(&account, Right::Account, &header, &payload(&signed)), signed.clone()).map(drop)
    };
    assert_eq!(refusal(EDGE, URL), Ok(()));
    let long = format!("https://ca.test/{}", "a".repeat(1024));
    for url in ["https://ca.test", "https://ca.test.evil/acme/revoke-cert", "https://ca.test/a b", "", &long] {
        assert_eq!(refusal(EDGE, url), Err(Refusal::UnknownEdge), "{url:?}");
    }
    assert_eq!(refusal("other.colophon.internal", URL), Err(Refusal::UnknownEdge));
}

#[test]
fn the_certificate_is_the_journals_to_the_last_byte() {
    let (signed, account) = (signed(), TestKey::new(1));
    // The same content, and so the same serial number, under another signature.
    let mut forged = signed.clone();
    *forged.chain[0].0.last_mut().unwrap() ^= 1;
    let asked = ask(&account, Right::Account, &with_kid(), &payload(&forged));
    assert_eq!(judge(EDGE, asked, signed.clone()).unwrap_err(), Refusal::UnknownCertificate);
    let asked = ask(&account, Right::Account, &with_kid(), &payload(&signed));
    let empty = Signed { chain: Vec::new(), ..signed };
    assert_eq!(judge(EDGE, asked, empty).unwrap_err(), Refusal::UnknownCertificate);
}

#[test]
fn each_right_has_its_own_way_to_name_the_key() {
    let signed = signed();
    let (account, own) = (TestKey::new(1), TestKey::new(7));
    let table = [
        (&account, Right::CertificateKey, with_jwk(&account)),
        (&own, Right::CertificateKey, with_kid()),
        // The certificate's key signs and is named; the header has another one.
        (&own, Right::CertificateKey, with_jwk(&account)),
        (&account, Right::Account, with_jwk(&account)),
        (&account, Right::Authorizations, with_jwk(&account)),
    ];
    for (key, right, header) in table {
        let asked = ask(key, right, &header, &payload(&signed));
        assert_eq!(judge(EDGE, asked, signed.clone()).unwrap_err(), Refusal::BadEvidence, "{right:?} {header}");
    }
}

#[test]
fn the_last_second_of_a_certificate_still_counts() {
    let (signed, account) = (signed(), TestKey::new(1));
    let granted = judge(EDGE, ask(&account, Right::Account, &with_kid(), &payload(&signed)), signed).unwrap();
    assert!(granted.check_time(granted.not_after).is_ok());
    let refused = granted.check_time(granted.not_after.plus(1)).unwrap_err();
    assert_eq!(refused.reason, Refusal::UnknownCertificate);
    assert!(refused.detail.contains("expired"), "{}", refused.detail);
}

#[test]
fn an_account_of_an_edge_revokes_nothing_that_was_ordered_at_another_one_and_a_certificates_key_does() {
    let elsewhere = Signed { order: "https://other.test/acme/order/1".into(), ..signed() };
    let (account, own) = (TestKey::new(1), TestKey::new(7));
    let payload = payload(&elsewhere);
    for right in [Right::Account, Right::Authorizations] {
        let asked = ask(&account, right, &with_kid(), &payload);
        assert_eq!(judge(EDGE, asked, elsewhere.clone()).unwrap_err(), Refusal::UnknownCertificate, "{right:?}");
    }
    let asked = ask(&own, Right::CertificateKey, &with_jwk(&own), &payload);
    assert!(judge(EDGE, asked, elsewhere).is_ok());
}
