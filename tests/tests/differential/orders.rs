//! newOrder, newAuthz, finalize, certificates.

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use shared::base64url;
use tests::{
    account::{Account, Order},
    key::AccountKey,
    subject,
};

use crate::{
    Case,
    side::{Side, first, members, post, read, reduced, send, status},
};

fn dns(value: &str) -> Value {
    json!({"type": "dns", "value": value})
}

/// newOrder of a fresh account.
fn ordered(side: &Side, payload: &Value) -> Result<String> {
    let account = side.account()?;
    post(&account, side.client.url("newOrder"), payload)
}

/// newOrder of these names by a fresh account; what became of the names when it is accepted.
fn named(side: &Side, names: &[&str]) -> Result<String> {
    let account = side.account()?;
    let identifiers: Vec<Value> = names.iter().map(|name| dns(name)).collect();
    let payload = json!({"identifiers": identifiers}).to_string();
    let reply = send(&account, side.client.url("newOrder"), payload.as_bytes())?;
    let mut text = reduced(&reply);
    if reply.status == 201 {
        let object = reply.json()?;
        let values = object["identifiers"].as_array().context("identifiers")?;
        let mut values: Vec<_> = values.iter().filter_map(|identifier| identifier["value"].as_str()).collect();
        values.sort_unstable();
        text += &format!(", {}", values.join(" "));
    }
    Ok(text)
}

/// newOrder of a name with something more.
fn with(side: &Side, member: &str, value: Value) -> Result<String> {
    ordered(side, &json!({"identifiers": [dns("with.test")], member: value}))
}

/// Finalize of a ready order of this name, and the order after that.
fn finalized(side: &Side, name: &str, payload: &Value) -> Result<String> {
    let (account, order) = side.ready(name)?;
    let answer = post(&account, &order.finalize()?, payload)?;
    Ok(format!("{answer}, then {}", status(&account, &order.url)?))
}

fn csr(der: &[u8]) -> Value {
    json!({"csr": base64url::encode(der)})
}

/// A CSR of a common name and alternative names.
fn request(common_name: &str, names: &[&str]) -> Result<Value> {
    let mut request = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    request.distinguished_name = DistinguishedName::new();
    if !common_name.is_empty() {
        request.distinguished_name.push(DnType::CommonName, common_name);
    }
    Ok(csr(request.serialize_request(&KeyPair::generate()?)?.der()))
}

/// A finalize that should succeed, as far as the order's last state.
fn issued(side: &Side, name: &str, payload: &Value) -> Result<String> {
    let (account, order) = side.ready(name)?;
    let answer = post(&account, &order.finalize()?, payload)?;
    if !answer.starts_with("200") {
        return Ok(answer);
    }
    account.wait(&order.url, "valid")?;
    Ok("200, then valid".to_owned())
}

fn certificate(order: &Order) -> Result<String> {
    order.object["certificate"].as_str().map(str::to_owned).context("a certificate")
}

/// A fresh order of a fresh account.
fn pending(side: &Side, name: &str) -> Result<(Account, Order)> {
    let account = side.account()?;
    let order = account.order(&[name])?;
    Ok((account, order))
}

