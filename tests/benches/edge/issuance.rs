//! Whole issuances by http-01, of any ACME server: the seven POSTs of a client that polls no more than it must.

use std::{path::Path, thread, time::Duration, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tests::{
    account::{self, Account},
    client::{Client, Reply},
    cpu::Processes,
    figures::milliseconds,
    responder::Responder,
};

/// Issuances of a round.
const ISSUANCES: usize = 50;
/// Before each poll.
const PAUSE: Duration = Duration::from_millis(25);
/// For one poll's state.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a round, before the CPU time is read.
const SETTLE: Duration = Duration::from_millis(200);

/// What one issuance took, as the mean of the round with the least CPU.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    /// CPU time of the server.
    pub(crate) cpu_ms: f64,
    /// CPU time of the signer, where there is one apart from the server.
    pub(crate) signer_cpu_ms: Option<f64>,
    /// Signed requests.
    pub(crate) posts: f64,
    /// Calls of objects on the path of their answers, where the server says so.
    pub(crate) hops: Option<f64>,
    /// From the first request to the certificate, pauses before polls included.
    pub(crate) elapsed_ms: f64,
}

/// A server, and what its rounds showed.
#[derive(Debug)]
pub(crate) struct Issuances<'a> {
    client: Client,
    server: Processes,
    signer: Option<&'a Processes>,
    rounds: Vec<Cost>,
}

/// Requests so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    posts: usize,
    hops: Option<usize>,
}

impl<'a> Issuances<'a> {
    /// Of the server with this directory.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn of(directory: &str, ca: &Path, server: Processes, signer: Option<&'a Processes>) -> Result<Self> {
        Ok(Self { client: Client::at(directory, ca)?, server, signer, rounds: Vec::new() })
    }

    /// One round, of an account of its own. It counts only when `counts`.
    ///
    /// # Errors
    /// When an issuance fails.
    pub(crate) fn round(&mut self, responder: &Responder, counts: bool) -> Result<()> {
        let account = Account::new(&self.client)?;
        let names: Vec<String> = (0..ISSUANCES).map(|number| format!("i{number}.bench.test")).collect();
        let requests = names.iter().map(|name| Ok((name.as_str(), Account::finalize_payload(&[name])?)));
        let requests: Vec<(&str, Value)> = requests.collect::<Result<_>>()?;
        let mut tally = Tally::default();
        let signer = || self.signer.map(Processes::cpu).transpose();
        let (cpu_before, signer_before, started) = (self.server.cpu()?, signer()?, Instant::now());
        for (name, request) in &requests {
            tally.issue(&account, responder, name, request).with_context(|| format!("issuing {name}"))?;
        }
        let elapsed = started.elapsed();
        thread::sleep(SETTLE);
        let each = |total: f64| total / ISSUANCES as f64;
        let used = |now: Duration, before: Duration| each(milliseconds(now.saturating_sub(before)));
        let cost = Cost {
            cpu_ms: used(self.server.cpu()?, cpu_before),
            signer_cpu_ms: signer()?.zip(signer_before).map(|(now, before)| used(now, before)),
            posts: each(tally.posts as f64),
            hops: tally.hops.map(|hops| each(hops as f64)),
            elapsed_ms: each(milliseconds(elapsed)),
        };
        if counts {
            self.rounds.push(cost);
        }
        Ok(())
    }

    /// The round with the least CPU.
    ///
    /// # Errors
    /// When none counted.
    pub(crate) fn lowest(&self) -> Result<Cost> {
        let least = self.rounds.iter().min_by(|one, other| one.cpu_ms.total_cmp(&other.cpu_ms));
        least.copied().context("no round of issuances counted")
    }
}

impl Tally {
    /// One certificate.
    fn issue(&mut self, account: &Account, responder: &Responder, name: &str, request: &Value) -> Result<()> {
        let identifiers = json!({"identifiers": [{"type": "dns", "value": name}]}).to_string();
        let made = self.post(account, account.client.url("newOrder"), identifiers.as_bytes(), 201)?;
        let (order_url, order) = (made.location()?, made.json()?);
        let authorization = self.read(account, text(&order["authorizations"][0])?)?.json()?;
        let challenge = account::challenge(&authorization, "http-01")?;
        let token = text(&challenge["token"])?;
        responder.put(token, format!("{token}.{}", account.key.thumbprint()?));
        self.post(account, text(&challenge["url"])?, b"{}", 200)?;
        self.poll(account, &order_url, "ready")?;
        self.post(account, text(&order["finalize"])?, request.to_string().as_bytes(), 200)?;
        let valid = self.poll(account, &order_url, "valid")?;
        let chain = self.read(account, text(&valid["certificate"])?)?;
        ensure!(chain.text()?.starts_with("-----BEGIN CERTIFICATE-----"), "no certificate: {:?}", chain.text());
        Ok(())
    }

    fn post(&mut self, account: &Account, url: &str, payload: &[u8], status: u16) -> Result<Reply> {
        let reply = account.send(url, payload)?.expect(status)?;
        self.posts += 1;
        if let Ok(hops) = reply.hops() {
            *self.hops.get_or_insert(0) += usize::try_from(hops)?;
        }
        Ok(reply)
    }

    fn read(&mut self, account: &Account, url: &str) -> Result<Reply> {
        self.post(account, url, b"", 200)
    }

    fn poll(&mut self, account: &Account, url: &str, status: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            thread::sleep(PAUSE);
            let object = self.read(account, url)?.json()?;
            if object["status"] == status {
                return Ok(object);
            }
            ensure!(object["status"] != "invalid" && Instant::now() < deadline, "{url} is not {status}: {object}");
        }
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a URL or a token is missing")
}
