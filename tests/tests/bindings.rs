//! External account bindings that live at two signers: what clients get by them, also after a key change and while one signer is
//! down, and how fast it ends when one is revoked.
#![cfg(feature = "stack")]

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use shared::base64url;
use tempfile::TempDir;
use tests::{
    account::{Account, Order, register},
    binding::{BindingKey, eab, hand_out, open},
    client::Client,
    key::AccountKey,
    openssl,
    stack::{Options, Report, Stack},
};

/// Nothing has to be proved: these tests are about who may ask.
const SCOPES: &str = r#"scopes={"approved": {"bindings": ["throwaway", "renewing", "ended", "certbot", "lego", "caddy", "counted"],
    "pre_approved": true, "identifiers": {"dns_suffixes": ["approved.test"], "wildcards": true, "per_order": 10}}}"#;

/// Each signer has profiles of its own, so that both are asked however fast the other one is.
const SIGNERS: &str = r#"signers=[
    {"binding": "SIGNER_1", "url": "https://signer-1.colophon.internal", "profiles": ["monthly", "server"]},
    {"binding": "SIGNER_2", "url": "https://signer-2.colophon.internal", "profiles": ["both", "client"]}]"#;

/// Clients that renew at once get a certificate of their own each time.
const NO_ABSORBING: &str = "profiles.server.absorb=false";

fn report() -> &'static Report {
    static STACK: OnceLock<Result<Stack, String>> = OnceLock::new();
    let start = || -> Result<Stack> {
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "bindings")?;
        Stack::up(options.with([
            "--eab",
            "required",
            "--signers",
            "2",
            "--set",
            SCOPES,
            "--set",
            SIGNERS,
            "--set",
            NO_ABSORBING,
        ]))
    };
    let stack = STACK.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    &stack.as_ref().unwrap_or_else(|error| panic!("{error}")).report
}

/// An order for this name that is finalized, and what has become of it.
fn finalized(account: &Account, name: &str) -> Result<(Order, Value)> {
    finalized_of("server", account, name)
}

/// The same of this profile.
fn finalized_of(profile: &str, account: &Account, name: &str) -> Result<(Order, Value)> {
    let order = account.order_of(profile, &[name])?;
    account.post(&order.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    let started = now();
    loop {
        let object = account.read(&order.url)?.expect(200)?.json()?;
        if object["status"] != "processing" {
            return Ok((order, object));
        }
        ensure!(started.elapsed() < Duration::from_secs(30), "{object}");
        sleep(Duration::from_millis(100));
    }
}

#[allow(clippy::disallowed_methods, reason = "these tests measure real programs in real time")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_bound_account_gets_certificates_of_both_signers() -> Result<()> {
    let client = Client::of(report())?;
    let account = open(&client, &BindingKey::read(report().external_account.as_deref())?)?;
    let mut issuers = std::collections::BTreeSet::new();
    for profile in ["server", "both"] {
        let name = format!("{profile}.approved.test");
        let (order, object) = finalized_of(profile, &account, &name)?;
        ensure!(object["status"] == "valid", "{object}");
        let chain = account.certificate(&order)?;
        openssl::verify(&report().root, &chain, &name)?;
        issuers.insert(chain.split("-----BEGIN CERTIFICATE-----").nth(2).map(str::to_owned));
    }
    ensure!(issuers.len() == 2, "{} issuers", issuers.len());
    Ok(())
}

/// RFC 8555 §7.3.5, at an account whose rights are bound to its key.
#[test]
fn rights_follow_a_key_change() -> Result<()> {
    let client = Client::of(report())?;
    let account = open(&client, &hand_out(report(), "renewing", &["--uses", "1"])?)?;
    let (new, url) = (AccountKey::es256(), client.url("keyChange"));
    let change = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
    let inner = new.sign(&json!({"url": url, "jwk": new.jwk()}), change.as_bytes())?;
    account.post(url, &inner)?.expect(200)?;
    let account = Account::of(&client, new, account.url.clone());
    let (_, object) = finalized(&account, "changed.approved.test")?;
    ensure!(object["status"] == "valid", "{object}");
    Ok(())
}

