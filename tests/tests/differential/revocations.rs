//! revokeCert.

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use shared::base64url;
use tests::{account::Account, key::AccountKey, openssl, subject};

use crate::{
    Case,
    side::{Side, post, read, reduced},
};

fn payload(der: &[u8]) -> Value {
    json!({"certificate": base64url::encode(der)})
}

/// An account's certificate of this name in DER, and its key.
fn certified(side: &Side, name: &str) -> Result<(Account, KeyPair, Vec<u8>)> {
    let (account, pair) = (side.account()?, KeyPair::generate()?);
    let order = account.ready_order(&[name], &side.responder)?;
    let csr = json!({"csr": base64url::encode(&subject::csr_of(&[name], &pair)?)});
    account.post(&order.finalize()?, &csr)?.expect(200)?;
    let leaf = account.leaf(&order)?;
    Ok((account, pair, leaf))
}

fn revoke(account: &Account, payload: &Value) -> Result<String> {
    post(account, account.client.url("revokeCert"), payload)
}

/// A revocation signed by this key, as `jwk`.
fn by_key(side: &Side, key: &AccountKey, payload: &Value) -> Result<String> {
    let url = side.client.url("revokeCert");
    let header = json!({"url": url, "nonce": side.client.nonce()?, "jwk": key.jwk()});
    let jws = key.sign(&header, payload.to_string().as_bytes())?.to_string();
    side.client.post(url, jws.as_bytes()).map(|reply| reduced(&reply))
}

/// A revocation with this reason by the account that the certificate is of.
fn because(side: &Side, name: &str, reason: Value) -> Result<String> {
    let (account, _, leaf) = certified(side, name)?;
    revoke(&account, &json!({"certificate": base64url::encode(&leaf), "reason": reason}))
}

pub(crate) const CASES: [Case; 17] = [
    ("revokeCert", |side| {
        let (account, _, leaf) = certified(side, "one.revoked.test")?;
        revoke(&account, &payload(&leaf))
    }),
    ("revokeCert: again", |side| {
        let (account, _, leaf) = certified(side, "again.revoked.test")?;
        revoke(&account, &payload(&leaf))?;
        revoke(&account, &payload(&leaf))
    }),
    ("revokeCert: by the certificate's key", |side| {
        let (_, pair, leaf) = certified(side, "key.revoked.test")?;
        by_key(side, &AccountKey::of(&pair)?, &payload(&leaf))
    }),
    ("revokeCert: by another key", |side| {
        let (_, _, leaf) = certified(side, "stranger.revoked.test")?;
        by_key(side, &AccountKey::es256(), &payload(&leaf))
    }),
    ("revokeCert: by another account", |side| {
        let (_, _, leaf) = certified(side, "account.revoked.test")?;
        revoke(&side.account()?, &payload(&leaf))
    }),
    ("revokeCert: by an account with the authorization", |side| {
        let (_, _, leaf) = certified(side, "moved.revoked.test")?;
        let (other, _) = side.ready("moved.revoked.test")?;
        revoke(&other, &payload(&leaf))
    }),
    ("revokeCert: reason 1", |side| because(side, "one.reason.test", json!(1))),
    ("revokeCert: reason 6", |side| because(side, "six.reason.test", json!(6))),
    ("revokeCert: reason 7", |side| because(side, "seven.reason.test", json!(7))),
    ("revokeCert: reason 9", |side| because(side, "nine.reason.test", json!(9))),
    ("revokeCert: reason 100", |side| because(side, "hundred.reason.test", json!(100))),
    ("revokeCert: reason -1", |side| because(side, "minus.reason.test", json!(-1))),
    ("revokeCert: empty payload", |side| read(&side.account()?, side.client.url("revokeCert"))),
    ("revokeCert: no certificate", |side| revoke(&side.account()?, &json!({}))),
    ("revokeCert: not base64url", |side| revoke(&side.account()?, &json!({"certificate": "!"}))),
    ("revokeCert: no DER", |side| revoke(&side.account()?, &payload(b"nothing"))),
    ("revokeCert: of another CA", |side| {
        let pair = KeyPair::generate()?;
        let foreign = CertificateParams::new(vec!["foreign.test".to_owned()])?.self_signed(&pair)?;
        let der = openssl::der(&foreign.pem())?;
        revoke(&side.account()?, &payload(&der))
    }),
];
