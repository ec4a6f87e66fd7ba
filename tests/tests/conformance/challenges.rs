//! Challenges: answered, and looked at (RFC 8555 §7.5.1, §8, §8.1, §8.4).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::base64url;
use tests::account::Account;

use crate::{
    ask::{account, authorization, challenge, kind, link, well_formed},
    world::world,
};

/// RFC 8555 §7.5.1 says: a challenge is answered by an empty object; the reply is 200 and the challenge.
/// RFC 8555 §7.1 says: a challenge links to its authorization as `up`.
/// RFC 8555 §7.5.1 MUST: members of the answer that the challenge does not know are ignored.
#[test]
fn an_answer_to_a_challenge_is_200_with_the_challenge_and_its_authorization() -> Result<()> {
    let account = account()?;
    for payload in [json!({}), json!({"unheard-of": [1], "keyAuthorization": "x", "status": "valid"})] {
        let order = account.order(&["answer.challenges.test"])?;
        let (parent, object) = authorization(&account, &order)?;
        let (url, token) = challenge(&object, "http-01")?;
        world().responder.put(&token, format!("{token}.{}", account.key.thumbprint()?));
        let reply = account.post(&url, &payload)?.expect(200)?;
        assert_eq!(link(&reply, "up").as_ref(), Some(&parent));
        let shown = reply.json()?;
        assert_eq!((shown["type"].as_str(), shown["url"].as_str()), (Some("http-01"), Some(url.as_str())));
        assert!(shown["status"] == "processing" || shown["status"] == "valid", "{shown}");
        account.wait(&parent, "valid")?;
    }
    Ok(())
}

/// RFC 8555 §7.5.1 MUST: an answer that cannot be one is an HTTP error.
#[test]
fn an_answer_that_is_no_object_is_refused_and_starts_nothing() -> Result<()> {
    let account = account()?;
    let order = account.order(&["wrong.challenges.test"])?;
    let (parent, object) = authorization(&account, &order)?;
    let (url, token) = challenge(&object, "http-01")?;
    for payload in [&b"[]"[..], b"1", b"null", b"\"\"", b"{", b"{}{}"] {
        assert_eq!(kind(&account.send(&url, payload)?)?, "malformed");
    }
    assert_eq!(account.read(&parent)?.json()?["status"], "pending");
    assert!(world().responder.asked(&token).is_empty());
    Ok(())
}

/// RFC 8555 §7.5.1 MUST: while a validation is under way the authorization is read by 200.
/// RFC 8555 §8.2 SHOULD: while a validation is under way, Retry-After says when to look again.
/// RFC 8555 §7.1.6 says: a challenge is `processing` from its answer until it is `valid` or `invalid`.
#[test]
fn states_that_are_seen_while_waiting_are_those_of_the_diagram() -> Result<()> {
    let account = account()?;
    let order = account.order(&["states.challenges.test"])?;
    let (parent, object) = authorization(&account, &order)?;
    let (url, token) = challenge(&object, "http-01")?;
    world().responder.put(&token, format!("{token}.{}", account.key.thumbprint()?));
    account.post(&url, &json!({}))?.expect(200)?;
    loop {
        let reply = account.read(&parent)?.expect(200)?;
        let shown = reply.json()?;
        assert_eq!(reply.header("retry-after").is_some(), shown["status"] == "pending", "{reply:?}");
        let inner = tests::account::challenge(&shown, "http-01")?["status"].clone();
        let expected = if shown["status"] == "pending" { json!("processing") } else { json!("valid") };
        assert_eq!(inner, expected, "{shown}");
        if shown["status"] == "valid" {
            return Ok(());
        }
    }
}

/// RFC 8555 §8 MUST: a challenge that has an error is `invalid`.
/// RFC 8555 §8.2 MUST: a failed validation is told in `error` of the challenge.
#[test]
fn an_error_of_a_challenge_is_shown_when_it_failed_and_not_before() -> Result<()> {
    let account = account()?;
    let order = account.order(&["error.challenges.test"])?;
    let (parent, object) = authorization(&account, &order)?;
    let (url, _) = challenge(&object, "http-01")?;
    let first = account.post(&url, &json!({}))?.expect(200)?.json()?;
    assert!(first.get("error").is_none() || first["status"] == "invalid", "{first}");
    account.wait(&parent, "valid").unwrap_err();
    let failed = account.read(&url)?.expect(200)?.json()?;
    assert_eq!(failed["status"], "invalid");
    well_formed(&failed["error"]);
    Ok(())
}

