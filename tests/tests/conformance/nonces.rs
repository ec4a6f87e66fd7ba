//! Nonces and where they come from (RFC 8555 §6.5, §7.2).

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};
use shared::base64url;
use tests::account::{Account, register};

use crate::{
    ask::{account, all_urls, changed, header, kind, refused, send},
    world::world,
};

/// RFC 8555 §6.5 MUST: every successful answer to a POST has a Replay-Nonce.
#[test]
fn every_successful_post_brings_a_nonce_that_works() -> Result<()> {
    let account = account()?;
    let name = json!({"type": "dns", "value": "n.test"});
    let post = |url: &str, payload: Value| send(&account, url, &header(&account, url)?, payload.to_string().as_bytes());
    let mut replies = vec![
        register(&account.client, &account.key, &json!({}))?,
        post(&account.url, json!({"contact": []}))?,
        post(account.client.url("newOrder"), json!({"identifiers": [name]}))?,
        post(account.client.url("newAuthz"), json!({"identifier": name}))?,
    ];
    for (_, url) in all_urls(&account, "each.nonces.test")?.iter().filter(|(what, _)| *what != "finalize") {
        replies.push(send(&account, url, &header(&account, url)?, b"")?);
    }
    for reply in replies {
        assert!(reply.status < 300, "{reply:?}");
        account.client.post(&account.url, &account.sign(&account.url, &reply.nonce()?, b"")?)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.5 SHOULD: errors have a Replay-Nonce, too.
#[test]
fn refusals_of_every_layer_bring_a_nonce_that_works() -> Result<()> {
    let account = account()?;
    let client = &account.client;
    let replies = [
        client.get(&account.url)?,
        client.post_as(&account.url, "text/plain", b"{}")?,
        client.post(&account.url, b"no JSON")?,
        changed(&account, |header| header["kid"] = json!("https://elsewhere.test/1"))?,
        changed(&account, |header| header["url"] = json!("https://elsewhere.test/1"))?,
        changed(&account, |header| header["alg"] = json!("none"))?,
        send(&account, client.url("newOrder"), &header(&account, client.url("newOrder"))?, b"{}")?,
    ];
    for reply in replies {
        kind(&reply)?;
        client.post(&account.url, &account.sign(&account.url, &reply.nonce()?, b"")?)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.5 MUST: a nonce is one that the server gave.
/// RFC 8555 §6.5 MUST: a request whose nonce is not acceptable or not there is `badNonce`, 400.
/// RFC 8555 §6.5 MUST: `badNonce` brings a nonce with which the same request is accepted.
#[test]
fn a_nonce_that_was_never_given_is_bad_and_the_answers_own_works() -> Result<()> {
    let account = account()?;
    let good = account.client.nonce()?;
    let swapped = good.chars().rev().collect::<String>();
    for nonce in [json!("AAAA"), json!(swapped), json!(base64url::encode(&[7; 38])), json!(null)] {
        let reply = changed(&account, |header| header["nonce"] = nonce)?;
        refused(&reply, 400, "badNonce")?;
        account.client.post(&account.url, &account.sign(&account.url, &reply.nonce()?, b"")?)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.5 MUST: a nonce that was in a request is worth nothing any more.
#[test]
fn a_nonce_is_accepted_once_whatever_became_of_its_request() -> Result<()> {
    let account = account()?;
    let client = &account.client;
    let of_the_account = || changed(&account, |_| {})?.nonce();
    for nonce in [client.nonce()?, of_the_account()?] {
        client.post(&account.url, &account.sign(&account.url, &nonce, b"")?)?.expect(200)?;
        for _ in 0..2 {
            let again = client.post(&account.url, &account.sign(&account.url, &nonce, b"")?)?;
            refused(&again, 400, "badNonce")?;
        }
    }
    // Of a request that was refused for its content.
    for nonce in [client.nonce()?, of_the_account()?] {
        let url = client.url("newOrder");
        kind(&client.post(url, &account.sign(url, &nonce, b"{}")?)?)?;
        let again = client.post(&account.url, &account.sign(&account.url, &nonce, b"")?)?;
        refused(&again, 400, "badNonce")?;
    }
    Ok(())
}

/// RFC 8555 §6.5 says: clients may take one pool of nonces for all of their requests.
#[test]
fn a_nonce_of_one_resource_works_at_the_others() -> Result<()> {
    let account = account()?;
    let order = account.order(&["pool.nonces.test"])?;
    let pool = [
        account.client.get(&world().stack.report.directory)?.nonce()?,
        account.client.nonce()?,
        send(&account, &order.url, &header(&account, &order.url)?, b"")?.nonce()?,
        send(&account, &account.url, &header(&account, &account.url)?, b"")?.nonce()?,
    ];
    for nonce in pool.iter().rev() {
        account.client.post(&order.url, &account.sign(&order.url, nonce, b"")?)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.5.1 MUST: nonces are unique and cannot be foretold.
/// RFC 8555 §6.5.1 MUST: a Replay-Nonce is base64url.
#[test]
fn nonces_are_base64url_and_never_the_same_and_share_no_more_than_a_prefix() -> Result<()> {
    let account = account()?;
    let mut seen = BTreeSet::new();
    for round in 0..200 {
        let nonce = if round % 2 == 0 { account.client.nonce()? } else { account.read(&account.url)?.nonce()? };
        let bytes = base64url::decode(&nonce)?;
        assert!(bytes.len() >= 16, "{nonce}");
        // The last bytes are a MAC over what may be counted before them.
        assert!(seen.insert(bytes[bytes.len() - 12..].to_vec()), "{nonce}");
    }
    Ok(())
}

/// RFC 8555 §6.5.2 MUST: a nonce that is not base64url is refused as malformed.
#[test]
fn a_nonce_that_is_not_base64url_is_malformed() -> Result<()> {
    let account = account()?;
    for nonce in ["not base64url", "AAAA=", "AA+A", "A/AA", "\u{e4}"] {
        let reply = changed(&account, |header| header["nonce"] = json!(nonce))?;
        refused(&reply, 400, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §7.2 MUST: HEAD of newNonce brings a fresh nonce.
/// RFC 8555 §7.2 SHOULD: HEAD of newNonce is 200.
/// RFC 8555 §7.2 MUST: GET of newNonce is 204, without a body, with a nonce.
/// RFC 8555 §7.2 MUST: newNonce has `Cache-Control: no-store`.
#[test]
fn new_nonce_answers_head_and_get_and_is_never_stored() -> Result<()> {
    let account = account()?;
    let client = &account.client;
    for (method, status) in [("HEAD", 200), ("GET", 204)] {
        let reply = client.bare(method, client.url("newNonce"))?.expect(status)?;
        assert!(reply.body.is_empty(), "{method}");
        assert!(reply.headers("cache-control").any(|value| value.contains("no-store")), "{reply:?}");
        client.post(&account.url, &account.sign(&account.url, &reply.nonce()?, b"")?)?.expect(200)?;
    }
    Ok(())
}

/// RFC 8555 §6.5 MUST: a nonce is spent by the request as it was signed, so a copy of a whole request is refused.
#[test]
fn a_whole_request_sent_again_is_refused_and_does_nothing_twice() -> Result<()> {
    let account: Account = account()?;
    let url = account.client.url("newOrder");
    let payload = json!({"identifiers": [{"type": "dns", "value": "copy.nonces.test"}]}).to_string();
    let body = account.key.sign(&header(&account, url)?, payload.as_bytes())?.to_string();
    account.client.post(url, body.as_bytes())?.expect(201)?;
    refused(&account.client.post(url, body.as_bytes())?, 400, "badNonce")?;
    let orders = account.read(&account.url)?.json()?["orders"].as_str().unwrap_or_default().to_owned();
    assert_eq!(account.read(&orders)?.json()?["orders"].as_array().map(Vec::len), Some(1));
    let fresh = header(&account, url)?;
    send(&account, url, &fresh, payload.as_bytes())?.expect(201)?;
    Ok(())
}
