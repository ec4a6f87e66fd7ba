//! What is read, and how.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    Case,
    side::{Side, header, reduced, send},
};

fn bare(side: &Side, method: &str, url: &str) -> Result<String> {
    let reply = side.client.bare(method, url)?;
    // That Pebble gives no nonce to who does not POST is a case of its own.
    let mut text = reduced(&reply).replace(" without a nonce", "");
    if let Some(allow) = reply.header("allow") {
        let mut methods: Vec<_> = allow.split(", ").collect();
        methods.sort_unstable();
        text += &format!(", allows {}", methods.join(" "));
    }
    Ok(text)
}

/// GET of what a fresh account has.
fn get(side: &Side, which: &str) -> Result<String> {
    let (account, order, _) = side.issued("get.reading.test")?;
    let url = match which {
        "account" => account.url.clone(),
        "order" => order.url.clone(),
        "certificate" => order.object["certificate"].as_str().context("a certificate")?.to_owned(),
        _ => order.authorizations()?.first().context("an authorization")?.clone(),
    };
    bare(side, "GET", &url)
}

/// POST-as-GET of a URL by a fresh account.
fn post_as_get(side: &Side, url: &str) -> Result<String> {
    let account = side.account()?;
    send(&account, url, b"").map(|reply| reduced(&reply))
}

fn beside(side: &Side, path: &str) -> String {
    let (origin, _) = side.directory.rsplit_once('/').unwrap_or_default();
    format!("{origin}/{path}")
}

pub(crate) const CASES: [Case; 18] = [
    ("directory: GET", |side| bare(side, "GET", &side.directory)),
    ("directory: GET, Replay-Nonce", |side| {
        let reply = side.client.get(&side.directory)?;
        Ok(if reply.nonce().is_ok() { "there" } else { "not there" }.to_owned())
    }),
    ("directory: PUT", |side| bare(side, "PUT", &side.directory)),
    ("directory: POST-as-GET", |side| post_as_get(side, &side.directory)),
    ("directory: POST with a payload", |side| {
        let account = side.account()?;
        send(&account, &side.directory, b"{}").map(|reply| reduced(&reply))
    }),
    ("newNonce: GET", |side| bare(side, "GET", side.client.url("newNonce"))),
    ("newNonce: HEAD", |side| bare(side, "HEAD", side.client.url("newNonce"))),
    ("newNonce: POST-as-GET", |side| post_as_get(side, side.client.url("newNonce"))),
    ("newNonce: Cache-Control", |side| {
        let reply = side.client.get(side.client.url("newNonce"))?;
        Ok(format!("no-store: {}", reply.header("cache-control").is_some_and(|value| value.contains("no-store"))))
    }),
    ("newAccount: GET", |side| bare(side, "GET", side.client.url("newAccount"))),
    ("newOrder: GET", |side| bare(side, "GET", side.client.url("newOrder"))),
    ("account: GET", |side| get(side, "account")),
    ("account: DELETE", |side| bare(side, "DELETE", &side.account()?.url)),
    ("order: GET", |side| get(side, "order")),
    ("authorization: GET", |side| get(side, "authorization")),
    ("certificate: GET", |side| get(side, "certificate")),
    ("a path that names nothing: GET", |side| bare(side, "GET", &beside(side, "nothing"))),
    ("a path that names nothing: POST", |side| {
        let account = side.account()?;
        let url = beside(side, "nothing");
        let jws = account.key.sign(&header(&account, &url)?, json!({}).to_string().as_bytes())?.to_string();
        side.client.post(&url, jws.as_bytes()).map(|reply| reduced(&reply))
    }),
];
