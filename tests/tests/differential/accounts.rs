//! newAccount, and requests to an account.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{account::register, key::AccountKey};

use crate::{
    Case,
    side::{Side, members, post, read, reduced, send, status},
};

/// newAccount of a fresh key, with agreement and these members.
fn made(side: &Side, more: &Value) -> Result<String> {
    let mut payload = json!({"termsOfServiceAgreed": true});
    for (name, value) in more.as_object().into_iter().flatten() {
        payload[name] = value.clone();
    }
    register(&side.client, &AccountKey::es256(), &payload).map(|reply| reduced(&reply))
}

fn contact(side: &Side, contact: &str) -> Result<String> {
    made(side, &json!({"contact": [contact]}))
}

/// newAccount of a fresh key with this payload as it is.
fn raw(side: &Side, payload: &[u8]) -> Result<String> {
    let (key, url) = (AccountKey::es256(), side.client.url("newAccount"));
    let header = json!({"url": url, "nonce": side.client.nonce()?, "jwk": key.jwk()});
    side.client.post(url, key.sign(&header, payload)?.to_string().as_bytes()).map(|reply| reduced(&reply))
}

/// newAccount again by the key of a fresh account.
fn again(side: &Side, payload: &Value) -> Result<String> {
    let account = side.account()?;
    let reply = register(&side.client, &account.key, payload)?;
    let same = reply.location().is_ok_and(|location| location == account.url);
    Ok(format!("{}{}", reduced(&reply), if same { ", the same account" } else { "" }))
}

/// An update of a fresh account, and what its status is after that.
fn updated(side: &Side, payload: &Value) -> Result<String> {
    let account = side.account()?;
    let first = post(&account, &account.url, payload)?;
    Ok(format!("{first}, then {}", status(&account, &account.url)?))
}

/// What a deactivated account hears.
fn gone(side: &Side, name: &str, payload: &Value) -> Result<String> {
    let account = side.account()?;
    send(&account, &account.url, br#"{"status":"deactivated"}"#)?.expect(200)?;
    let url = if name.is_empty() { &account.url } else { side.client.url(name) };
    if payload.is_null() { read(&account, url) } else { post(&account, url, payload) }
}

pub(crate) const CASES: [Case; 38] = [
    ("newAccount", |side| made(side, &json!({}))),
    ("newAccount: members of the account", |side| {
        let reply = register(&side.client, &AccountKey::es256(), &json!({"termsOfServiceAgreed": true}))?;
        Ok(members(&reply.json()?))
    }),
    ("newAccount: without agreement", |side| made(side, &json!({"termsOfServiceAgreed": false}))),
    ("newAccount: empty payload", |side| raw(side, b"")),
    ("newAccount: an array", |side| raw(side, b"[]")),
    ("newAccount: not JSON", |side| raw(side, b"nothing")),
    ("newAccount: unknown members", |side| made(side, &json!({"unheard-of": {"of": 1}, "orders": "https://x.test/"}))),
    ("newAccount: status deactivated", |side| made(side, &json!({"status": "deactivated"}))),
    ("newAccount: a binding where none is asked for", |side| made(side, &json!({"externalAccountBinding": {}}))),
    ("newAccount: onlyReturnExisting of an unknown key", |side| made(side, &json!({"onlyReturnExisting": true}))),
    ("newAccount: again", |side| again(side, &json!({"termsOfServiceAgreed": true}))),
    ("newAccount: again, onlyReturnExisting", |side| again(side, &json!({"onlyReturnExisting": true}))),
    ("newAccount: again, without agreement", |side| again(side, &json!({}))),
    ("newAccount: again, with a wrong contact", |side| again(side, &json!({"contact": ["tel:1"]}))),
    ("contact: one", |side| contact(side, "mailto:a@contact.test")),
    ("contact: two", |side| made(side, &json!({"contact": ["mailto:a@contact.test", "mailto:b@contact.test"]}))),
    ("contact: none", |side| made(side, &json!({"contact": []}))),
    ("contact: not an array", |side| made(side, &json!({"contact": "mailto:a@contact.test"}))),
    ("contact: tel", |side| contact(side, "tel:+12025551212")),
    ("contact: not a URL", |side| contact(side, "a@contact.test")),
    ("contact: empty text", |side| contact(side, "")),
    ("contact: without an address", |side| contact(side, "mailto:")),
    ("contact: header fields", |side| contact(side, "mailto:a@contact.test?subject=x")),
    ("contact: two addresses in one", |side| contact(side, "mailto:a@contact.test,b@contact.test")),
    ("contact: not ASCII", |side| contact(side, "mailto:\u{fc}@contact.test")),
    ("account: read", |side| {
        let account = side.account()?;
        read(&account, &account.url)
    }),
    ("account: read by another", |side| {
        let (one, two) = (side.account()?, side.account()?);
        read(&one, &two.url)
    }),
    ("account: new contact", |side| updated(side, &json!({"contact": ["mailto:b@contact.test"]}))),
    ("account: wrong contact", |side| updated(side, &json!({"contact": ["tel:1"]}))),
    ("account: empty update", |side| updated(side, &json!({}))),
    ("account: status valid", |side| updated(side, &json!({"status": "valid"}))),
    ("account: status revoked", |side| updated(side, &json!({"status": "revoked"}))),
    ("account: status of another type", |side| updated(side, &json!({"status": 1}))),
    ("account: deactivated", |side| updated(side, &json!({"status": "deactivated"}))),
    ("account: deactivated, updated", |side| gone(side, "", &json!({"contact": []}))),
    ("account: deactivated, newOrder", |side| {
        gone(side, "newOrder", &json!({"identifiers": [{"type": "dns", "value": "gone.test"}]}))
    }),
    ("account: deactivated, keyChange", |side| gone(side, "keyChange", &json!({}))),
    ("account: deactivated, newAccount", |side| {
        let account = side.account()?;
        send(&account, &account.url, br#"{"status":"deactivated"}"#)?.expect(200)?;
        let reply = register(&side.client, &account.key, &json!({"termsOfServiceAgreed": true}))?;
        Ok(reduced(&reply))
    }),
];
