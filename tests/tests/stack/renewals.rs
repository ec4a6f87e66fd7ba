//! Renewal information, from the directory to a renewal that replaces (RFC 9773).

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use rcgen::KeyPair;
use serde_json::{Value, json};
use shared::{base64url, timestamp::Timestamp};
use tests::{
    account::{Account, Order},
    client::Reply,
    journal,
    renewal::{Subject, ask, placed, window},
    subject,
};

use crate::world::world;

#[allow(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs()))
}

fn replacing(account: &Account, name: &str, id: &str) -> Result<Reply> {
    let payload = json!({"identifiers": [{"type": "dns", "value": name}], "replaces": id});
    account.post(account.client.url("newOrder"), &payload)
}

fn revoke(account: &Account, certificate: &[u8]) -> Result<()> {
    let payload = json!({"certificate": base64url::encode(certificate), "reason": 4});
    account.post(account.client.url("revokeCert"), &payload)?.expect(200).map(drop)
}

#[test]
fn a_certificate_has_a_window_and_a_revoked_one_is_to_be_renewed_at_once() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let (_, chain) = account.issue(&["window.test"], &world.responder)?;
    let Subject { der, leaf, id, .. } = Subject::of(&chain)?;

    let reply = placed(&world.client, &id)?;
    assert_eq!(reply.hops()?, 1, "anybody may ask, in one hop");
    let retry_after: u64 = reply.header("retry-after").context("Retry-After")?.parse()?;
    assert!((18_900..=21_600).contains(&retry_after), "{retry_after}");
    let (start, end) = window(&reply)?;
    let life = leaf.not_after.since(leaf.not_before);
    assert!(start < end && start.since(leaf.not_before) >= life / 2 && end.since(leaf.not_before) <= life * 5 / 6);
    assert_eq!(window(&placed(&world.client, &id)?)?, (start, end), "always the same");

    revoke(&account, &der)?;
    let (start, end) = window(&placed(&world.client, &id)?)?;
    assert!(start < end && end <= now()?, "{start} {end}");
    Ok(())
}

#[test]
fn what_is_not_ours_or_no_identifier_is_a_problem() -> Result<()> {
    let client = &world().client;
    let reply = ask(client, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")?.expect(404)?;
    assert_eq!((reply.problem()?.as_str(), reply.hops()?), ("malformed", 1));
    for id in ["x", "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.", "a=.b"] {
        let reply = ask(client, id)?.expect(400)?;
        assert_eq!((reply.problem()?.as_str(), reply.hops()?), ("malformed", 0), "{id}");
    }
    Ok(())
}

#[test]
fn a_renewal_says_what_it_replaces_and_another_one_is_told_that_it_was_replaced() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let name = "replaced.test";
    let (_, chain) = account.issue(&[name], &world.responder)?;
    let id = Subject::of(&chain)?.id;
    let reply = replacing(&account, name, &id)?.expect(201)?;
    let renewal = Order { url: reply.location()?, object: reply.json()? };
    assert_eq!(renewal.object["replaces"], Value::from(id.as_str()));
    account.prove(&renewal, &world.responder)?;
    account.post(&renewal.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    let successor = Subject::of(&account.certificate(&renewal)?)?.id;
    assert_ne!(successor, id);
    assert_eq!(replacing(&account, name, &id)?.expect(409)?.problem()?, "alreadyReplaced");
    placed(&world.client, &successor)?;
    Ok(())
}

#[test]
fn the_same_again_with_the_same_key_takes_no_signature_until_it_is_revoked() -> Result<()> {
    let world = world();
    let (account, pair, name) = (Account::new(&world.client)?, KeyPair::generate()?, "loop.test");
    let issue = || -> Result<(Order, u32, String)> {
        let order = account.ready_order(&[name], &world.responder)?;
        let csr = base64url::encode(&subject::csr_of(&[name], &pair)?);
        let reply = account.post(&order.finalize()?, &json!({ "csr": csr }))?.expect(200)?;
        let chain = account.certificate(&order)?;
        Ok((order, reply.hops()?, chain))
    };
    let (_, _, first) = issue()?;
    let Subject { der, id, .. } = Subject::of(&first)?;
    placed(&world.client, &id)?;
    let (order, hops, again) = issue()?;
    assert!(again == first, "the same certificate");
    assert_eq!(hops, 2, "the account, and the certificate's status");
    assert!(journal::of_order(&world.stack.report.state, &order.url)?.is_empty(), "no signer was asked");
    assert!(world.stack.log("edge")?.contains("absorbed: "), "and the log says so");

    revoke(&account, &der)?;
    let (order, _, new) = issue()?;
    assert!(new != first);
    assert_eq!(journal::of_order(&world.stack.report.state, &order.url)?, [Subject::of(&new)?.der]);
    Ok(())
}