pub(crate) const CASES: [Case; 61] = [
    ("newOrder", |side| named(side, &["one.test"])),
    ("newOrder: members of the order", |side| Ok(members(&pending(side, "members.test")?.1.object))),
    ("newOrder: empty payload", |side| {
        let account = side.account()?;
        read(&account, side.client.url("newOrder"))
    }),
    ("newOrder: no identifiers", |side| ordered(side, &json!({}))),
    ("newOrder: empty identifiers", |side| ordered(side, &json!({"identifiers": []}))),
    ("newOrder: identifiers are no array", |side| ordered(side, &json!({"identifiers": dns("a.test")}))),
    ("newOrder: without a type", |side| ordered(side, &json!({"identifiers": [{"value": "a.test"}]}))),
    ("newOrder: without a value", |side| ordered(side, &json!({"identifiers": [{"type": "dns"}]}))),
    ("newOrder: an unknown type", |side| {
        ordered(side, &json!({"identifiers": [{"type": "email", "value": "a@b.test"}]}))
    }),
    ("newOrder: two refused in different ways", |side| {
        let email = json!({"type": "email", "value": "a@b.test"});
        ordered(side, &json!({"identifiers": [dns("a..test"), email, dns("good.test")]}))
    }),
    ("newOrder: the same name twice", |side| named(side, &["twice.test", "twice.test"])),
    ("newOrder: names in another order", |side| named(side, &["b.order.test", "a.order.test"])),
    ("newOrder: capitals", |side| named(side, &["Capitals.TEST"])),
    ("newOrder: a dot behind", |side| named(side, &["dot.test."])),
    ("newOrder: an empty label", |side| named(side, &["a..test"])),
    ("newOrder: an empty name", |side| named(side, &[""])),
    ("newOrder: one label", |side| named(side, &["test"])),
    ("newOrder: an underscore", |side| named(side, &["_under.test"])),
    ("newOrder: a hyphen before", |side| named(side, &["-a.test"])),
    ("newOrder: a label of 64", |side| named(side, &[&format!("{}.test", "a".repeat(64))])),
    ("newOrder: an address as a name", |side| named(side, &["192.0.2.1"])),
    ("newOrder: a port", |side| named(side, &["a.test:443"])),
    ("newOrder: a URL", |side| named(side, &["https://a.test/"])),
    ("newOrder: not ASCII", |side| named(side, &["b\u{fc}cher.test"])),
    ("newOrder: an A-label", |side| named(side, &["xn--bcher-kva.test"])),
    ("newOrder: a wrong A-label", |side| named(side, &["xn--abc-.test"])),
    ("newOrder: a wildcard", |side| named(side, &["*.wild.test"])),
    ("newOrder: a wildcard and its parent", |side| named(side, &["*.wild.test", "wild.test"])),
    ("newOrder: a wildcard and a name that it covers", |side| named(side, &["*.wild.test", "a.wild.test"])),
    ("newOrder: two wildcards in one name", |side| named(side, &["*.*.test"])),
    ("newOrder: a wildcard within", |side| named(side, &["a.*.test"])),
    ("newOrder: a name that is not permitted", |side| named(side, &["blocked-domain.example"])),
    ("newOrder: an address that is not canonical", |side| {
        ordered(side, &json!({"identifiers": [{"type": "ip", "value": "127.0.0.01"}]}))
    }),
    ("newOrder: a known profile", |side| with(side, "profile", json!("client"))),
    ("newOrder: an unknown profile", |side| with(side, "profile", json!("none"))),
    ("newOrder: notAfter is no time", |side| with(side, "notAfter", json!("tomorrow"))),
    ("newOrder: notAfter has passed", |side| with(side, "notAfter", json!("2000-01-01T00:00:00Z"))),
    ("newOrder: notAfter is far ahead", |side| with(side, "notAfter", json!("2100-01-01T00:00:00Z"))),
    ("newOrder: notBefore is far ahead", |side| with(side, "notBefore", json!("2100-01-01T00:00:00Z"))),
    ("newOrder: unknown members", |side| with(side, "unheard-of", json!(1))),
    ("newAuthz", |side| {
        let account = side.account()?;
        let Some(url) = side.client.directory["newAuthz"].as_str() else { return Ok("is not there".to_owned()) };
        post(&account, url, &json!({"identifier": dns("advance.test")}))
    }),
    ("order: read", |side| {
        let (account, order) = pending(side, "read.test")?;
        read(&account, &order.url)
    }),
    ("order: read by another", |side| {
        let (_, order) = pending(side, "other.test")?;
        read(&side.account()?, &order.url)
    }),
    ("order: read with a payload", |side| {
        let (account, order) = pending(side, "payload.test")?;
        post(&account, &order.url, &json!({}))
    }),
    ("orders: the list", |side| {
        let (account, order) = pending(side, "list.test")?;
        let object = account.read(&account.url)?.json()?;
        let Some(url) = object["orders"].as_str() else { return Ok("is not there".to_owned()) };
        let reply = send(&account, url, b"")?;
        let listed = reply.json().unwrap_or_default()["orders"] == json!([order.url]);
        Ok(format!("{}, {}", reduced(&reply), if listed { "with the order" } else { "without the order" }))
    }),
    ("finalize: pending", |side| {
        let (account, order) = pending(side, "early.test")?;
        post(&account, &order.finalize()?, &Account::finalize_payload(&["early.test"])?)
    }),
    ("finalize: again when valid", |side| {
        let (account, order, _) = side.issued("valid.test")?;
        post(&account, &order.finalize()?, &Account::finalize_payload(&["valid.test"])?)
    }),
    ("finalize: by another account", |side| {
        let (_, order) = side.ready("stolen.test")?;
        post(&side.account()?, &order.finalize()?, &Account::finalize_payload(&["stolen.test"])?)
    }),
    ("finalize: empty payload", |side| {
        let (account, order) = side.ready("empty.test")?;
        read(&account, &order.finalize()?)
    }),
    ("finalize: no csr", |side| finalized(side, "no-csr.test", &json!({}))),
    ("finalize: csr is not base64url", |side| finalized(side, "base64.test", &json!({"csr": "!"}))),
    ("finalize: csr is no DER", |side| finalized(side, "der.test", &csr(b"nothing"))),
    ("finalize: csr of another name", |side| finalized(side, "name.test", &request("", &["another.test"])?)),
    ("finalize: csr of one name more", |side| finalized(side, "more.test", &request("", &["more.test", "b.test"])?)),
    ("finalize: csr without names", |side| finalized(side, "bare.test", &request("", &[])?)),
    ("finalize: csr with a broken signature", |side| {
        let mut der = subject::csr(&["broken.test"])?;
        *der.last_mut().context("bytes")? ^= 1;
        finalized(side, "broken.test", &csr(&der))
    }),
    ("finalize: csr with the account's key", |side| {
        let pair = KeyPair::generate()?;
        let account = Account::with_key(&side.client, AccountKey::of(&pair)?)?;
        let order = account.ready_order(&["key.test"], &side.responder)?;
        let answer = post(&account, &order.finalize()?, &csr(&subject::csr_of(&["key.test"], &pair)?))?;
        Ok(format!("{answer}, then {}", status(&account, &order.url)?))
    }),
    ("finalize: the name as common name alone", |side| issued(side, "common.test", &request("common.test", &[])?)),
    ("finalize: the name as common name, too", |side| {
        issued(side, "both.test", &request("both.test", &["both.test"])?)
    }),
    ("certificate: read", |side| {
        let (account, order, _) = side.issued("chain.test")?;
        let reply = send(&account, &certificate(&order)?, b"")?;
        Ok(format!("{} {}", reduced(&reply), reply.media_type().unwrap_or_default()))
    }),
    ("certificate: read by another", |side| {
        let (_, order, _) = side.issued("private.test")?;
        read(&side.account()?, &certificate(&order)?)
    }),
];

/// Used by other cases, too: an order that became invalid because its challenge failed.
pub(crate) fn failed(side: &Side, name: &str) -> Result<(Account, Order)> {
    let (account, order) = pending(side, name)?;
    let (_, _, challenge, token) = first(&account, &order)?;
    side.responder.put(&token, "wrong".to_owned());
    account.post(&challenge, &json!({}))?.expect(200)?;
    let _ = account.wait(&order.url, "ready");
    Ok((account, order))
}
