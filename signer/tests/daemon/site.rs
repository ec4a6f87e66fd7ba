//! A signer's site in a temporary folder: tokens, chain, infrastructure CA, configuration, and the daemon itself.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const EDGE: &str = "edge.colophon.internal";
pub(crate) const BASE_URL: &str = "https://localhost:14000";
/// Where certificates say that their status is told.
pub(crate) const STATUS_HOST: &str = "http://status.example";
pub(crate) const PIN: &str = "123456";

/// Everything but the daemon.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) address: String,
    pub(crate) infrastructure: CertifiedIssuer<'static, KeyPair>,
    /// Which program is run.
    pub(crate) program: &'static str,
}

/// A certificate and its key, PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A running daemon. Killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
}

impl Site {
    /// A site with these issuers, one token each, and its whole ceremony done.
    pub(crate) fn new(issuers: &[&str]) -> Self {
        let site = Self::without_issuers();
        for name in issuers {
            site.make_issuer(name);
        }
        site.write_config(issuers, "");
        site
    }

    /// A site with a root, and neither tokens nor a configuration.
    pub(crate) fn without_issuers() -> Self {
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let site = Self {
            folder,
            address: format!("localhost:{port}"),
            infrastructure: infrastructure_ca(),
            program: env!("CARGO_BIN_EXE_signer"),
        };
        for name in ["tokens", "pins", "issuers", "tls"] {
            fs::create_dir(site.path(name)).unwrap();
        }
        let tokens = site.path("tokens");
        let conf =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        fs::write(site.path("softhsm2.conf"), conf).unwrap();
        site.write_secret("pins/so", "87654321");
        let server = issue_identity(&site.infrastructure, "localhost");
        fs::write(site.path("tls/signer.pem"), server.certificate).unwrap();
        site.write_secret("tls/signer.key", server.key.trim_end());
        fs::write(site.path("tls/clients.pem"), site.infrastructure.pem()).unwrap();
        site.signer_ok("root create --subject CN=Root --days 3650 --key root.key --certificate root.pem");
        site
    }

    /// The whole ceremony of one issuer with a token of its own name.
    pub(crate) fn make_issuer(&self, name: &str) {
        assert!(
            Path::new(MODULE).exists(),
            "SoftHSM is not installed: {MODULE} is missing (Debian: apt-get install softhsm2)"
        );
        self.write_secret(&format!("pins/{name}"), PIN);
        let key = format!("--module {MODULE} --token {name} --pin-file pins/{name} --label issuing");
        self.signer_ok(&format!("init --module {MODULE} --label {name} --pin-file pins/{name} --so-pin-file pins/so"));
        self.signer_ok(&format!("keygen {key} --out {name}.pub"));
        self.signer_ok(&format!("csr {key} --subject CN=Issuing-{name} --out {name}.csr"));
        self.signer_ok(&format!(
            "root sign --key root.key --certificate root.pem --csr {name}.csr --days 1825 --out {name}.pem"
        ));
        self.signer_ok(&format!("import-chain {key} --chain {name}.pem --root root.pem --out issuers/{name}.pem"));
    }

    /// Writes `signer.toml`. `more` goes into every token.
    pub(crate) fn write_config(&self, issuers: &[&str], more: &str) {
        let conf = self.path("softhsm2.conf");
        let tables = issuers.iter().map(|name| {
            format!(
                r#"
[[issuer]]
name = "{name}"
chain = "issuers/{name}.pem"
[[issuer.token]]
module = "{MODULE}"
uri = "pkcs11:token={name};object=issuing"
pin_file = "pins/{name}"
environment = {{ SOFTHSM2_CONF = "{}" }}
{more}
"#,
                conf.display()
            )
        });
        self.write_config_with(&tables.collect::<String>());
    }

