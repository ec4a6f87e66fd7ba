//! Pebble, another ACME server: what it answers to the same client is a second opinion on what we answer. Native, in memory, on
//! loopback, with a certificate of its own.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::{keeper, stack::free_port};

/// Names the program.
const PROGRAM: &str = "COLOPHON_PEBBLE";
const START_LIMIT: Duration = Duration::from_secs(20);
/// What certificates of each profile live, in seconds. The names are those of `wrangler.toml`, where they mean the same.
const PROFILES: [(&str, u64); 3] = [("both", 86_400), ("client", 86_400), ("server", 86_400)];

/// A running server. Ends with this value, and with this process.
#[derive(Debug)]
pub struct Pebble {
    /// The ACME directory's URL.
    pub directory: String,
    /// PEM file: what clients must trust for HTTPS.
    pub ca: PathBuf,
    process: Child,
}

/// Where Pebble finds others.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// Where names are looked up: `IP:PORT`, over UDP.
    pub dns_server: &'a str,
    /// Where http-01 connects.
    pub http_port: u16,
    /// Where tls-alpn-01 connects.
    pub tls_alpn_port: u16,
}

impl Pebble {
    /// Starts it on a fresh folder below `place`, which should be cargo's `CARGO_TARGET_TMPDIR`, and waits until it listens. It never
    /// waits before it validates, refuses no good nonce, and signs with ECDSA on P-256.
    ///
    /// # Errors
    /// When there is no program, or with what it said.
    pub fn start(place: &str, surroundings: &Surroundings<'_>) -> Result<Self> {
        let program =
            env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} must name Pebble: run `cargo xtask test`"))?;
        let folder = Path::new(place).join("pebble");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let ca = certify(&folder)?;
        let (port, management) = (free_port()?, free_port()?);
        let profiles: serde_json::Map<_, _> = PROFILES
            .iter()
            .map(|(name, life)| ((*name).to_owned(), json!({"description": name, "validityPeriod": life})))
            .collect();
        let configuration = folder.join("pebble.json");
        let content = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": folder.join("front.pem"),
            "privateKey": folder.join("front.key"),
            "httpPort": surroundings.http_port,
            "tlsPort": surroundings.tls_alpn_port,
            "keyAlgorithm": "ecdsa",
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": profiles,
        }});
        fs::write(&configuration, content.to_string())?;
        let log = folder.join("pebble.log");
        let mut command = keeper::command(program);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0").env("PEBBLE_AUTHZREUSE", "0");
        command.args(["-strict", "-dnsserver", surroundings.dns_server, "-config"]).arg(&configuration);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let process = keeper::spawn(command).context("starting Pebble with setpriv")?;
        let mut server = Self { directory: format!("https://localhost:{port}/dir"), ca, process };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline || server.process.try_wait()?.is_some() {
                bail!("Pebble did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}

/// Writes `front.pem` and `front.key` for localhost, and the CA that signed them. Gives the CA's file.
fn certify(folder: &Path) -> Result<PathBuf> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.distinguished_name.push(DnType::CommonName, "Pebble's throwaway HTTPS front");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut front = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    front.use_authority_key_identifier_extension = true;
    fs::write(folder.join("front.pem"), front.signed_by(&key, &issuer)?.pem())?;
    fs::write(folder.join("front.key"), key.serialize_pem())?;
    let file = folder.join("ca.pem");
    fs::write(&file, issuer.pem())?;
    Ok(file)
}
