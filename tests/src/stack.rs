//! A stack as `cargo xtask up` starts it: one process to start, one line to read, one process to end.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;

use crate::{keeper, random};

/// Names the binary of xtask.
pub(crate) const XTASK: &str = "COLOPHON_XTASK";
/// Long enough to build what is stale.
const START_LIMIT: Duration = Duration::from_secs(600);

/// How a stack is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder.
    state: PathBuf,
    /// Where http-01 and tls-alpn-01 connect.
    http_port: u16,
    tls_alpn_port: u16,
    flags: Vec<String>,
}

/// A running stack. Ends with this value, and with this process.
#[derive(Debug)]
pub struct Stack {
    options: Options,
    process: Child,
    /// What it said when it was ready.
    pub report: Report,
}

/// What `up --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// The ACME directory's URL.
    pub directory: String,
    /// PEM file: what clients must trust for HTTPS.
    pub ca: PathBuf,
    /// PEM file: the issuing root.
    pub root: PathBuf,
    /// Base URL of what is served as plain HTTP.
    pub http: String,
    /// What certificates point to for their status.
    pub status_url: String,
    /// The edges beside the first one.
    #[serde(default)]
    pub other_edges: Vec<OtherEdge>,
    /// JSON file with the id and the MAC key of an external account binding, where bindings are looked at.
    pub external_account: Option<PathBuf>,
    /// Process ids by role.
    pub pids: BTreeMap<String, i32>,
    /// The state folder.
    pub state: PathBuf,
    /// Milliseconds from the command's start.
    pub ready_ms: u64,
    /// Where the edge looks names up: `tcp://IP:PORT` of the throwaway resolver, which answers over UDP too, or what `--resolver` named.
    pub resolver: String,
    /// Base URL of the benchmarks' floor, where `--floor` asked for it.
    pub floor: Option<String>,
}

/// Another edge of the same stack.
#[derive(Clone, Debug, Deserialize)]
pub struct OtherEdge {
    /// The ACME directory's URL.
    pub directory: String,
    /// Base URL of what is served as plain HTTP.
    pub http: String,
}

impl Options {
    /// A fresh state folder of this name below `place`, which should be cargo's `CARGO_TARGET_TMPDIR`. It stays after the test, for
    /// its logs.
    ///
    /// # Errors
    /// When an old folder cannot be removed, or no port is free.
    pub fn fresh(place: &str, name: &str) -> Result<Self> {
        let state = Path::new(place).join(name);
        if state.exists() {
            fs::remove_dir_all(&state).with_context(|| format!("removing {}", state.display()))?;
        }
        fs::create_dir_all(&state)?;
        Ok(Self { state, http_port: free_port()?, tls_alpn_port: free_port()?, flags: Vec::new() })
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The same with the port where http-01 connects.
    #[must_use]
    pub fn http_port(self, http_port: u16) -> Self {
        Self { http_port, ..self }
    }

    /// The same with the port where tls-alpn-01 connects.
    #[must_use]
    pub fn tls_alpn_port(self, tls_alpn_port: u16) -> Self {
        Self { tls_alpn_port, ..self }
    }

    /// The same with another value for a key of the edge's configuration.
    #[must_use]
    pub fn set(mut self, key: &str, value: &serde_json::Value) -> Self {
        self.flags.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// The same with flags of `up`.
    #[must_use]
    pub fn with<const N: usize>(mut self, flags: [&str; N]) -> Self {
        self.flags.extend(flags.map(str::to_owned));
        self
    }
}

impl Stack {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When there is no binary of xtask, or what the stack said when it failed.
    pub fn up(options: Options) -> Result<Self> {
        let xtask = env::var_os(XTASK)
            .with_context(|| format!("{XTASK} must name the binary of xtask: run `cargo xtask test`"))?;
        let log = options.state.join("up.log");
        let mut command = keeper::command(xtask);
        command
            .args(["up", "--json", "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state"])
            .arg(&options.state);
        command.args(["--http-port", &options.http_port.to_string()]);
        command.args(["--tls-alpn-port", &options.tls_alpn_port.to_string()]).args(&options.flags);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log)?);
        let mut process = keeper::spawn(command).context("starting xtask with setpriv")?;
        let output = process.stdout.take().context("its output is a pipe")?;
        match ready_line(output) {
            Ok(report) => {
                eprintln!("{}: ready after {} ms", options.state.display(), report.ready_ms);
                Ok(Self { options, process, report })
            }
            Err(error) => {
                keeper::end(&mut process);
                Err(error.context(format!("`up` did not start\n{}", tail(&log))))
            }
        }
    }

    /// Ends it and starts it again on the same state and ports.
    ///
    /// # Errors
    /// As [`Stack::up`].
    pub fn restart(self) -> Result<Self> {
        self.restart_after(|| Ok(()))
    }

    /// The same, with something done while it is down.
    ///
    /// # Errors
    /// When that fails, or the stack does not start again.
    pub fn restart_after(mut self, change: impl FnOnce() -> Result<()>) -> Result<Self> {
        keeper::end(&mut self.process);
        let options = self.options.clone();
        drop(self);
        change()?;
        Self::up(options)
    }

    /// The processes as they are now: others than in the report after one was restarted.
    ///
    /// # Errors
    /// When the stack is down.
    pub fn processes(&self) -> Result<BTreeMap<String, i32>> {
        let text = fs::read(self.report.state.join("running.json")).context("the stack is down")?;
        Ok(serde_json::from_slice::<Report>(&text)?.pids)
    }

    /// Ends it and starts it again on the same state and ports, with these options in place of its own.
    ///
    /// # Errors
    /// As [`Stack::up`].
    pub fn restart_with(mut self, change: impl FnOnce(Options) -> Options) -> Result<Self> {
        keeper::end(&mut self.process);
        let options = change(self.options.clone());
        drop(self);
        Self::up(options)
    }

    /// Kills the process of this role (SIGKILL), and says which one that was.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill(&self, role: &str) -> Result<i32> {
        let processes = self.processes()?;
        let pid = *processes.get(role).with_context(|| format!("no {role} among {processes:?}"))?;
        kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("killing {role} ({pid})"))?;
        Ok(pid)
    }

    /// The log of a role so far.
    ///
    /// # Errors
    /// When there is none.
    pub fn log(&self, role: &str) -> Result<String> {
        let file = self.report.state.join("logs").join(format!("{role}.log"));
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}

/// A port of loopback that was free just now, and that the system gives to nobody by itself: whoever is to listen on it finds it free.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let ports = (0..100).map(|_| 10_000 + u16::from_ne_bytes(random::bytes()) % 22_000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.into_iter().find(is_free).context("a hundred ports are not free")
}

/// Waits for the one line; what follows is read and dropped, so that the process never waits for us.
fn ready_line(output: ChildStdout) -> Result<Report> {
    let (sender, line) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    match line.recv_timeout(START_LIMIT) {
        Ok(line) => serde_json::from_str(&line).with_context(|| format!("the ready line is {line:?}")),
        Err(_) => bail!("no ready line"),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
