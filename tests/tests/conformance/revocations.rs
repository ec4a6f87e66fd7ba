//! revokeCert (RFC 8555 §7.6), as far as it is not among the tests of the whole way to the journal.

use anyhow::Result;
use rcgen::KeyPair;
use serde_json::{Value, json};
use shared::{base64url, chain::Leaf};
use tests::{account::Account, client::Reply, journal, key::AccountKey, openssl, subject};

use crate::{
    ask::{account, kind, refused},
    world::world,
};

fn payload(certificate: &[u8]) -> Value {
    json!({"certificate": base64url::encode(certificate)})
}

fn revoke(account: &Account, payload: &Value) -> Result<Reply> {
    account.post(account.client.url("revokeCert"), payload)
}

/// A revocation by this key, which is said to be that of `jwk`, without an account.
fn by_key(key: &AccountKey, jwk: &Value, payload: &Value) -> Result<Reply> {
    let client = &world().client;
    let url = client.url("revokeCert");
    let header = json!({"url": url, "nonce": client.nonce()?, "jwk": jwk});
    client.post(url, key.sign(&header, payload.to_string().as_bytes())?.to_string().as_bytes())
}

/// A fresh account's certificate of this name and its key.
fn issued(name: &str) -> Result<(Account, KeyPair, Vec<u8>)> {
    let (account, pair) = (account()?, KeyPair::generate()?);
    let order = account.ready_order(&[name], &world().responder)?;
    let csr = base64url::encode(&subject::csr_of(&[name], &pair)?);
    account.post(&order.finalize()?, &json!({"csr": csr}))?.expect(200)?;
    let certificate = account.leaf(&order)?;
    Ok((account, pair, certificate))
}

fn is_revoked(certificate: &[u8]) -> Result<bool> {
    let serial = Leaf::from_der(certificate)?.serial.to_string();
    Ok(journal::revocations(&world().stack.report.state, &serial)? > 0)
}

/// RFC 8555 §7.6 says: a revocation without a reason is one, too.
/// RFC 8555 §7.6 says: the answer to a revocation has no body.
#[test]
fn a_reason_may_be_left_out() -> Result<()> {
    let (account, _, certificate) = issued("bare.revocations.test")?;
    assert!(revoke(&account, &payload(&certificate))?.expect(200)?.body.is_empty());
    assert!(is_revoked(&certificate)?);
    refused(&revoke(&account, &payload(&certificate))?, 400, "alreadyRevoked")
}

/// RFC 8555 §7.6 SHOULD: `badRevocationReason` says which reasons are allowed.
#[test]
fn a_reason_that_is_not_allowed_is_answered_with_those_that_are() -> Result<()> {
    let (account, _, certificate) = issued("reason.revocations.test")?;
    for reason in [2, 7, 11, -1, 1000] {
        let reply = revoke(&account, &json!({"certificate": base64url::encode(&certificate), "reason": reason}))?;
        assert_eq!(kind(&reply)?, "badRevocationReason", "{reason}");
        let problem = reply.json()?;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("0, 1, 3")), "{problem}");
    }
    assert!(!is_revoked(&certificate)?);
    Ok(())
}

/// RFC 8555 §7.6 MUST: it is checked that the signer of the request may have the certificate revoked.
#[test]
fn nobody_without_a_right_to_it_has_a_certificate_revoked() -> Result<()> {
    let (owner, pair, certificate) = issued("right.revocations.test")?;
    let (_, other_pair, other) = issued("other.revocations.test")?;
    let stranger = account()?;
    assert_eq!(kind(&revoke(&stranger, &payload(&certificate))?)?, "unauthorized");
    let (key, other_key) = (AccountKey::of(&pair)?, AccountKey::of(&other_pair)?);
    assert_eq!(kind(&by_key(&other_key, &other_key.jwk(), &payload(&certificate))?)?, "unauthorized");
    // Its public key is no secret.
    kind(&by_key(&other_key, &key.jwk(), &payload(&certificate))?)?;
    kind(&by_key(&owner.key, &owner.key.jwk(), &payload(&certificate))?)?;
    owner.post(&owner.url, &json!({"status": "deactivated"}))?.expect(200)?;
    refused(&revoke(&owner, &payload(&certificate))?, 401, "unauthorized")?;
    assert!(!is_revoked(&certificate)? && !is_revoked(&other)?);
    by_key(&key, &key.jwk(), &payload(&certificate))?.expect(200)?;
    assert!(is_revoked(&certificate)?);
    Ok(())
}

/// RFC 8555 §7.6 says: the payload is a certificate in DER, which is one of ours.
#[test]
fn what_is_no_certificate_of_ours_is_refused() -> Result<()> {
    let account = account()?;
    let (_, chain) = account.issue(&["ours.revocations.test"], &world().responder)?;
    let pem = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap_or_default().to_owned();
    let issuer = openssl::der(chain.trim_start_matches(pem.as_str()))?;
    let root = openssl::der(&std::fs::read_to_string(&world().stack.report.root)?)?;
    for wrong in [
        json!({}),
        json!([]),
        json!({"certificate": pem}),
        json!({"certificate": ""}),
        json!({"certificate": 1}),
        payload(b"\x30\x00"),
        payload(&issuer),
        payload(&root),
    ] {
        let reply = revoke(&account, &wrong)?;
        kind(&reply)?;
        assert!(reply.status < 500, "{wrong}: {reply:?}");
    }
    Ok(())
}
