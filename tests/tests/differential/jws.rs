//! Requests that are wrong as JWS.

use anyhow::Result;
use serde_json::{Value, json};
use shared::base64url;
use tests::{account::register, client::Reply, key::AccountKey};

use crate::{
    Case,
    side::{Side, by, header, reduced, send},
};

/// A POST-as-GET of a fresh account's URL, changed in its header.
fn changed(side: &Side, change: impl FnOnce(&mut Value)) -> Result<String> {
    let account = side.account()?;
    let mut header = header(&account, &account.url)?;
    change(&mut header);
    by(&account, &account.key, &account.url, &header, b"").map(|reply| reduced(&reply))
}

/// The same, changed as JSON.
fn reshaped(side: &Side, change: impl FnOnce(&mut Value)) -> Result<String> {
    let account = side.account()?;
    let mut jws = account.key.sign(&header(&account, &account.url)?, b"")?;
    change(&mut jws);
    account.client.post(&account.url, jws.to_string().as_bytes()).map(|reply| reduced(&reply))
}

fn removed(side: &Side, member: &str) -> Result<String> {
    let account = side.account()?;
    let mut header = header(&account, &account.url)?;
    header.as_object_mut().map(|header| header.remove(member));
    let jws = account.key.sign_text(&header.to_string(), b"")?;
    account.client.post(&account.url, jws.to_string().as_bytes()).map(|reply| reduced(&reply))
}

/// newAccount with this `alg` and `jwk`, signed by another key.
fn offered(side: &Side, algorithm: &str, jwk: &Value) -> Result<String> {
    let url = side.client.url("newAccount");
    let header = json!({"alg": algorithm, "url": url, "nonce": side.client.nonce()?, "jwk": jwk});
    let payload = br#"{"termsOfServiceAgreed":true}"#;
    let body = AccountKey::es256().sign(&header, payload)?.to_string();
    side.client.post(url, body.as_bytes()).map(|reply| reduced(&reply))
}

fn opened(side: &Side, key: &AccountKey) -> Result<String> {
    register(&side.client, key, &json!({"termsOfServiceAgreed": true})).map(|reply| reduced(&reply))
}

fn body(side: &Side, media_type: &str, body: &[u8]) -> Result<String> {
    let account = side.account()?;
    account.client.post_as(&account.url, media_type, body).map(|reply| reduced(&reply))
}

const JOSE: &str = tests::client::JOSE;

