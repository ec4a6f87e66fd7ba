//! Renewal information, from the directory to a renewal that replaces (RFC 9773).

use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::{
    base64url,
    chain::{Issuer, Leaf},
    timestamp::Timestamp,
};
use tests::{
    account::{Account, Order},
    client::Reply,
    openssl,
};

use crate::world::{World, world};

/// A certificate in DER, and its identifier (RFC 9773 §4.1), out of a chain in PEM.
fn identified(chain: &str) -> Result<(Vec<u8>, String)> {
    let above = chain.split_inclusive("-----END CERTIFICATE-----").nth(1).context("an issuer")?;
    let certificate = openssl::der(chain)?;
    let (leaf, issuer) = (Leaf::from_der(&certificate)?, Issuer::from_pem(above)?);
    let serial = leaf.serial.to_x509()?;
    let id = format!("{}.{}", base64url::encode(issuer.key_identifier()), base64url::encode(serial.as_bytes()));
    Ok((certificate, id))
}

fn info(world: &World, id: &str) -> Result<Reply> {
    world.client.get(&format!("{}/{id}", world.client.url("renewalInfo")))
}

/// The answer once the status object has been told of the certificate, which nobody waits for.
fn placed(world: &World, id: &str) -> Result<Reply> {
    for _ in 0..50 {
        let reply = info(world, id)?;
        if reply.status == 200 {
            return Ok(reply);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    info(world, id)?.expect(200)
}

fn window(reply: &Reply) -> Result<(Timestamp, Timestamp)> {
    let window = reply.json()?["suggestedWindow"].clone();
    let time = |name: &str| -> Result<Timestamp> { Ok(window[name].as_str().context("a time")?.parse()?) };
    Ok((time("start")?, time("end")?))
}

fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs()))
}

fn replacing(account: &Account, name: &str, id: &str) -> Result<Reply> {
    let payload = json!({"identifiers": [{"type": "dns", "value": name}], "replaces": id});
    account.post(account.client.url("newOrder"), &payload)
}

#[test]
fn a_certificate_has_a_window_and_a_revoked_one_is_to_be_renewed_at_once() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let (_, chain) = account.issue(&["window.test"], &world.responder)?;
    let (certificate, id) = identified(&chain)?;
    let leaf = Leaf::from_der(&certificate)?;

    let reply = placed(world, &id)?;
    assert_eq!(reply.hops()?, 1, "anybody may ask, in one hop");
    let retry_after: u64 = reply.header("retry-after").context("Retry-After")?.parse()?;
    assert!((18_900..=21_600).contains(&retry_after), "{retry_after}");
    let (start, end) = window(&reply)?;
    let life = leaf.not_after.since(leaf.not_before);
    assert!(start < end && start.since(leaf.not_before) >= life / 2 && end.since(leaf.not_before) <= life * 5 / 6);
    assert_eq!(window(&placed(world, &id)?)?, (start, end), "always the same");

    let payload = json!({"certificate": base64url::encode(&certificate), "reason": 4});
    account.post(account.client.url("revokeCert"), &payload)?.expect(200)?;
    let (start, end) = window(&placed(world, &id)?)?;
    assert!(start < end && end <= now()?, "{start} {end}");
    Ok(())
}

#[test]
fn what_is_not_ours_or_no_identifier_is_a_problem() -> Result<()> {
    let world = world();
    let reply = info(world, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")?.expect(404)?;
    assert_eq!((reply.problem()?.as_str(), reply.hops()?), ("malformed", 1));
    for id in ["x", "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.", "a=.b"] {
        let reply = info(world, id)?.expect(400)?;
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
    let (_, id) = identified(&chain)?;
    let reply = replacing(&account, name, &id)?.expect(201)?;
    let renewal = Order { url: reply.location()?, object: reply.json()? };
    assert_eq!(renewal.object["replaces"], Value::from(id.as_str()));
    account.prove(&renewal, &world.responder)?;
    account.post(&renewal.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    let (_, successor) = identified(&account.certificate(&renewal)?)?;
    assert_ne!(successor, id);
    assert_eq!(replacing(&account, name, &id)?.expect(409)?.problem()?, "alreadyReplaced");
    placed(world, &successor)?;
    Ok(())
}
