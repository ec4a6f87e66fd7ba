//! Key rollover (RFC 8555 §7.3.5).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    account::{Account, register},
    client::Reply,
    key::AccountKey,
};

use crate::{
    ask::{account, kind},
    world::world,
};

/// The inner JWS of a right rollover: its header and its payload.
fn parts(account: &Account, new_key: &AccountKey) -> (Value, Value) {
    let header = json!({"url": account.client.url("keyChange"), "jwk": new_key.jwk()});
    (header, json!({"account": account.url, "oldKey": account.key.jwk()}))
}

fn ask(account: &Account, inner: &Value) -> Result<Reply> {
    account.send(account.client.url("keyChange"), inner.to_string().as_bytes())
}

fn roll(account: &Account, new_key: &AccountKey) -> Result<Reply> {
    let (header, payload) = parts(account, new_key);
    ask(account, &new_key.sign(&header, payload.to_string().as_bytes())?)
}

/// Checks that the account has its key still, and the other key none.
fn nothing_changed(account: &Account, new_key: &AccountKey) -> Result<()> {
    account.read(&account.url)?.expect(200)?;
    let reply = register(&account.client, new_key, &json!({"onlyReturnExisting": true}))?;
    assert_eq!(kind(&reply)?, "accountDoesNotExist");
    Ok(())
}

/// RFC 8555 §7.3.5 says: a rollover is answered by 200; from then on the account has the new key and not the old one.
#[test]
fn after_a_rollover_the_new_key_signs_and_the_old_one_does_not() -> Result<()> {
    let mut account = account()?;
    let old = std::mem::replace(&mut account.key, AccountKey::es256());
    let new = std::mem::replace(&mut account.key, old);
    roll(&account, &new)?.expect(200)?;
    let old = std::mem::replace(&mut account.key, new);
    account.read(&account.url)?.expect(200)?;
    let by_old = old.sign(&crate::ask::header(&account, &account.url)?, b"")?.to_string();
    kind(&account.client.post(&account.url, by_old.as_bytes())?)?;
    // To a key of another kind, too.
    let ed = AccountKey::ed25519()?;
    roll(&account, &ed)?.expect(200)?;
    account.key = ed;
    account.read(&account.url)?.expect(200)?;
    Ok(())
}

/// RFC 8555 §7.3.5 MUST: the payload is a well-formed JWS, the inner one.
/// RFC 8555 §7.3.5 MUST: the inner JWS has the new key as its `jwk`.
/// RFC 8555 §7.3.5 MUST: the inner JWS verifies by its `jwk`.
/// RFC 8555 §7.3.5 MUST: `url` of the inner JWS is that of the outer one.
/// RFC 8555 §7.3.5 MUST: the inner JWS has no nonce.
#[test]
fn an_inner_jws_that_is_wrong_in_one_thing_is_refused() -> Result<()> {
    let (account, new) = (account()?, AccountKey::es256());
    let (header, payload) = parts(&account, &new);
    let payload = payload.to_string();
    let with = |member: &str, value: Option<Value>| {
        let mut header = header.clone();
        match value {
            Some(value) => header[member] = value,
            None => drop(header.as_object_mut().map(|header| header.remove(member))),
        }
        new.sign(&header, payload.as_bytes())
    };
    let good = new.sign(&header, payload.as_bytes())?;
    let mut unsigned = good.clone();
    unsigned["signature"] = json!("");
    let mut unprotected = good;
    unprotected["header"] = json!({});
    let table = [
        json!({}),
        json!("no JWS"),
        unsigned,
        unprotected,
        with("jwk", None)?,
        with("jwk", Some(account.key.jwk()))?,
        with("kid", Some(json!(account.url)))?,
        with("url", None)?,
        with("url", Some(json!(account.url)))?,
        with("nonce", Some(json!(account.client.nonce()?)))?,
        with("alg", Some(json!("none")))?,
        AccountKey::es256().sign(&header, payload.as_bytes())?,
        account.key.sign(&header, payload.as_bytes())?,
    ];
    for inner in table {
        kind(&ask(&account, &inner)?).with_context(|| inner.to_string())?;
    }
    kind(&account.send(account.client.url("keyChange"), b"")?)?;
    nothing_changed(&account, &new)
}

