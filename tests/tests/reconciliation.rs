//! Certificates that nobody has, made for real: by an edge that died while a signer hung, and by whoever has the edge's identity. The
//! edge finds them in the signers' journals, shows them, and has those revoked that can be. However often edges begin anew.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use shared::{
    base64url,
    chain::{Issuer, Leaf},
    crl::CrlContent,
    ocsp::CertStatus,
    serial::SerialNumber,
};
use tests::{
    account::{Account, Order},
    client::Client,
    journal, ocsp, openssl,
    responder::Responder,
    stack::{Options, Stack},
    subject,
};

const SIGNERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);
/// A token takes so long: the edge is stopped while it signs.
const LATENCY_MS: &str = "1000";
/// Seconds.
const LEASE: u64 = 4;
const GRACE: u64 = 3;

struct World {
    stack: Stack,
    client: Client,
    responder: Responder,
    account: Account,
}

#[test]
fn a_certificate_that_nobody_has_is_shown_and_revoked_and_no_other_is_touched() -> Result<()> {
    let world = World::start("reconciliation", SIGNERS, 1)?;
    let kept = [world.issue("monthly", "kept.test")?, world.issue("server", "short.test")?];

    // Who asks again for what it has just got is given that, and no journal names it again.
    let pair = KeyPair::generate()?;
    let first = world.issue_to(&pair, "again.test")?;
    until("its window is there", || Ok((world.issue_to(&pair, "again.test")? == first).then_some(())))?;
    let absorbed = |number| world.metric("absorbed_renewals_total", number);
    until("it is counted", || Ok((absorbed(1)? + absorbed(2)? == 1).then_some(())))?;

    let (signer, order) = world.orphan("lost.test")?;
    let served = world.account.leaf(&order)?;
    let lost = world.leaf_of(signer, &order.url)?;
    assert_ne!(served, lost, "the client has the other signer's");
    let view = world.revoked(lost)?;
    assert_eq!((&view["order"], &view["profile"]), (&json!(order.url), &json!("monthly")));
    assert_eq!((&view["signer"], &view["revocable"]), (&json!(format!("SIGNER_{signer}")), &json!(true)));

    // Whoever has the edge's identity has a certificate signed for an order that the edge never had.
    let forged = format!("{}0000", &order.url[..order.url.len() - 4]);
    world.forge(1, "monthly", &forged)?;
    assert_eq!(world.revoked(world.leaf_of(1, &forged)?)?["order"], forged.as_str());
    let short = format!("{}1111", &order.url[..order.url.len() - 4]);
    world.forge(1, "server", &short)?;
    let view = world.listed(&world.leaf_of(1, &short)?, |view| view["revocation"] == "left")?;
    assert_eq!(view["revocable"], false);

    for leaf in [served].iter().chain(&kept) {
        let serial = Leaf::from_der(leaf)?.serial.to_string();
        assert_eq!(journal::revocations(&world.stack.report.state, &serial)?, 0, "a client has it");
    }
    assert_eq!(journal::count(&world.stack.report.state, "revoked")?, 2);
    let all = |name| world.all(name);
    assert_eq!((all("undelivered_total")?, all("disowned_total")?, all("undelivered_open")?), (3, 2, 1));
    let delivered = u64::try_from(journal::signed(&world.stack.report.state)?.len())? - 3;
    assert_eq!((all("delivered_total")?, all("reconciliation_undecided")?), (delivered, 0));
    assert_eq!((all("absorbed_renewals_total")?, all("reconciliation_lag_records")?), (1, 0));
    assert_eq!((all("journal_broken")?, all("journal_known")?), (0, 2));
    Ok(())
}

/// Objects that are asked now and then live for some seconds each time, and the first question to each new one sets an alarm.
#[test]
fn edges_that_begin_anew_again_and_again_do_not_put_the_next_look_at_a_journal_off() -> Result<()> {
    const INTERVAL: u64 = 20;
    let world = World::start("reconciliation-anew", 1, INTERVAL)?;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let began = Instant::now();
        until("the edge is there", || Ok(world.client.get(&world.stack.report.directory).ok()))?;
        world.issue("server", "anew.test")?;
        let delivered = world.metric("delivered_total", 1)?;
        ensure!(began.elapsed().as_secs() < INTERVAL, "this edge has lived for {:?}", began.elapsed());
        if delivered > 0 {
            return Ok(());
        }
        world.stack.kill("edge")?;
    }
    anyhow::bail!("nobody has looked at the journals in {PATIENCE:?}")
}

