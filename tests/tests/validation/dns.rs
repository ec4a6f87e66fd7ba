//! The challenges by DNS and CAA, against BIND: over TCP, and over HTTPS in front of it.

use std::{env, process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::base64url;
use tempfile::TempDir;
use tests::{
    account::{Account, challenge},
    client::Client,
    doh::DnsOverHttps,
    named::Named,
    openssl,
    stack::{Options, Stack, free_port},
};

use crate::target::Asked;

/// A stack that asks BIND, over HTTPS where that answers and over TCP where it does not.
struct World {
    stack: Stack,
    client: Client,
    named: Named,
    https_port: u16,
}

/// CAA records of this deployment name it so (`caa_identities` of the local configuration).
const ISSUER: &str = "ca.internal";

fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let (named, https_port) = (Named::start(env!("CARGO_TARGET_TMPDIR"))?, free_port()?);
        let resolvers = json!([format!("https://localhost:{https_port}/dns-query"), named.resolver()]);
        let suffixes = json!(["test", "elsewhere.example", "broken.example"]);
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "validation-dns")?
            .set("validation.resolvers", &resolvers)
            .set("validation.challenges", &json!(["dns-01", "dns-account-01", "dns-persist-01"]))
            .set("identifiers.dns_suffixes", &suffixes);
        let stack = Stack::up(options)?;
        Ok(World { client: Client::of(&stack.report)?, stack, named, https_port })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// What the TXT record of dns-01 must be (RFC 8555 §8.4).
fn digest(asked: &Asked) -> String {
    base64url::encode(&Sha256::digest(&asked.key_authorization))
}

/// A name with a right record for dns-01.
fn prepared(name: &str) -> Result<Asked> {
    let asked = Asked::by(&world().client, name, "dns-01")?;
    world().named.add_txt(&format!("_acme-challenge.{}", name.trim_start_matches("*.")), &digest(&asked))?;
    Ok(asked)
}

#[test]
fn one_right_record_among_others_proves_a_name_and_a_wildcard() -> Result<()> {
    world().named.add_txt("_acme-challenge.many.test", "an older one")?;
    prepared("many.test")?.ends(Ok(()))?;
    prepared("*.many.test")?.ends(Ok(())).map(drop)
}

#[test]
fn an_alias_into_another_zone_delegates_the_proof() -> Result<()> {
    world().named.add("_acme-challenge.alias.test", "CNAME", "first.elsewhere.example.")?;
    world().named.add("first.elsewhere.example", "CNAME", "proofs.elsewhere.example.")?;
    let asked = Asked::by(&world().client, "alias.test", "dns-01")?;
    world().named.add_txt("proofs.elsewhere.example", &digest(&asked))?;
    asked.ends(Ok(())).map(drop)
}

#[test]
fn what_the_server_says_is_told_apart() -> Result<()> {
    let client = &world().client;
    let wrong = Asked::by(client, "wrong.test", "dns-01")?;
    world().named.add_txt("_acme-challenge.wrong.test", "something else")?;
    wrong.ends(Err(("incorrectResponse", "_acme-challenge.wrong.test")))?;
    // Below a wildcard every name exists, with addresses alone.
    Asked::by(client, "empty.test", "dns-01")?.ends(Err(("dns", "no record")))?;
    Asked::by(client, "a.broken.example", "dns-01")?.ends(Err(("dns", "response code 2"))).map(drop)
}

/// The label of an account (draft-ietf-acme-dns-account-label §3.2), by openssl and coreutils.
fn account_label(url: &str) -> Result<String> {
    let hash = openssl::run(&mut openssl::command(["dgst", "-sha256", "-binary"]), url.as_bytes())?;
    let first = hash.get(..10).context("a digest")?;
    let text = openssl::run(&mut Command::new("base32"), first)?;
    Ok(format!("_{}", String::from_utf8(text)?.trim().to_ascii_lowercase()))
}

#[test]
fn dns_account_01_has_a_label_for_each_account() -> Result<()> {
    let asked = Asked::by(&world().client, "*.shared.test", "dns-account-01")?;
    let label = account_label(&asked.account.url)?;
    world().named.add_txt(&format!("{label}._acme-challenge.shared.test"), &digest(&asked))?;
    asked.ends(Ok(()))?;
    let other = Asked::by(&world().client, "shared.test", "dns-account-01")?;
    let (settled, label) = (other.settle()?, account_label(&other.account.url)?);
    ensure!(settled.problem.0 == "dns" && settled.problem.1.contains(&label), "{label}: {settled:?}");
    Ok(())
}

