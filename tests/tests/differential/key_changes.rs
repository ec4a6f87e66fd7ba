//! keyChange.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    account::{Account, register},
    key::AccountKey,
};

use crate::{
    Case,
    side::{Side, by, header, read, reduced, send},
};

/// A rollover of a fresh account to a fresh key, changed in the inner header and payload; and whether the old key works still.
fn rolled(side: &Side, change: impl FnOnce(&Account, &mut Value, &mut Value)) -> Result<String> {
    let (account, new) = (side.account()?, AccountKey::es256());
    roll(&account, &new, change)
}

fn roll(account: &Account, new: &AccountKey, change: impl FnOnce(&Account, &mut Value, &mut Value)) -> Result<String> {
    let url = account.client.url("keyChange");
    let mut inner = json!({"url": url, "jwk": new.jwk()});
    let mut payload = json!({"account": account.url, "oldKey": account.key.jwk()});
    change(account, &mut inner, &mut payload);
    let inner = new.sign(&inner, payload.to_string().as_bytes())?;
    let answer = reduced(&send(account, url, inner.to_string().as_bytes())?);
    Ok(format!("{answer}, then by the old key {}", read(account, &account.url)?))
}

pub(crate) const CASES: [Case; 18] = [
    ("keyChange", |side| rolled(side, |_, _, _| {})),
    ("keyChange: the new key finds the account", |side| {
        let (account, new) = (side.account()?, AccountKey::es256());
        roll(&account, &new, |_, _, _| {})?;
        let reply = register(&side.client, &new, &json!({"onlyReturnExisting": true}))?;
        let same = reply.location().is_ok_and(|location| location == account.url);
        Ok(format!("{}, the same: {same}", reduced(&reply)))
    }),
    ("keyChange: the old key after it, at newAccount", |side| {
        let (account, new) = (side.account()?, AccountKey::es256());
        roll(&account, &new, |_, _, _| {})?;
        register(&side.client, &account.key, &json!({"termsOfServiceAgreed": true})).map(|reply| reduced(&reply))
    }),
    ("keyChange: to another account's key", |side| {
        let (account, other) = (side.account()?, side.account()?);
        roll(&account, &other.key, |_, _, _| {})
    }),
    ("keyChange: to the same key", |side| {
        let account = side.account()?;
        let url = account.client.url("keyChange");
        let payload = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
        let inner = account.key.sign(&json!({"url": url, "jwk": account.key.jwk()}), payload.as_bytes())?;
        send(&account, url, inner.to_string().as_bytes()).map(|reply| reduced(&reply))
    }),
    ("keyChange: payload is no JWS", |side| {
        let account = side.account()?;
        send(&account, side.client.url("keyChange"), b"{}").map(|reply| reduced(&reply))
    }),
    ("keyChange: empty payload", |side| {
        let account = side.account()?;
        read(&account, side.client.url("keyChange"))
    }),
    ("keyChange: inner url of another resource", |side| {
        rolled(side, |account, inner, _| inner["url"] = json!(account.url))
    }),
    ("keyChange: inner url missing", |side| {
        rolled(side, |_, inner, _| drop(inner.as_object_mut().map(|inner| inner.remove("url"))))
    }),
    ("keyChange: inner nonce", |side| rolled(side, |_, inner, _| inner["nonce"] = json!("AAAA"))),
    ("keyChange: inner jwk of the old key", |side| rolled(side, |account, inner, _| inner["jwk"] = account.key.jwk())),
    ("keyChange: inner kid", |side| {
        rolled(side, |account, inner, _| *inner = json!({"url": inner["url"], "kid": account.url}))
    }),
    ("keyChange: of another account", |side| {
        let other = side.account()?;
        rolled(side, |_, _, payload| payload["account"] = json!(other.url))
    }),
    ("keyChange: account missing", |side| {
        rolled(side, |account, _, payload| *payload = json!({"oldKey": account.key.jwk()}))
    }),
    ("keyChange: another old key", |side| rolled(side, |_, _, payload| payload["oldKey"] = AccountKey::es256().jwk())),
    ("keyChange: old key missing", |side| {
        rolled(side, |account, _, payload| *payload = json!({"account": account.url}))
    }),
    ("keyChange: outer by the new key", |side| {
        let (account, new) = (side.account()?, AccountKey::es256());
        let url = account.client.url("keyChange");
        let payload = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
        let inner = new.sign(&json!({"url": url, "jwk": new.jwk()}), payload.as_bytes())?.to_string();
        by(&account, &new, url, &header(&account, url)?, inner.as_bytes()).map(|reply| reduced(&reply))
    }),
    ("keyChange: outer by jwk", |side| {
        let (account, new) = (side.account()?, AccountKey::es256());
        let url = account.client.url("keyChange");
        let payload = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
        let inner = new.sign(&json!({"url": url, "jwk": new.jwk()}), payload.as_bytes())?.to_string();
        let header = json!({"url": url, "nonce": side.client.nonce()?, "jwk": account.key.jwk()});
        by(&account, &account.key, url, &header, inner.as_bytes()).map(|reply| reduced(&reply))
    }),
];
