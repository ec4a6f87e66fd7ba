//! What each kind of request costs in calls of objects: the design's budget, counted on the real platform.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{account::Account, key::AccountKey};

use crate::world::world;

#[test]
fn what_needs_no_account_calls_no_object() -> Result<()> {
    let client = &world().client;
    let base = client.url("newNonce").trim_end_matches("/acme/new-nonce").to_owned();
    for path in ["/", "/directory", "/acme/new-nonce", "/root.pem", "/root.der", "/nothing"] {
        assert_eq!(client.get(&format!("{base}{path}"))?.hops()?, 0, "{path}");
    }
    Ok(())
}

#[test]
fn what_is_refused_before_its_account_is_known_calls_no_object() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let nonce = client.nonce()?;
    let stranger = account.url.replace("/acme/account/", "/acme/account/A");
    let header = json!({"url": account.url, "nonce": nonce, "kid": stranger});
    let unknown = account.key.sign(&header, b"")?.to_string();
    for reply in [
        client.post(&account.url, unknown.as_bytes())?,
        client.post(&stranger, unknown.as_bytes())?,
        client.post(&account.url, b"{}")?,
        client.post(&account.url, &account.sign(&account.url, "AAAA", b"")?)?,
        client.post_as(&account.url, "text/plain", b"{}")?,
        client.get(&account.url)?,
    ] {
        assert!(reply.status >= 400);
        assert_eq!(reply.hops()?, 0, "{reply:?}");
    }
    Ok(())
}

#[test]
fn every_post_with_a_nonce_of_its_account_is_one_hop() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let names = ["hops.test"];
    let one = |reply: tests::client::Reply| -> Result<serde_json::Value> {
        assert_eq!(reply.hops()?, 1, "{reply:?}");
        assert!(reply.status < 300, "{reply:?}");
        Ok(reply.json().unwrap_or_default())
    };
    one(account.read(&account.url)?)?;
    one(account.post(&account.url, &json!({"contact": ["mailto:hops@hops.test"]}))?)?;
    let identifiers = json!({"identifiers": [{"type": "dns", "value": names[0]}]});
    let reply = account.post(world.client.url("newOrder"), &identifiers)?;
    let order = tests::account::Order { url: reply.location()?, object: one(reply)? };
    one(account.read(&order.url)?)?;
    let authorization = one(account.read(&order.authorizations()?[0])?)?;
    let challenge = tests::account::challenge(&authorization, "http-01")?;
    one(account.read(challenge["url"].as_str().context("a URL")?)?)?;
    account.prove(&order, &world.responder)?;
    one(account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?)?;
    let valid = account.wait(&order.url, "valid")?;
    one(account.read(valid["certificate"].as_str().context("a certificate")?)?)?;
    one(account.post(&account.url, &json!({"status": "deactivated"}))?)?;
    Ok(())
}

#[test]
fn a_nonce_of_new_nonce_costs_one_hop_more() -> Result<()> {
    let client = &world().client;
    let key = AccountKey::es256();
    let url = client.url("newAccount");
    let register = |nonce: String| -> Result<tests::client::Reply> {
        let header = json!({"url": url, "nonce": nonce, "jwk": key.jwk()});
        client.post(url, key.sign(&header, br#"{"termsOfServiceAgreed":true}"#)?.to_string().as_bytes())
    };
    let first = register(client.nonce()?)?.expect(201)?;
    assert_eq!(first.hops()?, 2);
    assert_eq!(register(first.nonce()?)?.expect(200)?.hops()?, 1);
    let account = Account::new(client)?;
    let reply = client.post(&account.url, &account.sign(&account.url, &client.nonce()?, b"")?)?.expect(200)?;
    assert_eq!(reply.hops()?, 2);
    Ok(())
}