/// An answered dns-persist-01 challenge: the authorization, and the type of its problem.
fn persist(account: &Account, name: &str) -> Result<(Value, String)> {
    let order = account.order(&[name])?;
    let authorization = order.authorizations()?.pop().context("an authorization")?;
    let object = account.read(&authorization)?.expect(200)?.json()?;
    let asked = challenge(&object, "dns-persist-01")?;
    ensure!(asked["token"].is_null(), "there is nothing to put into a token: {asked}");
    let names = asked["issuerDomainNames"].as_array().context("issuerDomainNames")?;
    ensure!(names.iter().any(|name| name == ISSUER), "{asked}");
    account.post(asked["url"].as_str().context("a URL")?, &json!({}))?.expect(200)?;
    // An error when it became invalid.
    let _ = account.wait(&authorization, "valid");
    let object = account.read(&authorization)?.expect(200)?.json()?;
    let problem = challenge(&object, "dns-persist-01")?["error"]["type"].as_str().unwrap_or_default().to_owned();
    Ok((object, problem.replace("urn:ietf:params:acme:error:", "")))
}

#[test]
fn dns_persist_01_proves_a_name_again_and_again_by_one_record() -> Result<()> {
    let (account, stranger) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let value = format!("{ISSUER}; accounturi={}; policy=wildcard", account.url);
    world().named.add_txt("_validation-persist.lasting.test", &value)?;
    for name in ["lasting.test", "lasting.test", "*.lasting.test"] {
        let (object, problem) = persist(&account, name)?;
        ensure!(object["status"] == "valid", "{name}: {problem} {object}");
    }
    let (object, problem) = persist(&stranger, "lasting.test")?;
    assert_eq!((object["status"].as_str(), problem.as_str()), (Some("invalid"), "unauthorized"));

    let narrow = format!("{ISSUER}; accounturi={}; persistUntil=4000000000", account.url);
    world().named.add_txt("_validation-persist.narrow.test", &narrow)?;
    assert_eq!(persist(&account, "narrow.test")?.0["status"], "valid");
    assert_eq!(persist(&account, "*.narrow.test")?.1, "unauthorized");
    let ended = format!("{ISSUER}; accounturi={}; persistUntil=1000000000", account.url);
    world().named.add_txt("_validation-persist.ended.test", &ended)?;
    assert_eq!(persist(&account, "ended.test")?.1, "unauthorized");
    Ok(())
}

#[test]
fn caa_records_permit_and_forbid() -> Result<()> {
    let meta = &world().client.directory["meta"];
    assert_eq!(meta["caaIdentities"], json!([ISSUER]));
    let caa = |name: &str, data: &str| world().named.add(name, "CAA", data);
    caa("ours.test", &format!("0 issue \"{ISSUER}\""))?;
    prepared("ours.test")?.ends(Ok(()))?;
    prepared("below.ours.test")?.ends(Ok(()))?;

    caa("theirs.test", "0 issue \"ca.other.example\"")?;
    prepared("theirs.test")?.ends(Err(("caa", "at theirs.test")))?;
    prepared("far.below.theirs.test")?.ends(Err(("caa", "at theirs.test")))?;
    // Nearer records go before those above.
    caa("free.theirs.test", &format!("0 issue \"{ISSUER}\""))?;
    prepared("free.theirs.test")?.ends(Ok(()))?;

    caa("plain.test", &format!("0 issue \"{ISSUER}\""))?;
    caa("plain.test", "0 issuewild \";\"")?;
    prepared("plain.test")?.ends(Ok(()))?;
    prepared("*.plain.test")?.ends(Err(("caa", "plain.test")))?;
    // Without issuewild a wildcard is as any other name: nobody may.
    caa("nobody.test", "0 issue \";\"")?;
    prepared("*.nobody.test")?.ends(Err(("caa", "nobody.test")))?;

    caa("critical.test", &format!("0 issue \"{ISSUER}\""))?;
    caa("critical.test", "128 tbs \"unknown\"")?;
    prepared("critical.test")?.ends(Err(("caa", "critical.test")))?;
    caa("method.test", &format!("0 issue \"{ISSUER}; validationmethods=http-01\""))?;
    prepared("method.test")?.ends(Err(("caa", "dns-01")))?;
    let asked = prepared("account.test")?;
    caa("account.test", &format!("0 issue \"{ISSUER}; accounturi={}\"", asked.account.url))?;
    asked.ends(Ok(()))?;
    prepared("account.test")?.ends(Err(("caa", "account.test"))).map(drop)
}