pub(crate) const CASES: [Case; 44] = [
    ("jws: right", |side| changed(side, |_| {})),
    ("jws: empty body", |side| body(side, JOSE, b"")),
    ("jws: not JSON", |side| body(side, JOSE, b"nothing")),
    ("jws: empty object", |side| body(side, JOSE, b"{}")),
    ("jws: not UTF-8", |side| body(side, JOSE, &[0xff; 10])),
    ("jws: 70,000 bytes", |side| body(side, JOSE, &[b' '; 70_000])),
    ("jws: Content-Type application/json", |side| body(side, "application/json", b"{}")),
    ("jws: Content-Type with a parameter", |side| {
        let account = side.account()?;
        let jws = account.key.sign(&header(&account, &account.url)?, b"")?.to_string();
        let media_type = "application/jose+json; charset=utf-8";
        account.client.post_as(&account.url, media_type, jws.as_bytes()).map(|reply| reduced(&reply))
    }),
    ("jws: compact", |side| {
        let account = side.account()?;
        let jws = account.key.sign(&header(&account, &account.url)?, b"")?;
        let text = |member: &str| jws[member].as_str().unwrap_or_default().to_owned();
        let compact = format!("{}.{}.{}", text("protected"), text("payload"), text("signature"));
        account.client.post(&account.url, compact.as_bytes()).map(|reply| reduced(&reply))
    }),
    ("jws: general serialization", |side| {
        reshaped(side, |jws| {
            let signature = json!({"protected": jws["protected"], "signature": jws["signature"]});
            *jws = json!({"payload": jws["payload"], "signatures": [signature]});
        })
    }),
    ("jws: unprotected header", |side| reshaped(side, |jws| jws["header"] = json!({"x": 1}))),
    ("jws: empty signatures beside the signature", |side| reshaped(side, |jws| jws["signatures"] = json!([]))),
    ("jws: without payload", |side| reshaped(side, |jws| drop(jws.as_object_mut().map(|jws| jws.remove("payload"))))),
    ("jws: padded payload", |side| reshaped(side, |jws| jws["payload"] = json!("e30="))),
    ("jws: no signature", |side| reshaped(side, |jws| jws["signature"] = json!(""))),
    ("jws: another payload than was signed", |side| reshaped(side, |jws| jws["payload"] = json!("e30"))),
    ("jws: signed by another key", |side| {
        let account = side.account()?;
        let header = header(&account, &account.url)?;
        by(&account, &AccountKey::es256(), &account.url, &header, b"").map(|reply| reduced(&reply))
    }),
    ("jws: crit", |side| changed(side, |header| header["crit"] = json!(["exp"]))),
    ("jws: b64 false", |side| {
        changed(side, |header| {
            header["b64"] = json!(false);
            header["crit"] = json!(["b64"]);
        })
    }),
    ("alg: none", |side| changed(side, |header| header["alg"] = json!("none"))),
    ("alg: HS256", |side| changed(side, |header| header["alg"] = json!("HS256"))),
    ("alg: ES384 for a P-256 key", |side| changed(side, |header| header["alg"] = json!("ES384"))),
    ("alg: RS256 for a P-256 key", |side| changed(side, |header| header["alg"] = json!("RS256"))),
    ("alg: missing", |side| removed(side, "alg")),
    ("url: missing", |side| removed(side, "url")),
    ("url: of another resource", |side| {
        let url = side.client.url("newOrder").to_owned();
        changed(side, |header| header["url"] = json!(url))
    }),
    ("url: with a slash behind", |side| {
        changed(side, |header| header["url"] = json!(format!("{}/", header["url"].as_str().unwrap_or_default())))
    }),
    ("nonce: missing", |side| removed(side, "nonce")),
    ("nonce: made up", |side| changed(side, |header| header["nonce"] = json!("AAAA"))),
    ("nonce: not base64url", |side| changed(side, |header| header["nonce"] = json!("not base64url"))),
    ("nonce: used", |side| {
        let account = side.account()?;
        let header = header(&account, &account.url)?;
        by(&account, &account.key, &account.url, &header, b"")?.expect(200)?;
        by(&account, &account.key, &account.url, &header, b"").map(|reply| reduced(&reply))
    }),
    ("kid and jwk", |side| {
        let account = side.account()?;
        let mut header = header(&account, &account.url)?;
        header["jwk"] = account.key.jwk();
        by(&account, &account.key, &account.url, &header, b"").map(|reply| reduced(&reply))
    }),
    ("neither kid nor jwk", |side| removed(side, "kid")),
    ("jwk in place of kid", |side| {
        let account = side.account()?;
        let header = json!({"url": account.url, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
        by(&account, &account.key, &account.url, &header, b"").map(|reply| reduced(&reply))
    }),
    ("kid in place of jwk at newAccount", |side| {
        let account = side.account()?;
        send(&account, account.client.url("newAccount"), b"{}").map(|reply: Reply| reduced(&reply))
    }),
    ("kid: of nobody", |side| {
        changed(side, |header| {
            let kid = header["kid"].as_str().unwrap_or_default();
            header["kid"] = json!(format!("{}AAAA", kid.trim_end_matches(|last: char| last != '/')));
        })
    }),
    ("kid: of another server", |side| changed(side, |header| header["kid"] = json!("https://elsewhere.test/1"))),
    ("key: Ed25519", |side| opened(side, &AccountKey::ed25519()?)),
    ("key: RSA of 2048 bits", |side| opened(side, &AccountKey::rs256()?)),
    ("key: RSA of 1024 bits", |side| opened(side, &AccountKey::rsa(1024)?)),
    ("key: not on its curve", |side| {
        let mut jwk = AccountKey::es256().jwk();
        jwk["y"] = json!(base64url::encode(&[0; 32]));
        offered(side, "ES256", &jwk)
    }),
    ("key: of an unknown curve", |side| {
        let mut jwk = AccountKey::es256().jwk();
        jwk["crv"] = json!("secp256k1");
        offered(side, "ES256", &jwk)
    }),
    ("key: symmetric", |side| offered(side, "ES256", &json!({"kty": "oct", "k": "AAAA"}))),
    ("key: RSA by an ES256 header", |side| offered(side, "ES256", &AccountKey::rs256()?.jwk())),
];
