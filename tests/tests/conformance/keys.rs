//! Which algorithms and keys sign requests (RFC 8555 §6.2).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::base64url;
use tests::{
    account::{Account, register},
    client::Reply,
    key::AccountKey,
};

use crate::{
    ask::{account, changed, refused},
    world::world,
};

/// newAccount with this `alg` and `jwk`, signed by a good key. What is wrong with them is found before the signature.
fn offer(algorithm: &str, jwk: &Value) -> Result<Reply> {
    let client = &world().client;
    let url = client.url("newAccount");
    let header = json!({"alg": algorithm, "url": url, "nonce": client.nonce()?, "jwk": jwk});
    client.post(url, AccountKey::es256().sign(&header, b"{}")?.to_string().as_bytes())
}

/// RFC 8555 §6.2 MUST NOT: `alg` is `none` or a MAC.
/// RFC 8555 §6.2 MUST: an algorithm that is not supported is `badSignatureAlgorithm`, 400, with the supported ones in `algorithms`.
#[test]
fn algorithms_that_are_not_supported_are_answered_with_those_that_are() -> Result<()> {
    let account = account()?;
    for algorithm in ["none", "HS256", "HS384", "HS512", "ES256K", "RS1", "", "es256"] {
        let by_key = offer(algorithm, &account.key.jwk())?;
        let by_account = changed(&account, |header| header["alg"] = json!(algorithm))?;
        for reply in [by_key, by_account] {
            refused(&reply, 400, "badSignatureAlgorithm")?;
            let problem = reply.json()?;
            let supported: Vec<_> =
                problem["algorithms"].as_array().context("algorithms")?.iter().filter_map(Value::as_str).collect();
            assert!(supported.contains(&"ES256") && !supported.contains(&algorithm), "{problem}");
        }
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST: ES256 is supported.
/// RFC 8555 §6.2 SHOULD: EdDSA with Ed25519 is supported.
#[test]
fn accounts_are_opened_and_used_by_es256_ed25519_and_rsa_keys() -> Result<()> {
    for key in [AccountKey::es256(), AccountKey::ed25519()?, AccountKey::rs256()?] {
        let account = Account::with_key(&world().client, key)?;
        account.read(&account.url)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST: a key that is not supported or not accepted is `badPublicKey`, 400.
/// RFC 8555 §6.2 SHOULD: `badPublicKey` says what is wrong with the key.
#[test]
fn keys_that_are_not_accepted_are_bad_public_keys() -> Result<()> {
    let good = AccountKey::es256().jwk();
    let with = |member: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[member] = value;
        jwk
    };
    let zero = base64url::encode(&[0; 32]);
    let rsa = AccountKey::rsa(1024)?;
    let table = [
        ("ES256", with("crv", json!("P-521"))),
        ("ES256", with("crv", json!("secp256k1"))),
        ("ES256", with("y", json!(zero))),
        ("ES256", with("x", json!("AA"))),
        ("ES256", json!({"kty": "oct", "k": "AAAA"})),
        ("ES256", json!({})),
        ("RS256", rsa.jwk()),
        ("RS256", json!({"kty": "RSA", "n": AccountKey::rs256()?.jwk()["n"], "e": "AQ"})),
        ("EdDSA", json!({"kty": "OKP", "crv": "Ed448", "x": base64url::encode(&[1; 57])})),
        ("EdDSA", json!({"kty": "OKP", "crv": "X25519", "x": base64url::encode(&[9; 32])})),
    ];
    for (algorithm, jwk) in table {
        let reply = offer(algorithm, &jwk)?;
        refused(&reply, 400, "badPublicKey").with_context(|| jwk.to_string())?;
    }
    refused(&register(&world().client, &rsa, &json!({}))?, 400, "badPublicKey")
}

/// RFC 8555 §6.2 MUST: a key of another algorithm than the header's is `badPublicKey`.
#[test]
fn a_key_of_another_algorithm_is_a_bad_public_key() -> Result<()> {
    let (ec, rsa, ed) = (AccountKey::es256().jwk(), AccountKey::rs256()?.jwk(), AccountKey::ed25519()?.jwk());
    for (algorithm, jwk) in [("ES256", &rsa), ("ES256", &ed), ("RS256", &ec), ("EdDSA", &ec), ("ES384", &ec)] {
        refused(&offer(algorithm, jwk)?, 400, "badPublicKey").with_context(|| format!("{algorithm} {jwk}"))?;
    }
    Ok(())
}

/// RFC 8555 §8.1 MUST: zeros before a number of a JWK do not make another thumbprint of it.
#[test]
fn a_key_written_with_leading_zeros_is_refused_rather_than_taken_for_another() -> Result<()> {
    let key = AccountKey::rs256()?;
    let jwk = key.jwk();
    let modulus = base64url::decode(jwk["n"].as_str().context("a modulus")?)?;
    let padded = [&[0], modulus.as_slice()].concat();
    for (member, value) in [("n", base64url::encode(&padded)), ("e", base64url::encode(&[0, 1, 0, 1]))] {
        let mut jwk = jwk.clone();
        jwk[member] = json!(value);
        refused(&offer("RS256", &jwk)?, 400, "badPublicKey")?;
    }
    Ok(())
}