    /// Writes `signer.toml` with these tables of issuers.
    pub(crate) fn write_config_with(&self, issuers: &str) {
        let port = self.address.rsplit(':').next().unwrap();
        let text = format!(
            r#"
state = "state"
[listen]
address = "127.0.0.1:{port}"
certificate = "tls/signer.pem"
key = "tls/signer.key"
client_roots = "tls/clients.pem"
[limits]
request_bytes = 65536
connections = 256
queue = 1000
[[edge]]
name = "{EDGE}"
base_urls = ["{BASE_URL}"]
[[profile]]
name = "server"
validity_seconds = 86400
backdate_seconds = 60
extended_key_usage = ["serverAuth"]
revocation = "none"
[[scope]]
name = "open"
open = true
dns_suffixes = ["test"]
wildcards = true
methods = ["http-01", "dns-01"]
profiles = ["server"]
{issuers}"#
        );
        fs::write(self.path("signer.toml"), text).unwrap();
    }

    /// Changes `signer.toml`: certificates have responses and CRLs; `more` goes into `[status]`.
    pub(crate) fn tell_status(&self, more: &str) {
        let text = fs::read_to_string(self.path("signer.toml")).unwrap();
        let text = text.replace("revocation = \"none\"", "revocation = \"both\"");
        let status = format!("[status]\nhost = \"{STATUS_HOST}\"\n{more}\n[[edge]]");
        fs::write(self.path("signer.toml"), text.replacen("[[edge]]", &status, 1)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_secret(&self, name: &str, secret: &str) {
        fs::write(self.path(name), format!("{secret}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs the program with these arguments, which have no spaces in them.
    pub(crate) fn signer(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The same, and it must succeed. Gives what it printed.
    pub(crate) fn signer_ok(&self, arguments: &str) -> String {
        let output = self.signer(arguments);
        assert!(output.status.success(), "signer {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, and it must fail. Gives its last words.
    pub(crate) fn signer_fails(&self, arguments: &str) -> String {
        let output = self.signer(arguments);
        assert!(!output.status.success(), "signer {arguments} should fail");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts the daemon and waits for `ready`.
    pub(crate) fn serve(&self) -> Daemon {
        let mut daemon = self.spawn();
        let mut line = String::new();
        BufReader::new(daemon.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{}", daemon.log());
        daemon
    }

    /// Starts the daemon.
    pub(crate) fn spawn(&self) -> Daemon {
        self.spawn_with(|_| {})
    }

    /// Starts the daemon as a service manager would: with more in its environment.
    pub(crate) fn spawn_with(&self, change: impl FnOnce(&mut Command)) -> Daemon {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = self.path(&format!("log-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let mut command = self.command("serve --config signer.toml");
        change(&mut command);
        let child = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        Daemon { child, log }
    }

    /// The journal's files, in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(self.path("state/journal")) else { return Vec::new() };
        let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        files.sort_unstable();
        files
    }

    /// The journal's records.
    pub(crate) fn journal(&self) -> Vec<serde_json::Value> {
        let text: String = self.segments().iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The journal's records of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        self.journal().into_iter().filter_map(|record| record["event"].get(kind).cloned()).collect()
    }

    /// An edge's identity.
    pub(crate) fn edge(&self) -> Identity {
        issue_identity(&self.infrastructure, EDGE)
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env_remove("SIGNER_LOG");
        command
    }
}

impl Daemon {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// As the kernel's out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As a service manager would.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        signal(self.child.id(), nix::sys::signal::Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// The worker processes.
    pub(crate) fn workers(&self) -> Vec<u32> {
        children(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).unwrap();
}

/// The moment from which a test measures.
#[allow(clippy::disallowed_methods, reason = "these tests measure real programs in real time")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

/// The time after which a wait for an event counts as a hang. Far more than any event needs on a loaded machine.
pub(crate) const HANG: Duration = Duration::from_secs(300);

/// Waits for an event, at most [`HANG`].
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = stopwatch();
    while !holds() {
        assert!(started.elapsed() < HANG, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn infrastructure_ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "infrastructure");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn issue_identity(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Identity {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, issuer).unwrap();
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn children(parent: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let mut fields = after_name.split(' ');
        fields.next() != Some("Z") && fields.next() == Some(&parent.to_string())
    };
    processes.filter(is_child).collect()
}
