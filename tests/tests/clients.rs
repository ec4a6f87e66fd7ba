//! Clients that people have, unmodified, with the lines that they use.
#![cfg(feature = "stack")]

use std::{
    env,
    net::IpAddr,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::{
    challtestsrv::program,
    named::Named,
    openssl,
    stack::{Options, Stack, free_port},
};

/// A stack that looks names up at a real DNS server, and the port where it looks for answers.
struct World {
    stack: Stack,
    named: Named,
    http_port: u16,
}

/// The one stack of these tests. It ends with the process. When it does not start, it does not for everybody.
fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let named = Named::start(env!("CARGO_TARGET_TMPDIR"))?;
        let http_port = free_port()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "clients")?.http_port(http_port);
        let stack = Stack::up(options.with(["--resolver", &named.resolver()]))?;
        Ok(World { stack, named, http_port })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Clients that listen do so on one port, one after the other.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    Ok(())
}

/// The chain in these files, leaf first, is for these names and verifies.
fn verified(files: &[&Path], names: &[&str]) -> Result<()> {
    let mut chain = String::new();
    for file in files {
        chain += &std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    }
    names.iter().try_for_each(|name| openssl::verify(&world().stack.report.root, &chain, name))
}

fn certbot(names: &[&str]) -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let program =
        env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
    let mut command = Command::new(program);
    command.env("REQUESTS_CA_BUNDLE", &world.stack.report.ca).args(["certonly", "--standalone"]);
    command.args(["--http-01-address", "127.0.0.1", "--http-01-port", &world.http_port.to_string()]);
    command.args(["--server", &world.stack.report.directory, "-n", "--agree-tos", "--register-unsafely-without-email"]);
    for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        command.arg(flag).arg(place.path().join(folder));
    }
    let flag = |name: &str| if name.parse::<IpAddr>().is_ok() { "--ip-address" } else { "-d" };
    command.args(names.iter().flat_map(|name| [flag(name), name]));
    run(&mut command)?;
    verified(&[&place.path().join("e/live").join(names[0]).join("fullchain.pem")], names)
}

/// certbot with these arguments, in this place and against this directory.
fn certbot_at(place: &TempDir, arguments: &[&str]) -> Result<Command> {
    let report = &world().stack.report;
    let program =
        env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
    let mut command = Command::new(program);
    command.env("REQUESTS_CA_BUNDLE", &report.ca).args(arguments).args(["--server", &report.directory, "-n"]);
    for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        command.arg(flag).arg(place.path().join(folder));
    }
    Ok(command)
}

/// What certbot says of its account.
fn certbot_account(place: &TempDir) -> Result<String> {
    let output = certbot_at(place, &["show_account"])?.output()?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn certbot_lives_a_whole_life() -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let port = world.http_port.to_string();
    let standalone = ["--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port.as_str()];
    run(&mut certbot_at(&place, &["register", "--agree-tos", "-m", "first@clients.test"])?)?;
    run(&mut certbot_at(&place, &["update_account", "-m", "second@clients.test"])?)?;
    let account = certbot_account(&place)?;
    ensure!(account.contains("second@clients.test") && !account.contains("first@clients.test"), "{account}");

    let mut names = ["by-account.test", "by-key.test"].into_iter();
    for name in names.by_ref() {
        run(certbot_at(&place, &["certonly", "-d", name])?.args(standalone))?;
    }
    let live = |name: &str, file: &str| place.path().join("e/live").join(name).join(file);
    let first = std::fs::read_to_string(live("by-account.test", "cert.pem"))?;
    let renewal = ["renew", "--force-renewal", "--no-random-sleep-on-renew", "--cert-name", "by-account.test"];
    run(certbot_at(&place, &renewal)?.args(standalone))?;
    ensure!(first != std::fs::read_to_string(live("by-account.test", "cert.pem"))?, "it was renewed");
    verified(&[&live("by-account.test", "fullchain.pem")], &["by-account.test"])?;

    let keep = "--no-delete-after-revoke";
    run(&mut certbot_at(&place, &["revoke", "--cert-name", "by-account.test", "--reason", "superseded", keep])?)?;
    let mut by_key = certbot_at(&place, &["revoke", "--reason", "keycompromise", keep])?;
    by_key.arg("--cert-path").arg(live("by-key.test", "cert.pem"));
    run(by_key.arg("--key-path").arg(live("by-key.test", "privkey.pem")))?;
    for name in ["by-account.test", "by-key.test"] {
        let der = openssl::der(&std::fs::read_to_string(live(name, "cert.pem"))?)?;
        let serial = shared::chain::Leaf::from_der(&der)?.serial.to_string();
        ensure!(tests::journal::revocations(&world.stack.report.state, &serial)? == 1, "{name} is revoked");
    }

    run(&mut certbot_at(&place, &["unregister"])?)?;
    let after = certbot_account(&place)?;
    ensure!(after.contains("Could not find an existing account"), "{after}");
    Ok(())
}

fn lego(place: &TempDir) -> Command {
    let report = &world().stack.report;
    let mut command = Command::new("lego");
    command.env("LEGO_CA_CERTIFICATES", &report.ca).args(["--server", &report.directory, "--accept-tos"]);
    command.args(["--email", "a@clients.test", "--path"]).arg(place.path());
    command
}

fn lego_http(names: &[&str]) -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let mut command = lego(&place);
    command.args(["--http", "--http.port", &format!("127.0.0.1:{}", world.http_port)]);
    command.args(names.iter().flat_map(|name| ["-d", name]));
    run(command.arg("run"))?;
    verified(&[&place.path().join("certificates").join(format!("{}.crt", names[0]))], names)
}