/// RFC 8555 §8.3 MUST: a token has at least 128 bits of entropy.
/// RFC 8555 §8.3 MUST NOT: a token has characters outside of base64url, or padding.
/// RFC 8555 §8.4 MUST: a token has at least 128 bits of entropy.
/// RFC 8555 §8.4 MUST NOT: a token has characters outside of base64url, or padding.
/// RFC 8555 §11.3 says: a client has no influence on tokens.
#[test]
fn tokens_are_base64url_of_128_bits_and_never_the_same() -> Result<()> {
    let account = account()?;
    let mut seen = BTreeSet::new();
    for _ in 0..8 {
        let order = account.order(&["tokens.challenges.test"])?;
        let (_, object) = authorization(&account, &order)?;
        let tokens: BTreeSet<String> =
            ["http-01", "dns-01"].iter().map(|kind| Ok(challenge(&object, kind)?.1)).collect::<Result<_>>()?;
        for token in tokens {
            assert!(base64url::decode(&token)?.len() >= 16, "{token}");
            assert!(seen.insert(token.clone()), "{token} came twice");
        }
    }
    Ok(())
}

/// The value that dns-01 wants for this account, computed here (RFC 8555 §8.4).
fn record(account: &Account, token: &str) -> Result<String> {
    Ok(base64url::encode(&Sha256::digest(format!("{token}.{}", account.key.thumbprint()?))))
}

/// Proves an authorization by a TXT record. Names with records are not below others here: a record makes its parents exist, so
/// the zone's `*` is no longer for them.
fn by_dns(account: &Account, url: &str, record_name: &str, value: &str, object: &Value) -> Result<Value> {
    world().named.add_txt(record_name, value)?;
    account.post(&challenge(object, "dns-01")?.0, &json!({}))?.expect(200)?;
    account.wait(url, "valid")
}

/// RFC 8555 §8.4 says: dns-01 is proved by a TXT record at `_acme-challenge` below the name, one of several suffices.
/// RFC 8555 §7.1.3 says: a wildcard is proved for the name below it.
#[test]
fn dns_01_is_proved_by_the_digest_of_the_key_authorization() -> Result<()> {
    let account = account()?;
    let order = account.order(&["*.star.test"])?;
    let (url, object) = authorization(&account, &order)?;
    assert!(tests::account::challenge(&object, "http-01").is_err(), "http-01 cannot prove a wildcard: {object}");
    world().named.add_txt("_acme-challenge.star.test", "something else")?;
    let value = record(&account, &challenge(&object, "dns-01")?.1)?;
    by_dns(&account, &url, "_acme-challenge.star.test", &value, &object)?;
    assert_eq!(account.read(&order.url)?.json()?["status"], "ready");
    Ok(())
}

/// RFC 8555 §8.1 says: a key authorization is of the token and the account's key, so nobody else's record proves anything.
/// RFC 8555 §8.4 says: the record has the digest, not the key authorization.
#[test]
fn dns_01_is_not_proved_by_other_records() -> Result<()> {
    let (account, other) = (account()?, account()?);
    for (name, which) in [("key-dns.test", 0), ("plain-dns.test", 1), ("place-dns.test", 2)] {
        let order = account.order(&[name])?;
        let (url, object) = authorization(&account, &order)?;
        let (_, token) = challenge(&object, "dns-01")?;
        let (place, value) = match which {
            0 => (format!("_acme-challenge.{name}"), record(&other, &token)?),
            1 => (format!("_acme-challenge.{name}"), format!("{token}.{}", account.key.thumbprint()?)),
            _ => (name.to_owned(), record(&account, &token)?),
        };
        by_dns(&account, &url, &place, &value, &object).unwrap_err();
        let error = account.read(&url)?.json()?;
        let error = tests::account::challenge(&error, "dns-01")?["error"]["type"].clone();
        let kind = error.as_str().context("a type")?.rsplit(':').next().context("a kind")?;
        assert!(kind == "incorrectResponse" || kind == "dns" || kind == "unauthorized", "{name}: {kind}");
    }
    Ok(())
}