#[test]
fn a_binding_for_one_account_opens_no_second_one() -> Result<()> {
    let client = Client::of(report())?;
    let binding = hand_out(report(), "counted", &["--uses", "1"])?;
    open(&client, &binding)?;
    let key = AccountKey::es256();
    let payload = json!({"externalAccountBinding": binding.bind(&key.jwk(), client.url("newAccount"))?});
    let refused = register(&client, &key, &payload)?.expect(403)?;
    ensure!(refused.problem()? == "unauthorized");
    Ok(())
}

#[test]
fn a_revoked_binding_stops_renewals_within_five_seconds() -> Result<()> {
    let client = Client::of(report())?;
    let binding = hand_out(report(), "ended", &[])?;
    let account = open(&client, &binding)?;
    let (_, object) = finalized(&account, "ended.approved.test")?;
    ensure!(object["status"] == "valid", "{object}");
    eab(report(), "revoke", &["ended"])?;
    let revoked = now();
    loop {
        let (_, object) = finalized(&account, "ended.approved.test")?;
        if object["status"] == "invalid" {
            let kind = object["error"]["type"].as_str().unwrap_or_default();
            ensure!(kind.ends_with(":unauthorized"), "{object}");
            break;
        }
        ensure!(revoked.elapsed() < Duration::from_secs(5), "{object}");
    }
    // At both signers, and for new accounts too.
    for number in 0..6 {
        let (_, object) = finalized(&account, &format!("ended-{number}.approved.test"))?;
        ensure!(object["status"] == "invalid", "{object}");
    }
    let key = AccountKey::es256();
    let payload = json!({"externalAccountBinding": binding.bind(&key.jwk(), client.url("newAccount"))?});
    ensure!(register(&client, &key, &payload)?.expect(403)?.problem()? == "unauthorized");
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    Ok(())
}

/// What only a hang reaches.
const HANG: Duration = Duration::from_secs(300);

/// The answer of `look` as soon as it has one.
fn wait_for<T>(look: impl Fn() -> Option<T>) -> Result<T> {
    let started = now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(started.elapsed() < HANG, "not within {HANG:?}");
        sleep(Duration::from_millis(100));
    }
}

/// Renews again and again until a renewal fails, as it must once the signers know that the binding ended.
fn until_refused(renew: impl Fn() -> Result<bool>) -> Result<()> {
    let started = now();
    while renew()? {
        ensure!(started.elapsed() < HANG, "it renews by a revoked binding");
    }
    Ok(())
}

#[test]
fn certbot_gets_and_renews_until_its_binding_is_revoked() -> Result<()> {
    let (key, place) = (hand_out(report(), "certbot", &[])?, TempDir::new()?);
    open(&Client::of(report())?, &key)?;
    let certbot = |verb: &[&str]| -> Result<Command> {
        let program =
            env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
        let mut command = Command::new(program);
        command.env("REQUESTS_CA_BUNDLE", &report().ca).args(verb).args(["--server", &report().directory]);
        for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
            command.arg(flag).arg(place.path().join(folder));
        }
        Ok(command)
    };
    let first = ["certonly", "--standalone", "-n", "--agree-tos", "--register-unsafely-without-email"];
    let mut command = certbot(&first)?;
    command.args(["--eab-kid", &key.key_id, "--eab-hmac-key", &base64url::encode(&key.hmac_key.0)]);
    run(command.args(["-d", "certbot.approved.test"]))?;
    let chain = std::fs::read_to_string(place.path().join("e/live/certbot.approved.test/fullchain.pem"))?;
    openssl::verify(&report().root, &chain, "certbot.approved.test")?;
    let renew = ["renew", "--force-renewal", "--no-random-sleep-on-renew", "-n"];
    run(&mut certbot(&renew)?)?;
    eab(report(), "revoke", &["certbot"])?;
    until_refused(|| Ok(certbot(&renew)?.output()?.status.success()))
}