/// RFC 8555 §7.3.5 MUST: the inner payload is a keyChange object.
/// RFC 8555 §7.3.5 MUST: `account` is the URL of the outer `kid`, exactly.
/// RFC 8555 §7.3.5 MUST: `oldKey` is the account's key.
#[test]
fn a_key_change_object_that_is_wrong_in_one_thing_is_refused() -> Result<()> {
    let (account, other, new) = (account()?, account()?, AccountKey::es256());
    let (header, _) = parts(&account, &new);
    let table = [
        json!({}),
        json!([]),
        json!({"account": account.url}),
        json!({"oldKey": account.key.jwk()}),
        json!({"account": other.url, "oldKey": account.key.jwk()}),
        json!({"account": other.url, "oldKey": other.key.jwk()}),
        json!({"account": format!("{}/", account.url), "oldKey": account.key.jwk()}),
        json!({"account": account.url, "oldKey": other.key.jwk()}),
        json!({"account": account.url, "oldKey": new.jwk()}),
        json!({"account": account.url, "oldKey": {}}),
    ];
    for payload in table {
        let inner = new.sign(&header, payload.to_string().as_bytes())?;
        kind(&ask(&account, &inner)?).with_context(|| payload.to_string())?;
    }
    nothing_changed(&account, &new)
}

/// RFC 8555 §7.3.5 MUST: the outer JWS is that of an account that is valid, and signed by its key.
#[test]
fn a_rollover_that_the_old_key_did_not_sign_is_refused() -> Result<()> {
    let (account, new) = (account()?, AccountKey::es256());
    let (header, payload) = parts(&account, &new);
    let inner = new.sign(&header, payload.to_string().as_bytes())?.to_string();
    let url = account.client.url("keyChange");
    let outer = crate::ask::header(&account, url)?;
    kind(&account.client.post(url, new.sign(&outer, inner.as_bytes())?.to_string().as_bytes())?)?;
    let by_jwk = json!({"url": url, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
    kind(&crate::ask::send(&account, url, &by_jwk, inner.as_bytes())?)?;
    nothing_changed(&account, &new)
}

/// RFC 8555 §7.3.5 MUST: the new key is not one that an account has.
/// RFC 8555 §7.3.5 SHOULD: the conflict is 409, with that account's URL in Location.
#[test]
fn the_key_of_another_account_is_a_conflict_that_names_it() -> Result<()> {
    let (one, two) = (account()?, account()?);
    let reply = roll(&one, &two.key)?;
    kind(&reply)?;
    assert_eq!((reply.status, reply.location()?), (409, two.url.clone()));
    for account in [one, two] {
        account.read(&account.url)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §7.3.5 MUST NOT: orders and authorizations that have begun are made invalid by a rollover.
/// RFC 8555 §7.3.5 SHOULD NOT: a rollover has any other effect on the account.
/// RFC 8555 §8.1 says: a key authorization is made with the key that the account has when the challenge is answered.
#[test]
fn what_was_begun_before_a_rollover_is_ended_after_it() -> Result<()> {
    let mut account = Account::new(&world().client)?;
    account.post(&account.url, &json!({"contact": ["mailto:a@contact.test"]}))?.expect(200)?;
    let before = account.read(&account.url)?.json()?;
    let pending = account.order(&["pending.rolled.test"])?;
    let ready = account.ready_order(&["ready.rolled.test"], &world().responder)?;
    let new = AccountKey::es256();
    roll(&account, &new)?.expect(200)?;
    account.key = new;
    assert_eq!(account.read(&account.url)?.json()?, before);
    assert_eq!(account.read(&pending.url)?.json()?["status"], "pending");
    account.prove(&pending, &world().responder)?;
    for (order, name) in [(pending, "pending.rolled.test"), (ready, "ready.rolled.test")] {
        account.post(&order.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
        account.certificate(&order)?;
    }
    Ok(())
}

/// RFC 8555 §6.5 says: the nonce of each answer is good for the client's next request; after a rollover for the account and for its new key.
#[test]
fn the_nonces_after_a_rollover_are_good_for_the_account_and_for_its_new_key() -> Result<()> {
    let nonce_of = |reply: &Reply| reply.header("replay-nonce").map(str::to_owned).context("a nonce");
    for looks_up in [true, false] {
        let account = account()?;
        let new = AccountKey::es256();
        let mut nonce = nonce_of(&roll(&account, &new)?.expect(200)?)?;
        if looks_up {
            let url = account.client.url("newAccount");
            let header = json!({"url": url, "nonce": nonce, "jwk": new.jwk()});
            let body = new.sign(&header, br#"{"onlyReturnExisting":true}"#)?.to_string();
            nonce = nonce_of(&account.client.post(url, body.as_bytes())?.expect(200)?)?;
        }
        let header = json!({"url": account.url, "nonce": nonce, "kid": account.url});
        account.client.post(&account.url, new.sign(&header, b"")?.to_string().as_bytes())?.expect(200)?;
    }
    Ok(())
}