/// RFC 9773 §4.2: a window that has passed says to renew at once, which is what a revoked certificate has.
#[test]
fn certbot_renews_what_was_revoked_and_nothing_else_because_renewal_information_says_so() -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let port = world.http_port.to_string();
    let standalone = ["--standalone", "--http-01-address", "127.0.0.1", "--http-01-port", port.as_str()];
    let names = ["kept.ari.test", "revoked.ari.test"];
    for name in names {
        let anonymous = ["certonly", "--agree-tos", "--register-unsafely-without-email", "-d", name];
        run(certbot_at(&place, &anonymous)?.args(standalone))?;
    }
    let read =
        || names.map(|name| std::fs::read(place.path().join("e/live").join(name).join("cert.pem")).unwrap_or_default());
    let [kept, revoked] = read();
    let revoke = ["revoke", "--cert-name", names[1], "--reason", "superseded", "--no-delete-after-revoke"];
    run(&mut certbot_at(&place, &revoke)?)?;
    run(certbot_at(&place, &["renew", "--no-random-sleep-on-renew"])?.args(standalone))?;
    let [still, new] = read();
    ensure!(kept == still, "its window is hours away");
    ensure!(revoked != new, "renewed at once");
    verified(&[&place.path().join("e/live").join(names[1]).join("fullchain.pem")], &[names[1]])
}

#[test]
fn a_newer_lego_renews_what_was_revoked_because_renewal_information_says_so() -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let program = env::var_os("COLOPHON_LEGO").context("COLOPHON_LEGO must name lego 4: run `cargo xtask test`")?;
    let file = place.path().join("certificates/ari.lego.test.crt");
    let lego = |arguments: &[&str]| -> Result<Vec<u8>> {
        let mut command = Command::new(&program);
        command.env("LEGO_CA_CERTIFICATES", &world.stack.report.ca);
        command.args([
            "--server",
            &world.stack.report.directory,
            "--accept-tos",
            "--email",
            "a@clients.test",
            "--path",
        ]);
        command.arg(place.path()).args(["--http", "--http.port", &format!("127.0.0.1:{}", world.http_port)]);
        run(command.args(["-d", "ari.lego.test"]).args(arguments))?;
        Ok(std::fs::read(&file)?)
    };
    let renew = ["renew", "--no-random-sleep", "--dynamic"];
    let first = lego(&["run"])?;
    ensure!(lego(&renew)? == first, "its window is hours away");
    lego(&["revoke", "--keep"])?;
    ensure!(lego(&renew)? != first, "renewed at once");
    verified(&[&file], &["ari.lego.test"])
}

#[test]
fn certbot_standalone_gets_a_certificate_of_one_name() -> Result<()> {
    certbot(&["certbot.test"])
}

#[test]
fn certbot_standalone_gets_a_certificate_of_two_names() -> Result<()> {
    certbot(&["first.certbot.test", "second.certbot.test"])
}

#[test]
fn certbot_standalone_gets_a_certificate_of_an_address() -> Result<()> {
    certbot(&["127.0.0.1"])
}

#[test]
fn lego_gets_a_certificate_of_one_name_by_http() -> Result<()> {
    lego_http(&["lego.test"])
}

#[test]
fn lego_gets_a_certificate_of_two_names_by_http() -> Result<()> {
    lego_http(&["first.lego.test", "second.lego.test"])
}

#[test]
fn a_newer_lego_gets_a_certificate_of_an_address_and_names_a_profile() -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let program = env::var_os("COLOPHON_LEGO").context("COLOPHON_LEGO must name lego 4: run `cargo xtask test`")?;
    let mut command = Command::new(program);
    command.env("LEGO_CA_CERTIFICATES", &world.stack.report.ca);
    command.args(["--server", &world.stack.report.directory, "--accept-tos", "--email", "a@clients.test", "--path"]);
    command.arg(place.path()).args(["--http", "--http.port", &format!("127.0.0.1:{}", world.http_port)]);
    run(command.args(["-d", "127.0.0.1", "run", "--profile", "both"]))?;
    verified(&[&place.path().join("certificates/127.0.0.1.crt")], &["127.0.0.1"])
}

/// Its orders have Go's zero time as notBefore and notAfter, which is none.
#[test]
fn step_gets_a_certificate_by_http() -> Result<()> {
    let (world, _turn, place) = (world(), one_at_a_time(), TempDir::new()?);
    let (certificate, key) = (place.path().join("step.pem"), place.path().join("step.key"));
    let mut command = Command::new(program("step")?);
    command.env("STEPPATH", place.path().join("step")).args(["ca", "certificate", "--standalone"]);
    command.args(["--acme", &world.stack.report.directory, "--http-listen", &format!("127.0.0.1:{}", world.http_port)]);
    command.arg("--root").arg(&world.stack.report.ca).args(["--contact", "mailto:a@clients.test", "step.test"]);
    run(command.arg(&certificate).arg(&key))?;
    verified(&[&certificate], &["step.test"])
}

#[test]
fn lego_gets_a_wildcard_and_its_parent_by_dns_through_a_real_server() -> Result<()> {
    let (world, place) = (world(), TempDir::new()?);
    let mut command = lego(&place);
    command.env("EXEC_PATH", world.named.hook()?).args(["--dns", "exec", "--dns.disable-cp"]);
    // Else it waits for a minute between its two updates.
    command.env("EXEC_SEQUENCE_INTERVAL", "1").env("EXEC_POLLING_INTERVAL", "1");
    command.args(["--dns.resolvers", &format!("127.0.0.1:{}", world.named.port)]);
    run(command.args(["-d", "*.wild.test", "-d", "wild.test", "run"]))?;
    let file = place.path().join("certificates/_.wild.test.crt");
    verified(&[&file], &["anything.wild.test", "wild.test"])
}
