//! An issuer is replaced, from its successor's key to the last word on its certificates (docs/rotation.md).
#![cfg(feature = "stack")]

use std::{fmt::Write as _, fs, path::Path, thread, time::Duration, time::SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use shared::{base64url, ocsp::CertStatus, timestamp::Timestamp};
use tests::{
    account::{Account, Order},
    client::Client,
    ocsp, openssl,
    renewal::{Subject, placed, window},
    responder::Responder,
    stack::{Options, Stack},
};

const PATIENCE: u32 = 100;

#[allow(clippy::disallowed_methods, reason = "tests live in real time")]
fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_seconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs()))
}

/// The first issuer of this signer signs no more certificates from the signer's next start on.
fn drain(state: &Path) -> Result<()> {
    let file = state.join("signers/1/signer.toml");
    let mut configuration: toml::Table = fs::read_to_string(&file)?.parse()?;
    let issuer = configuration.get_mut("issuer").and_then(|issuers| issuers.get_mut(0));
    let issuer = issuer.and_then(toml::Value::as_table_mut).context("an issuer")?;
    issuer.insert("drained".to_owned(), true.into());
    fs::write(&file, toml::to_string(&configuration)?)?;
    Ok(())
}

/// A certificate of the profile whose certificates have a status.
fn issued(account: &Account, order: &Order, responder: &Responder, name: &str) -> Result<Subject> {
    account.prove(order, responder)?;
    account.patiently(&order.finalize()?, Account::finalize_payload(&[name])?.to_string().as_bytes())?.expect(200)?;
    Subject::of(&account.certificate(order)?)
}

/// Waits until OCSP says this of it, signed by its own issuer.
fn until(client: &Client, url: &str, subject: &Subject, expected: fn(&CertStatus) -> bool) -> Result<()> {
    let request = ocsp::request(&subject.issuer, subject.leaf.serial)?;
    for _ in 0..PATIENCE {
        let content = ocsp::read(&ocsp::ask(client, url, &request)?, &subject.issuer)?;
        if content.is_some_and(|content| expected(&content.status)) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    bail!("nobody tells its status")
}

#[test]
fn an_issuer_is_replaced_and_tells_the_status_of_its_certificates_to_the_last() -> Result<()> {
    let responder = Responder::start()?;
    let options =
        Options::fresh(env!("CARGO_TARGET_TMPDIR"), "rotation")?.http_port(responder.port).with(["--restart"]);
    let stack = Stack::up(options)?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    let name = "rotated.test";
    let old = issued(&account, &account.order_of("monthly", &[name])?, &responder, name)?;
    let (before, _) = window(&placed(&account.client, &old.id)?)?;

    // A new key in a new token, certified and imported; the old issuer is drained, and its certificates are pulled forward.
    let mut issuer = String::new();
    old.issuer.key_identifier().iter().try_for_each(|byte| write!(issuer, "{byte:02X}:"))?;
    let since = now()?;
    let pull = json!([{"issuer": issuer, "since": since, "rate": {"count": 1000, "seconds": 1}}]);
    let stack = stack.restart_with(|options| options.with(["--tokens", "2"]).set("renewal.pull_forward", &pull))?;
    drain(&stack.report.state)?;
    stack.kill("signer-1")?;

    let (start, _) = window(&placed(&account.client, &old.id)?)?;
    ensure!(start < before && start.since(since) <= 1, "{before} was moved to {start}");

    // The renewal, and whatever follows it, is the new issuer's.
    let payload = json!({"identifiers": [{"type": "dns", "value": name}], "profile": "monthly", "replaces": old.id});
    let reply = account.patiently(account.client.url("newOrder"), payload.to_string().as_bytes())?.expect(201)?;
    let renewal = Order { url: reply.location()?, object: reply.json()? };
    let new = issued(&account, &renewal, &responder, name)?;
    ensure!(new.issuer.key_identifier() != old.issuer.key_identifier(), "another issuer");
    let chain = account.certificate(&renewal)?;
    openssl::verify(&stack.report.root, &chain, name)?;
    let (start, _) = window(&placed(&account.client, &new.id)?)?;
    ensure!(start.since(new.leaf.not_before) >= 15 * 86_400 - 1, "its own time has not come: {start}");

    // The old one still has the last word on what it has signed.
    let url = openssl::x509(&chain, ["-ocsp_uri"])?.trim().to_owned();
    until(&account.client, &url, &old, |status| *status == CertStatus::Good)?;
    let payload = json!({"certificate": base64url::encode(&old.der), "reason": 4});
    account.patiently(account.client.url("revokeCert"), payload.to_string().as_bytes())?.expect(200)?;
    until(&account.client, &url, &old, |status| matches!(status, CertStatus::Revoked(..)))?;
    until(&account.client, &url, &new, |status| *status == CertStatus::Good)
}
