//! Authorizations and challenges.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::account::{Account, Order, challenge};

use crate::{
    Case,
    orders::failed,
    side::{Side, first, members, post, read, reduced, send, status},
};

/// A fresh order, its authorization's URL, and its http-01 challenge's URL and token.
fn asked(side: &Side, name: &str) -> Result<(Account, Order, String, String, String)> {
    let account = side.account()?;
    let order = account.order(&[name])?;
    let (authorization, _, url, token) = first(&account, &order)?;
    Ok((account, order, authorization, url, token))
}

/// What is sent to an authorization, and its status after that.
fn updated(side: &Side, name: &str, payload: &serde_json::Value) -> Result<String> {
    let (account, _, authorization, ..) = asked(side, name)?;
    let answer = post(&account, &authorization, payload)?;
    Ok(format!("{answer}, then {}", status(&account, &authorization)?))
}

/// What is sent to a challenge, and its status after that when nobody answers it.
fn answered(side: &Side, name: &str, payload: &[u8]) -> Result<String> {
    let (account, _, authorization, url, _) = asked(side, name)?;
    let answer = reduced(&send(&account, &url, payload)?);
    if answer.starts_with("200") {
        return Ok("200".to_owned());
    }
    Ok(format!("{answer}, then {}", status(&account, &authorization)?))
}

/// Statuses after a wrong answer: challenge, authorization, order, and the challenge's error.
fn outcome(side: &Side, name: &str) -> Result<String> {
    let (account, order) = failed(side, name)?;
    let (_, authorization, url, _) = first(&account, &order)?;
    let failed = account.read(&url)?.expect(200)?.json()?;
    let order = account.read(&order.url)?.expect(200)?.json()?;
    let kind = failed["error"]["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned();
    let [challenge, authorization, order] = [failed, authorization, order].map(|object| object["status"].to_string());
    Ok(format!("{challenge} {authorization} {order}, {kind}").replace('"', ""))
}

pub(crate) const CASES: [Case; 21] = [
    ("authorization: members", |side| {
        let (account, order, ..) = asked(side, "members.challenges.test")?;
        let (_, object, ..) = first(&account, &order)?;
        Ok(members(&object))
    }),
    ("authorization: of a wildcard", |side| {
        let account = side.account()?;
        let order = account.order(&["*.wild.challenges.test"])?;
        let url = order.authorizations()?.first().context("an authorization")?.clone();
        let object = account.read(&url)?.expect(200)?.json()?;
        let http = challenge(&object, "http-01").is_ok();
        Ok(format!("{} {} http-01: {http}", object["identifier"]["value"], object["wildcard"]))
    }),
    ("authorization: read by another", |side| {
        let (_, _, authorization, ..) = asked(side, "other.challenges.test")?;
        read(&side.account()?, &authorization)
    }),
    ("authorization: deactivated", |side| updated(side, "gone.challenges.test", &json!({"status": "deactivated"}))),
    ("authorization: deactivated when valid", |side| {
        let (account, order) = side.ready("valid.challenges.test")?;
        let (authorization, ..) = first(&account, &order)?;
        let answer = post(&account, &authorization, &json!({"status": "deactivated"}))?;
        Ok(format!("{answer}, the order {}", account.read(&order.url)?.json()?["status"]))
    }),
    ("authorization: deactivated by another", |side| {
        let (_, _, authorization, ..) = asked(side, "stolen.challenges.test")?;
        post(&side.account()?, &authorization, &json!({"status": "deactivated"}))
    }),
    ("authorization: deactivated twice", |side| {
        let (account, _, authorization, ..) = asked(side, "twice.challenges.test")?;
        post(&account, &authorization, &json!({"status": "deactivated"}))?;
        post(&account, &authorization, &json!({"status": "deactivated"}))
    }),
    ("authorization: status valid", |side| updated(side, "self.challenges.test", &json!({"status": "valid"}))),
    ("authorization: empty update", |side| updated(side, "update.challenges.test", &json!({}))),
    ("challenge: members when pending", |side| {
        let (account, _, _, url, _) = asked(side, "pending.challenges.test")?;
        Ok(members(&account.read(&url)?.expect(200)?.json()?))
    }),
    ("challenge: members when valid", |side| {
        let (account, order) = side.ready("proved.challenges.test")?;
        let (_, object, ..) = first(&account, &order)?;
        Ok(members(challenge(&object, "http-01")?))
    }),
    ("challenge: challenges that are left when valid", |side| {
        let (account, order) = side.ready("left.challenges.test")?;
        let (_, object, ..) = first(&account, &order)?;
        Ok(object["challenges"].as_array().map(Vec::len).unwrap_or_default().to_string())
    }),
    ("challenge: answered by {}", |side| answered(side, "answer.challenges.test", b"{}")),
    ("challenge: answered with unknown members", |side| answered(side, "unknown.challenges.test", br#"{"x": 1}"#)),
    ("challenge: answered by []", |side| answered(side, "array.challenges.test", b"[]")),
    ("challenge: answered by text", |side| answered(side, "text.challenges.test", b"\"ready\"")),
    ("challenge: answered by no JSON", |side| answered(side, "nothing.challenges.test", b"nothing")),
    ("challenge: answered by another", |side| {
        let (_, _, _, url, _) = asked(side, "foreign.challenges.test")?;
        post(&side.account()?, &url, &json!({}))
    }),
    ("challenge: answered again when valid", |side| {
        let (account, order) = side.ready("again.challenges.test")?;
        let (_, _, url, _) = first(&account, &order)?;
        post(&account, &url, &json!({}))
    }),
    ("challenge: links", |side| {
        let (account, _, _, url, _) = asked(side, "links.challenges.test")?;
        let reply = send(&account, &url, b"")?;
        let all: Vec<_> = reply.headers("link").collect();
        let has = |relation: &str| all.iter().any(|link| link.contains(&format!("rel=\"{relation}\"")));
        Ok(format!("index: {}, up: {}", has("index"), has("up")))
    }),
    ("challenge: a wrong answer", |side| outcome(side, "wrong.challenges.test")),
];