#[test]
fn records_that_forbid_after_the_proof_stop_the_certificate() -> Result<()> {
    // Every finalize looks again.
    let named = Named::start(&format!("{}/recheck", env!("CARGO_TARGET_TMPDIR")))?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "validation-recheck")?
        .with(["--resolver", &named.resolver()])
        .set("validation.caa_recheck", &json!(0));
    let stack = Stack::up(options)?;
    let client = Client::of(&stack.report)?;
    let names = ["one.late.test", "two.late.test", "three.late.test"];
    for turned in [None, Some("one.late.test"), Some("two.late.test"), Some("three.late.test")] {
        let account = Account::new(&client)?;
        let order = account.order(&names)?;
        for url in order.authorizations()? {
            let object = account.read(&url)?.expect(200)?.json()?;
            let asked = challenge(&object, "dns-01")?;
            let token = asked["token"].as_str().context("a token")?;
            let value = base64url::encode(&Sha256::digest(format!("{token}.{}", account.key.thumbprint()?)));
            let name = object["identifier"]["value"].as_str().context("a name")?;
            named.add_txt(&format!("_acme-challenge.{name}"), &value)?;
            account.post(asked["url"].as_str().context("a URL")?, &json!({}))?.expect(200)?;
            account.wait(&url, "valid")?;
        }
        if let Some(name) = turned {
            named.add(name, "CAA", "0 issue \"ca.other.example\"")?;
        }
        account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?.expect(200)?;
        match turned {
            None => drop(account.wait(&order.url, "valid")?),
            Some(name) => {
                let _ = account.wait(&order.url, "valid");
                let object = account.read(&order.url)?.expect(200)?.json()?;
                assert_eq!(object["error"]["type"], "urn:ietf:params:acme:error:caa", "{name}: {object}");
                assert!(object["error"]["detail"].as_str().unwrap_or_default().contains(name), "{object}");
                named.remove(name, "CAA")?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_one_resolver_cannot_answer_another_does_and_https_is_asked_where_it_is_there() -> Result<()> {
    let World { stack, named, https_port, .. } = world();
    // Whatever order the tests come in: nothing listens there before this one.
    prepared("before.test")?.ends(Ok(()))?;
    let folder = stack.report.state.join("edge");
    let https = DnsOverHttps::start(*https_port, &folder.join("front.pem"), &folder.join("front.key"), named.port)?;
    prepared("over-https.test")?.ends(Ok(()))?;
    assert!(https.answered() >= 2, "the record, and at least one CAA lookup: {}", https.answered());
    Asked::by(&world().client, "a.broken.example", "dns-01")?.ends(Err(("dns", "response code 2"))).map(drop)
}

#[test]
fn lego_gets_a_wildcard_by_an_alias() -> Result<()> {
    let (world, place) = (world(), TempDir::new()?);
    world.named.add("_acme-challenge.lego-alias.test", "CNAME", "lego.proofs.test.")?;
    let mut command = Command::new("lego");
    command.env("LEGO_CA_CERTIFICATES", &world.stack.report.ca).env("LEGO_EXPERIMENTAL_CNAME_SUPPORT", "true");
    command.env("EXEC_PATH", world.named.hook()?).env("EXEC_SEQUENCE_INTERVAL", "1").env("EXEC_POLLING_INTERVAL", "1");
    command.args(["--server", &world.stack.report.directory, "--accept-tos", "--email", "a@clients.test", "--path"]);
    command.arg(place.path()).args(["--dns", "exec", "--dns.disable-cp"]);
    command.args(["--dns.resolvers", &format!("127.0.0.1:{}", world.named.port), "-d", "*.lego-alias.test", "run"]);
    openssl::run(&mut command, b"")?;
    let chain = std::fs::read_to_string(place.path().join("certificates/_.lego-alias.test.crt"))?;
    openssl::verify(&world.stack.report.root, &chain, "anything.lego-alias.test")
}

#[test]
fn certbot_gets_a_wildcard_by_an_alias() -> Result<()> {
    let (world, place) = (world(), TempDir::new()?);
    world.named.add("_acme-challenge.certbot-alias.test", "CNAME", "certbot.proofs.test.")?;
    let program =
        env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
    let hook = format!("{} present certbot.proofs.test. \"$CERTBOT_VALIDATION\"", world.named.hook()?.display());
    let mut command = Command::new(program);
    command.env("REQUESTS_CA_BUNDLE", &world.stack.report.ca).args(["certonly", "--manual", "-n", "--agree-tos"]);
    command.args(["--preferred-challenges", "dns", "--register-unsafely-without-email", "--manual-auth-hook", &hook]);
    command.args(["--server", &world.stack.report.directory, "-d", "*.certbot-alias.test", "-d", "certbot-alias.test"]);
    for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        command.arg(flag).arg(place.path().join(folder));
    }
    openssl::run(&mut command, b"")?;
    let chain = std::fs::read_to_string(place.path().join("e/live/certbot-alias.test/fullchain.pem"))?;
    openssl::verify(&world.stack.report.root, &chain, "anything.certbot-alias.test")?;
    openssl::verify(&world.stack.report.root, &chain, "certbot-alias.test")
}