impl World {
    fn start(name: &str, signers: usize, interval: u64) -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port);
        let options = options
            .set("lifetimes.finalize_wait", &json!(1))
            .set("lifetimes.lease", &json!(LEASE))
            .set("lifetimes.clock_skew", &json!(1))
            .set("reconciliation", &json!({"grace_seconds": GRACE, "interval_seconds": interval}))
            .set("status.crl_poll_seconds", &json!(1));
        let signers = signers.to_string();
        let stack = Stack::up(options.with(["--restart", "--signers", &signers, "--token-latency-ms", LATENCY_MS]))?;
        let client = Client::of(&stack.report)?;
        let account = Account::new(&client)?;
        let world = Self { stack, client, responder, account };
        world.nobody_else_asks()?;
        Ok(world)
    }

    /// Without the token there are no metrics.
    fn nobody_else_asks(&self) -> Result<()> {
        let url = self.url("/metrics");
        assert_eq!(self.client.get(&url)?.status, 401);
        assert_eq!(self.client.get_as(&url, "another token of at least 32 characters")?.status, 401);
        Ok(())
    }

    fn ready(&self, profile: &str, name: &str) -> Result<Order> {
        let order = self.account.order_of(profile, &[name])?;
        self.account.prove(&order, &self.responder)?;
        Ok(order)
    }

    fn issue_to(&self, pair: &KeyPair, name: &str) -> Result<Vec<u8>> {
        let order = self.ready("server", name)?;
        let csr = json!({"csr": base64url::encode(&subject::csr_of(&[name], pair)?)}).to_string();
        self.account.patiently(&order.finalize()?, csr.as_bytes())?.expect(200)?;
        self.account.leaf(&order)
    }

    fn issue(&self, profile: &str, name: &str) -> Result<Vec<u8>> {
        let order = self.ready(profile, name)?;
        self.account.patiently(&order.finalize()?, payload(name)?.as_bytes())?.expect(200)?;
        self.account.leaf(&order)
    }

    /// An order whose signer has signed and whose edge has died before it heard of that. The signer hangs for longer than its lease,
    /// and so another one makes the certificate that the client gets. Gives the number of the first.
    fn orphan(&self, name: &str) -> Result<(usize, Order)> {
        let order = self.ready("monthly", name)?;
        let body = self.account.sign(&order.finalize()?, &self.account.nonce()?, payload(name)?.as_bytes())?;
        let signer = thread::scope(|scope| -> Result<usize> {
            let finalize = scope.spawn(|| self.client.post(&order.finalize()?, &body));
            thread::sleep(Duration::from_millis(400));
            self.signal("edge", Signal::SIGSTOP)?;
            let signer = until("a signer signs", || {
                for number in 1..=SIGNERS {
                    if self.leaf_of(number, &order.url).is_ok() {
                        return Ok(Some(number));
                    }
                }
                Ok(None)
            })?;
            self.signal(&format!("signer-{signer}"), Signal::SIGSTOP)?;
            self.stack.kill("edge")?;
            // Its connection ends with the edge.
            let _ = finalize.join().expect("a request does not panic");
            Ok(signer)
        })?;
        self.account.certificate(&order)?;
        self.signal(&format!("signer-{signer}"), Signal::SIGCONT)?;
        Ok((signer, order))
    }

    /// Has a certificate signed for an order that is none.
    fn forge(&self, signer: usize, profile: &str, order: &str) -> Result<()> {
        let folder = self.stack.report.state.join("signers").join(signer.to_string());
        let configuration: toml::Table = fs::read_to_string(folder.join("signer.toml"))?.parse()?;
        let address = configuration["listen"]["address"].as_str().context("an address")?;
        let roots = configuration["listen"]["client_roots"].as_str().context("client roots")?;
        let host = format!("signer-{signer}.colophon.internal");
        let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
        let at = |seconds| serde_json::to_value(shared::timestamp::Timestamp::from_seconds(seconds));
        let header = json!({"url": format!("{order}/finalize"), "nonce": "none", "kid": self.account.url});
        let request = json!({
            "order": order, "finalize": self.account.key.sign(&header, payload("forged.test")?.as_bytes())?,
            "account_key": self.account.key.jwk(), "grant": "open", "profile": profile, "priority": "new",
            "identifiers": [{"identifier": {"type": "dns", "value": "forged.test"}, "method": "http-01", "validated": at(now)?}],
            "deadline": at(now + 60)?, "lease": at(now + 30)?,
        })
        .to_string();
        let identity = self.stack.report.state.join("edge");
        let mut client =
            openssl::command(["s_client", "-tls1_3", "-quiet", "-verify_return_error", "-connect", address]);
        client.args(["-servername", &host, "-verify_hostname", &host, "-CAfile"]).arg(folder.join(roots));
        client.arg("-cert").arg(identity.join("client.pem")).arg("-key").arg(identity.join("client.key"));
        let request = format!(
            "POST /v1/issue HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{request}",
            request.len()
        );
        let answer = String::from_utf8_lossy(&openssl::run(&mut client, request.as_bytes())?).into_owned();
        until("the forged order is signed", || Ok(self.leaf_of(signer, order).ok())).context(answer).map(drop)
    }

    fn signal(&self, role: &str, signal: Signal) -> Result<()> {
        let pid = *self.stack.processes()?.get(role).with_context(|| format!("no {role}"))?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {role}"))
    }

    /// What this signer has signed for an order.
    fn leaf_of(&self, signer: usize, order: &str) -> Result<Vec<u8>> {
        let signed = journal::signed_by(&self.stack.report.state, signer)?;
        let leaf = signed.into_iter().find(|signed| signed.order == order);
        leaf.map(|signed| signed.leaf).with_context(|| format!("signer {signer} has signed nothing for {order}"))
    }

    fn url(&self, path: &str) -> String {
        self.stack.report.directory.replace("/directory", path)
    }

    fn read(&self, path: &str) -> Result<tests::client::Reply> {
        let token = fs::read_to_string(self.stack.report.state.join("secrets/metrics"))?;
        self.client.get_as(&self.url(path), &token)?.expect(200)
    }

    /// The entry of a certificate in the list, once it is as it should be.
    fn listed(&self, leaf: &[u8], holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let serial = Leaf::from_der(leaf)?.serial.to_string();
        until("the certificate is in the list", || {
            let list = self.read("/metrics/undelivered")?.json()?;
            let mut list = list.as_array().context("a list")?.iter();
            Ok(list.find(|view| view["serial"] == serial.as_str() && holds(view)).cloned())
        })
    }

    /// The same, once it is revoked: in the journal, in its CRL, and by the responder.
    fn revoked(&self, leaf: Vec<u8>) -> Result<Value> {
        let view = self.listed(&leaf, |view| view["revocation"]["revoked"]["at"].is_string())?;
        let serial = Leaf::from_der(&leaf)?.serial;
        assert_eq!(journal::revocations(&self.stack.report.state, &serial.to_string())?, 1);
        let issuer = self.issuer(&view)?;
        let request = ocsp::request(&issuer, serial)?;
        let url = pointer(&leaf, "authorityInfoAccess", "OCSP - URI:")?;
        until("the responder says so", || {
            let content = ocsp::read(&ocsp::ask(&self.client, &url, &request)?, &issuer)?;
            Ok(content.filter(|content| matches!(content.status, CertStatus::Revoked { .. })))
        })?;
        let url = pointer(&leaf, "crlDistributionPoints", "URI:")?;
        until("the CRL says so", || Ok(self.is_in_crl(&url, &issuer, serial)?.then_some(())))?;
        Ok(view)
    }

    fn is_in_crl(&self, url: &str, issuer: &Issuer, serial: SerialNumber) -> Result<bool> {
        let reply = self.client.get(url)?;
        if reply.status != 200 {
            return Ok(false);
        }
        Ok(CrlContent::verify(&reply.body, issuer)?.entries.iter().any(|entry| entry.serial == serial))
    }

    fn issuer(&self, view: &Value) -> Result<Issuer> {
        let number = view["signer"].as_str().and_then(|name| name.strip_prefix("SIGNER_")).context("a signer")?;
        let folder = self.stack.report.state.join("signers").join(number);
        let configuration: toml::Table = fs::read_to_string(folder.join("signer.toml"))?.parse()?;
        let chain = configuration["issuer"][0]["chain"].as_str().context("a chain")?;
        Ok(Issuer::from_pem(&fs::read_to_string(folder.join(chain))?)?)
    }

    /// The sum of a number of all signers.
    fn all(&self, name: &str) -> Result<u64> {
        (1..=SIGNERS).map(|number| self.metric(name, number)).sum()
    }

    /// A number of one signer.
    fn metric(&self, name: &str, signer: usize) -> Result<u64> {
        let reply = self.read("/metrics")?;
        let start = format!("colophon_edge_{name}{{signer=\"SIGNER_{signer}\"}} ");
        let line = reply.text()?.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned));
        Ok(line.with_context(|| format!("no {start}"))?.parse()?)
    }
}

fn payload(name: &str) -> Result<String> {
    Ok(json!({"csr": base64url::encode(&subject::csr(&[name])?)}).to_string())
}

/// A URL in an extension of a certificate.
fn pointer(leaf: &[u8], extension: &str, mark: &str) -> Result<String> {
    let mut command = openssl::command(["x509", "-inform", "DER", "-noout", "-ext", extension]);
    let text = String::from_utf8(openssl::run(&mut command, leaf)?)?;
    let (_, rest) = text.split_once(mark).with_context(|| format!("no {mark} in {text}"))?;
    Ok(rest.lines().next().unwrap_or_default().trim().to_owned())
}

fn until<T>(what: &str, look: impl Fn() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            eprintln!("{what}: after {:?}", started.elapsed());
            return Ok(found);
        }
        ensure!(started.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}
