//! ACME libraries that people build on, unmodified: whole lives of accounts by instant-acme (Rust) and acme-client (Node).
#![cfg(feature = "stack")]

use std::{env, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result, ensure};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy, RevocationReason, RevocationRequest,
};
use serde_json::Value;
use tests::{
    binding::BindingKey,
    journal, openssl,
    responder::Responder,
    stack::{Options, Stack, free_port},
    subject,
};

/// A stack where accounts may have a binding.
struct World {
    stack: Stack,
    responder: Responder,
}

fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "libraries")?.http_port(responder.port);
        Ok(World { stack: Stack::up(options.with(["--eab", "optional"]))?, responder })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn is_revoked(stack: &Stack, chain: &str) -> Result<bool> {
    let serial = shared::chain::Leaf::from_der(&openssl::der(chain)?)?.serial.to_string();
    Ok(journal::revocations(&stack.report.state, &serial)? == 1)
}

#[test]
fn instant_acme_lives_a_whole_life() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(instant_acme_life())
}

async fn instant_acme_life() -> Result<()> {
    let World { stack, responder } = world();
    let report = &stack.report;
    let key = BindingKey::read(report.external_account.as_deref())?;
    let binding = ExternalAccountKey::new(key.key_id, &key.hmac_key.0);
    let asked =
        NewAccount { contact: &["mailto:first@lib.test"], terms_of_service_agreed: true, only_return_existing: false };
    let builder = || Account::builder_with_root(&report.ca);
    let (mut account, credentials) = builder()?.create(&asked, report.directory.clone(), Some(&binding)).await?;
    account.update_contacts(&["mailto:second@lib.test"]).await?;
    let url = account.id().to_owned();

    let new_credentials = account.update_key().await?;
    ensure!(account.id() == url, "an account keeps its URL");
    let old = builder()?.from_credentials(credentials).await?;
    let identifiers = [Identifier::Dns("instant.test".to_owned())];
    ensure!(old.new_order(&NewOrder::new(&identifiers)).await.is_err(), "the old key opens nothing");
    let account = builder()?.from_credentials(new_credentials).await?;

    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let mut challenge = authorization.challenge(ChallengeType::Http01).context("http-01 is offered")?;
        responder.put(&challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
        challenge.set_ready().await?;
    }
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(30));
    ensure!(order.poll_ready(&patience).await? == OrderStatus::Ready, "{:?}", order.state());
    order.finalize_csr(&subject::csr(&["instant.test"])?).await?;
    let chain = order.poll_certificate(&patience).await?;
    openssl::verify(&report.root, &chain, "instant.test")?;

    let mut unused = account.new_order(&NewOrder::new(&[Identifier::Dns("given-up.instant.test".to_owned())])).await?;
    let mut authorizations = unused.authorizations();
    let mut authorization = authorizations.next().await.context("an order has an authorization")??;
    ensure!(authorization.deactivate().await?.status == AuthorizationStatus::Deactivated, "it was given up");

    let certificate = openssl::der(&chain)?.into();
    let revocation =
        RevocationRequest { certificate: &certificate, reason: Some(RevocationReason::CessationOfOperation) };
    account.revoke(&revocation).await?;
    ensure!(is_revoked(stack, &chain)?, "the journal says so");
    ensure!(account.revoke(&revocation).await.is_err(), "once is all");
    let again = account.new_order(&NewOrder::new(&identifiers)).await.is_ok();
    ensure!(again, "the account is as it was");
    account.deactivate().await?;
    Ok(())
}

#[test]
fn acme_client_for_node_lives_a_whole_life() -> Result<()> {
    // It listens itself, so it needs a stack that asks at another port.
    let http_port = free_port()?;
    let stack = Stack::up(Options::fresh(env!("CARGO_TARGET_TMPDIR"), "node")?.http_port(http_port))?;
    let variable = |name| env::var_os(name).with_context(|| format!("{name} is not set: run `cargo xtask test`"));
    let place = tempfile::TempDir::new()?;
    // Modules are looked for beside the script.
    std::os::unix::fs::symlink(variable("COLOPHON_NODE_CLIENTS")?, place.path().join("node_modules"))?;
    let script = place.path().join("acme-client.mjs");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/npm/acme-client.mjs"), &script)?;
    let output = Command::new(variable("COLOPHON_NODE")?)
        .arg(&script)
        .env("NODE_EXTRA_CA_CERTS", &stack.report.ca)
        .env("DIRECTORY", &stack.report.directory)
        .env("HTTP_PORT", http_port.to_string())
        .env("NAME", "node.test")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&seen["made"], &seen["same"]), (&"valid".into(), &true.into()));
    assert_eq!(seen["contact"], serde_json::json!(["mailto:second@clients.test"]));
    assert_eq!((&seen["givenUp"], &seen["ended"]), (&"deactivated".into(), &"deactivated".into()));
    assert_eq!(seen["after"], "refused");
    ensure!(seen["twice"].as_str().unwrap_or_default().contains("revoked"), "{}", seen["twice"]);
    let chain = seen["chain"].as_str().context("a chain")?;
    openssl::verify(&stack.report.root, chain, "node.test")?;
    ensure!(is_revoked(&stack, chain)?, "the journal says so");
    Ok(())
}
