//! Accounts of a binding whose scope demands no proof: their orders are ready at once, which not every client expects. Those that
//! can be run here all take it.

use std::{env, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result, ensure};
use instant_acme::{
    Account as Instant, AuthorizationStatus, ExternalAccountKey, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy,
};
use serde_json::json;
use shared::base64url;
use tempfile::TempDir;
use tests::{
    account::Account,
    binding::BindingKey,
    client::Client,
    key::AccountKey,
    openssl,
    stack::{Options, Report, Stack},
    subject,
};

const SCOPES: &str = r#"scopes={"approved": {"bindings": ["throwaway"], "pre_approved": true,
    "identifiers": {"dns_suffixes": ["approved.test"], "wildcards": true, "per_order": 10}}}"#;

/// A stack where nothing listens at any port that a probe could go to.
fn report() -> &'static Report {
    static STACK: OnceLock<Result<Stack, String>> = OnceLock::new();
    let start = || -> Result<Stack> {
        Stack::up(Options::fresh(env!("CARGO_TARGET_TMPDIR"), "scopes")?.with(["--eab", "optional", "--set", SCOPES]))
    };
    let stack = STACK.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    &stack.as_ref().unwrap_or_else(|error| panic!("{error}")).report
}

fn binding() -> Result<BindingKey> {
    BindingKey::read(report().external_account.as_deref())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    Ok(())
}

#[test]
fn a_bound_account_gets_a_certificate_without_a_challenge_and_no_other_name() -> Result<()> {
    let client = Client::of(report())?;
    let key = AccountKey::es256();
    let bound = binding()?.bind(&key.jwk(), client.url("newAccount"))?;
    let made = Account::register(&client, &key, &json!({ "externalAccountBinding": bound }))?.expect(201)?;
    let account = Account::of(&client, key, made.location()?);
    let order = account.order(&["*.approved.test", "a.approved.test"])?;
    assert_eq!(order.object["status"], "ready");
    for url in order.authorizations()? {
        let authorization = account.read(&url)?.expect(200)?.json()?;
        assert_eq!((&authorization["status"], &authorization["challenges"]), (&json!("valid"), &json!([])));
    }
    let csr = json!({"csr": base64url::encode(&subject::csr(&["*.approved.test", "a.approved.test"])?)});
    account.post(&order.finalize()?, &csr)?.expect(200)?;
    let done = account.wait(&order.url, "valid")?;
    let chain = account.read(done["certificate"].as_str().context("a certificate")?)?.expect(200)?;
    openssl::verify(&report().root, chain.text()?, "b.approved.test")?;

    let payload = json!({"identifiers": [{"type": "dns", "value": "a.test"}]});
    let refused = account.post(client.url("newOrder"), &payload)?.expect(403)?;
    assert_eq!(refused.problem()?, "rejectedIdentifier");
    let stranger = Account::new(&client)?.post(client.url("newOrder"), &payload)?.expect(201)?;
    assert_eq!(stranger.json()?["status"], "pending");
    Ok(())
}

#[test]
fn certbot_takes_an_order_that_is_ready_at_once() -> Result<()> {
    let (key, place) = (binding()?, TempDir::new()?);
    let program =
        env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
    let mut command = Command::new(program);
    command.env("REQUESTS_CA_BUNDLE", &report().ca).args(["certonly", "--standalone", "-n", "--agree-tos"]);
    command.args(["--register-unsafely-without-email", "--server", &report().directory]);
    command.args(["--eab-kid", &key.key_id, "--eab-hmac-key", &base64url::encode(&key.hmac_key.0)]);
    for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        command.arg(flag).arg(place.path().join(folder));
    }
    run(command.args(["-d", "certbot.approved.test"]))?;
    let chain = std::fs::read_to_string(place.path().join("e/live/certbot.approved.test/fullchain.pem"))?;
    openssl::verify(&report().root, &chain, "certbot.approved.test")
}

#[test]
fn lego_takes_an_order_that_is_ready_at_once() -> Result<()> {
    let (key, place) = (binding()?, TempDir::new()?);
    let mut command = Command::new("lego");
    command.env("LEGO_CA_CERTIFICATES", &report().ca).args(["--server", &report().directory, "--accept-tos"]);
    command.args(["--email", "a@approved.test", "--eab", "--kid", &key.key_id]);
    command.args(["--hmac", &base64url::encode(&key.hmac_key.0), "--http", "--path"]).arg(place.path());
    run(command.args(["-d", "lego.approved.test", "run"]))?;
    let chain = std::fs::read_to_string(place.path().join("certificates/lego.approved.test.crt"))?;
    openssl::verify(&report().root, &chain, "lego.approved.test")
}

#[test]
fn instant_acme_takes_an_order_that_is_ready_at_once() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let key = binding()?;
        let bound = ExternalAccountKey::new(key.key_id, &key.hmac_key.0);
        let asked = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
        let builder = Instant::builder_with_root(&report().ca)?;
        let (account, _) = builder.create(&asked, report().directory.clone(), Some(&bound)).await?;
        let identifiers = [Identifier::Dns("instant.approved.test".to_owned())];
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        ensure!(order.state().status == OrderStatus::Ready, "{:?}", order.state());
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            ensure!(authorization?.status == AuthorizationStatus::Valid, "nothing is left to prove");
        }
        let patience = RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(30));
        order.finalize_csr(&subject::csr(&["instant.approved.test"])?).await?;
        let chain = order.poll_certificate(&patience).await?;
        openssl::verify(&report().root, &chain, "instant.approved.test")
    })
}
