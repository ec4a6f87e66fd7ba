//! The stack that these tests share, and certificates whose status can be asked. It ends with the process.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rcgen::KeyPair;
use serde_json::json;
use shared::{
    base64url,
    chain::{Issuer, Leaf},
    ocsp::CertStatus,
    serial::SerialNumber,
    timestamp::Timestamp,
};
use tests::{
    account::{Account, Order},
    client::{Client, Reply},
    journal, ocsp, openssl,
    responder::Responder,
    stack::{Options, Stack},
    subject,
};

/// Threads that ask or issue at the same time.
pub(crate) const THREADS: usize = 16;
/// The zone whose caches are purged, where the responder is the platform's API.
const ZONE: &str = "0123456789abcdef0123456789abcdef";
/// So many questions make a certificate popular.
pub(crate) const PRESIGN: usize = 3;
/// Whose certificates these are: proved once by each account.
const NAME: &str = "load.test";

/// A stack, and a client that knows its issuer.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) responder: Responder,
    pub(crate) issuer: Issuer,
    /// Where OCSP is asked.
    pub(crate) ocsp: String,
    /// Whose certificates are revoked.
    pub(crate) account: Account,
}

/// A certificate of a profile with OCSP and CRLs.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) der: Vec<u8>,
    pub(crate) serial: SerialNumber,
    /// The OCSP request about it.
    pub(crate) request: Vec<u8>,
    pub(crate) crl: String,
}

/// These tests count, measure and kill: one after the other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one world, started by whoever needs it first. When it does not start, it does not for everybody.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| World::start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    fn start() -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "status-load")?.http_port(responder.port);
        let options = options.set("lifetimes.authorization_reuse", &json!(3600)).with(["--restart"]);
        let api = format!("http://127.0.0.1:{}/client/v4", responder.port);
        let options = options.set("status.purge", &json!({"zone": ZONE, "api": api}));
        let options = options.set("status.presign", &json!(PRESIGN)).set("status.crl_memory_seconds", &json!(1));
        let stack = Stack::up(options)?;
        let client = Client::of(&stack.report)?;
        let account = Account::new(&client)?;
        let chain = issue(&account, &responder)?;
        let pointer = |extension: &str, mark: &str| -> Result<String> {
            let text = openssl::x509(&chain, ["-ext", extension])?;
            let (_, rest) = text.split_once(mark).with_context(|| format!("no {mark} in {text}"))?;
            Ok(rest.lines().next().unwrap_or_default().trim().to_owned())
        };
        let ocsp = pointer("authorityInfoAccess", "OCSP - URI:")?;
        let (_, above) = chain.split_once("-----END CERTIFICATE-----\n").context("a chain has two certificates")?;
        let issuer = Issuer::from_pem(above)?;
        let world = Self { stack, client, responder, issuer, ocsp, account };
        world.answer_purges(true);
        Ok(world)
    }

    /// So many certificates, by so many accounts at the same time.
    pub(crate) fn issue(&self, accounts: usize, each: usize) -> Result<Vec<Subject>> {
        let one = || -> Result<Vec<Subject>> {
            let account = Account::new(&self.client)?;
            (0..each).map(|_| self.subject(&issue(&account, &self.responder)?)).collect()
        };
        let all = in_parallel(accounts, |_| one())?;
        Ok(all.into_iter().flatten().collect())
    }

    /// One that ends in so many seconds.
    pub(crate) fn ending(&self, seconds: u64) -> Result<Subject> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + seconds;
        let end = serde_json::to_value(Timestamp::from_seconds(end))?;
        let order = self.account.order_with(&[NAME], json!({"profile": "monthly", "notAfter": end}))?;
        self.subject(&finished(&self.account, &self.responder, &order)?)
    }

    /// The requests to the API that have this tag in them.
    pub(crate) fn purges(&self, tag: &str) -> Vec<String> {
        let requests = self.responder.asked_for(&purge_path());
        requests.into_iter().filter(|request| request.contains(&format!("\"{tag}\""))).collect()
    }

    /// What the API answers from now on.
    pub(crate) fn answer_purges(&self, success: bool) {
        let head = if success { "200 OK" } else { "429 Too Many Requests" };
        self.responder.answer(&purge_path(), head, json!({ "success": success }).to_string());
    }

    /// A certificate of our own account.
    pub(crate) fn own(&self) -> Result<Subject> {
        self.subject(&issue(&self.account, &self.responder)?)
    }

    fn subject(&self, chain: &str) -> Result<Subject> {
        let der = openssl::der(chain)?;
        let serial = Leaf::from_der(&der)?.serial;
        let text = openssl::x509(chain, ["-ext", "crlDistributionPoints"])?;
        let (_, rest) = text.split_once("URI:").with_context(|| format!("no CRL: {text}"))?;
        let crl = rest.lines().next().unwrap_or_default().trim().to_owned();
        Ok(Subject { request: ocsp::request(&self.issuer, serial)?, der, serial, crl })
    }

    /// What the edge answers now.
    pub(crate) fn ask(&self, subject: &Subject) -> Result<Reply> {
        ocsp::ask(&self.client, &self.ocsp, &subject.request)
    }

    /// The status that it says now; nothing for "try later".
    pub(crate) fn status(&self, subject: &Subject) -> Result<Option<CertStatus>> {
        let Some(content) = ocsp::read(&self.ask(subject)?, &self.issuer)? else { return Ok(None) };
        if content.cert_id.serial != Some(subject.serial) {
            bail!("an answer about another certificate");
        }
        Ok(Some(content.status))
    }

    /// Has it revoked by its account.
    pub(crate) fn revoke(&self, subject: &Subject) -> Result<()> {
        let payload = json!({"certificate": base64url::encode(&subject.der), "reason": 1});
        self.account.post(self.client.url("revokeCert"), &payload)?.expect(200).map(drop)
    }

    /// OCSP responses that were signed so far.
    pub(crate) fn responses(&self) -> Result<usize> {
        journal::count(&self.stack.report.state, "response")
    }
}

/// The chain of a new certificate, PEM.
fn issue(account: &Account, responder: &Responder) -> Result<String> {
    finished(account, responder, &account.order_of("monthly", &[NAME])?)
}

fn finished(account: &Account, responder: &Responder, order: &Order) -> Result<String> {
    if order.object["status"] != "ready" {
        account.prove(order, responder)?;
    }
    let csr = base64url::encode(&subject::csr_of(&[NAME], &KeyPair::generate()?)?);
    account.post(&order.finalize()?, &json!({ "csr": csr }))?.expect(200)?;
    account.certificate(order)
}

fn purge_path() -> String {
    format!("/client/v4/zones/{ZONE}/purge_cache")
}

/// Does something in several threads, and gives what came of it.
pub(crate) fn in_parallel<T: Send>(threads: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread has panicked"))?).collect()
    })
}
