//! The stack that all of these tests share, with two certificates of a profile that has OCSP and CRLs: one is good, one is
//! revoked. It ends with the process.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rcgen::KeyPair;
use serde_json::json;
use shared::base64url;
use tests::{
    account::Account,
    client::Client,
    openssl,
    responder::Responder,
    stack::{Options, Stack},
    subject,
};

/// How long a revocation may take until everybody can see it: a CRL's bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files of a certificate.
pub(crate) struct Subject {
    /// PEM, the leaf alone.
    pub(crate) leaf: PathBuf,
    /// PEM, the leaf and its issuer.
    pub(crate) chain: PathBuf,
    /// PKCS#8 in PEM.
    pub(crate) key: PathBuf,
    /// Its only name.
    pub(crate) name: &'static str,
}

/// A stack, and what it has issued.
pub(crate) struct World {
    pub(crate) good: Subject,
    pub(crate) revoked: Subject,
    /// PEM, the issuer of both.
    pub(crate) issuer: PathBuf,
    /// PEM.
    pub(crate) root: PathBuf,
    /// Where tests put their files.
    pub(crate) folder: PathBuf,
    _stack: Stack,
}

/// The one world, made by whoever needs it first. When it does not start, it does not for everybody.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| World::start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    fn start() -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "verifiers")?;
        let stack = Stack::up(options.http_port(responder.port))?;
        let client = Client::of(&stack.report)?;
        let account = Account::new(&client)?;
        let folder = stack.report.state.join("verifiers");
        fs::create_dir_all(&folder)?;
        let issue = |name| Subject::issue(&account, &responder, &folder, name);
        let (good, revoked) = (issue("good.test")?, issue("revoked.test")?);
        let issuer = folder.join("issuer.pem");
        let chain = fs::read_to_string(&good.chain)?;
        let (_, above) = chain.split_once("-----END CERTIFICATE-----\n").context("a chain has two certificates")?;
        fs::write(&issuer, above)?;
        let der = openssl::der(&fs::read_to_string(&revoked.chain)?)?;
        let payload = json!({"certificate": base64url::encode(&der), "reason": 1});
        account.post(client.url("revokeCert"), &payload)?.expect(200)?;
        let root = stack.report.root.clone();
        let world = Self { good, revoked, issuer, root, folder, _stack: stack };
        world.wait_for_the_crl()?;
        Ok(world)
    }

    /// The CRL that a certificate points to, in DER.
    pub(crate) fn crl(&self, subject: &Subject) -> Result<Vec<u8>> {
        let url = subject.pointer("crlDistributionPoints", "URI:")?;
        let reply = Client::without_directory(&self.root)?.get(&url)?.expect(200)?;
        Ok(reply.body)
    }

    fn wait_for_the_crl(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let crl = openssl::run(
                &mut openssl::command(["crl", "-inform", "DER", "-noout", "-text"]),
                &self.crl(&self.revoked)?,
            )?;
            if String::from_utf8_lossy(&crl).contains("Key Compromise") {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "the CRL does not name the revoked certificate in time");
            thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Subject {
    fn issue(account: &Account, responder: &Responder, folder: &std::path::Path, name: &'static str) -> Result<Self> {
        let order = account.order_of("monthly", &[name])?;
        account.prove(&order, responder)?;
        let pair = KeyPair::generate()?;
        let csr = base64url::encode(&subject::csr_of(&[name], &pair)?);
        account.post(&order.finalize()?, &json!({ "csr": csr }))?.expect(200)?;
        let chain = account.certificate(&order)?;
        let file = |suffix: &str| folder.join(format!("{name}{suffix}"));
        let subject = Self { leaf: file(".pem"), chain: file("-chain.pem"), key: file(".key"), name };
        let end = "-----END CERTIFICATE-----\n";
        let (leaf, _) = chain.split_once(end).context("a chain has a certificate")?;
        fs::write(&subject.leaf, format!("{leaf}{end}"))?;
        fs::write(&subject.chain, &chain)?;
        fs::write(&subject.key, pair.serialize_pem())?;
        Ok(subject)
    }

    /// The URL behind `mark` in an extension.
    pub(crate) fn pointer(&self, extension: &str, mark: &str) -> Result<String> {
        let text = openssl::x509(&fs::read_to_string(&self.leaf)?, ["-ext", extension])?;
        let (_, rest) = text.split_once(mark).with_context(|| format!("no {mark} in {text}"))?;
        Ok(rest.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// Runs a program, which must succeed, and gives all that it said.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{command:?}: {}\n{text}", output.status);
    }
    Ok(text)
}