#[test]
fn lego_gets_and_renews_until_its_binding_is_revoked() -> Result<()> {
    let (key, place) = (hand_out(report(), "lego", &[])?, TempDir::new()?);
    open(&Client::of(report())?, &key)?;
    let hmac_key = base64url::encode(&key.hmac_key.0);
    let lego = |verb: &[&str]| {
        let mut command = Command::new("lego");
        command.env("LEGO_CA_CERTIFICATES", &report().ca).args(["--server", &report().directory, "--accept-tos"]);
        command.args(["--email", "a@approved.test", "--eab", "--kid", &key.key_id, "--hmac", &hmac_key]);
        command.args(["--http", "--path"]).arg(place.path()).args(["-d", "lego.approved.test"]).args(verb);
        command
    };
    run(&mut lego(&["run"]))?;
    let chain = std::fs::read_to_string(place.path().join("certificates/lego.approved.test.crt"))?;
    openssl::verify(&report().root, &chain, "lego.approved.test")?;
    let renew = ["renew", "--days", "30", "--no-random-sleep"];
    run(&mut lego(&renew))?;
    eab(report(), "revoke", &["lego"])?;
    until_refused(|| Ok(lego(&renew).output()?.status.success()))
}

/// Caddy, for as long as this value.
struct Caddy(Child);

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It finds each certificate due for renewal at each look, which is once a second.
fn start_caddy(place: &Path, key: &BindingKey, name: &str) -> Result<Caddy> {
    let program = env::var_os("COLOPHON_CADDY").context("COLOPHON_CADDY must name caddy: run `cargo xtask test`")?;
    let issuer = json!({
        "module": "acme", "ca": report().directory, "email": "a@approved.test", "trusted_roots_pem_files": [report().ca],
        "external_account": {"key_id": key.key_id, "mac_key": base64url::encode(&key.hmac_key.0)},
    });
    let config = json!({
        "admin": {"disabled": true}, "storage": {"module": "file_system", "root": place},
        "apps": {"tls": {
            "certificates": {"automate": [name]},
            "automation": {"renew_interval": "1s", "policies": [{"issuers": [issuer], "renewal_window_ratio": 1.0}]},
        }},
    });
    let file = place.join("caddy.json");
    std::fs::write(&file, config.to_string())?;
    let log = std::fs::File::create(place.join("log"))?;
    let mut command = Command::new(program);
    command.env("HOME", place).args(["run", "--config"]).arg(file).stdout(Stdio::null()).stderr(log);
    Ok(Caddy(command.spawn()?))
}

/// The chain that Caddy has stored for this name, once it is written to its end: the certificate and its issuer.
fn caddy_chain(place: &Path, name: &str) -> Option<String> {
    let mut folders = std::fs::read_dir(place.join("certificates")).ok()?.flatten();
    let file = |folder: &Path| std::fs::read_to_string(folder.join(format!("{name}/{name}.crt"))).ok();
    let chain = folders.find_map(|folder| file(&folder.path()))?;
    (chain.matches("-----END CERTIFICATE-----").count() == 2).then_some(chain)
}

#[test]
fn caddy_gets_and_renews_until_its_binding_is_revoked() -> Result<()> {
    let (key, place, name) = (hand_out(report(), "caddy", &[])?, TempDir::new()?, "caddy.approved.test");
    open(&Client::of(report())?, &key)?;
    let _caddy = start_caddy(place.path(), &key, name)?;
    let log = || std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
    let other_than = |old: Option<&str>| {
        wait_for(|| caddy_chain(place.path(), name).filter(|found| old != Some(found.as_str())))
            .with_context(|| format!("no other certificate: {}", log()))
    };
    let first = other_than(None)?;
    openssl::verify(&report().root, &first, name)?;
    let second = other_than(Some(&first))?;
    openssl::verify(&report().root, &second, name)?;
    eab(report(), "revoke", &["caddy"])?;
    wait_for(|| log().contains("unauthorized").then_some(())).with_context(|| format!("never refused: {}", log()))
}

#[test]
fn bindings_are_checked_while_one_signer_is_down() -> Result<()> {
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "bindings-faults")?;
    let stack = Stack::up(options.with(["--eab", "required", "--signers", "2", "--restart"]))?;
    let client = Client::of(&stack.report)?;
    let binding = BindingKey::read(stack.report.external_account.as_deref())?;
    for signer in ["signer-1", "signer-2"] {
        stack.kill(signer)?;
        open(&client, &binding)?;
    }
    Ok(())
}
