//! The processes of a stack: started each in a process group of its own, watched, restarted when asked for, and ended
//! together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::process::which;
use crate::progress::note;

/// How long a service may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Between a death and the restart: doubles from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// What lived for so long starts again with the shortest pause.
const STABLE: Duration = Duration::from_secs(10);
/// "Do not restart me": a wrong PIN, a wrong configuration.
const EX_CONFIG: i32 = 78;

/// A program to keep running.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// Its name in reports and log files.
    pub(crate) role: String,
    pub(crate) program: PathBuf,
    /// No secrets: everybody can see them.
    pub(crate) arguments: Vec<OsString>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// Standard output and error.
    pub(crate) log: PathBuf,
    pub(crate) ready: Ready,
}

/// How one knows that a service is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// It prints this line.
    Line(&'static str),
    /// Somebody else finds out.
    Elsewhere,
}

/// All services of a stack. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    services: BTreeMap<String, Watched>,
    deaths: mpsc::UnboundedReceiver<Death>,
    report: mpsc::UnboundedSender<Death>,
}

#[derive(Debug)]
struct Watched {
    service: Service,
    /// None when it is dead.
    pid: Option<Pid>,
    started: Instant,
    backoff: Duration,
}

#[derive(Debug)]
struct Death {
    role: String,
    status: ExitStatus,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        let (report, deaths) = mpsc::unbounded_channel();
        Self { services: BTreeMap::new(), deaths, report }
    }

    /// Starts a service and waits until it is ready.
    pub(crate) async fn start(&mut self, service: Service) -> Result<()> {
        let role = service.role.clone();
        let watched = Watched { service, pid: None, started: Instant::now(), backoff: BACKOFF.0 };
        self.services.insert(role.clone(), watched);
        self.launch(&role).await
    }

    async fn launch(&mut self, role: &str) -> Result<()> {
        let watched = self.services.get_mut(role).context("an unknown service")?;
        let service = &watched.service;
        let mut child = spawn(service)?;
        let pid =
            child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw).context("a new process has an id")?;
        (watched.pid, watched.started) = (Some(pid), Instant::now());
        let output = child.stdout.take();
        let (ready, log) = (service.ready, service.log.clone());
        let report = self.report.clone();
        let name = role.to_owned();
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                let _ = report.send(Death { role: name, status });
            }
        });
        if let (Ready::Line(line), Some(output)) = (ready, output) {
            match timeout(START_LIMIT, line_appears(output, line, &log)).await {
                Ok(true) => {}
                Ok(false) => bail!("{role} ended before it was ready{}", tail(&log)),
                Err(_) => bail!("{role} was not ready after {} s{}", START_LIMIT.as_secs(), tail(&log)),
            }
        }
        Ok(())
    }

    /// Waits for `ready`, unless a service dies before.
    pub(crate) async fn unless_one_dies<T>(&mut self, ready: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = ready => result,
            Some(death) = self.deaths.recv() => Err(self.explain(&death)),
        }
    }

    /// Watches until one dies, or for ever with `restart`, in which case `changed` gets the processes after each
    /// restart.
    pub(crate) async fn watch(&mut self, restart: bool, mut changed: impl FnMut(&Self) -> Result<()>) -> Result<()> {
        while let Some(death) = self.deaths.recv().await {
            let error = self.explain(&death);
            let Some(watched) = self.services.get_mut(&death.role) else { continue };
            // Its group may outlive it.
            watched.pid.take().map(|pid| killpg(pid, Signal::SIGKILL));
            if !restart || death.status.code() == Some(EX_CONFIG) {
                return Err(error);
            }
            if watched.started.elapsed() > STABLE {
                watched.backoff = BACKOFF.0;
            }
            note(format!(
                "{} ended ({}): starting it again in {} ms",
                death.role,
                death.status,
                watched.backoff.as_millis()
            ));
            sleep(watched.backoff).await;
            watched.backoff = (watched.backoff * 2).min(BACKOFF.1);
            if let Err(error) = self.launch(&death.role).await {
                // Its death, if it died, is on its way to us; if it hangs, this is.
                note(format!("{error:#}"));
            }
            changed(self)?;
        }
        Ok(())
    }

    /// The processes by role, with the workers of each signer as far as the system tells.
    pub(crate) fn processes(&self) -> BTreeMap<String, i32> {
        let mut processes = BTreeMap::from([("up".to_owned(), std::process::id().try_into().unwrap_or(0))]);
        for (role, watched) in &self.services {
            let Some(pid) = watched.pid else { continue };
            processes.insert(role.clone(), pid.as_raw());
            for (number, worker) in (1..).zip(children(pid)) {
                processes.insert(format!("{role}-worker-{number}"), worker);
            }
        }
        processes
    }

    /// Ends all: asks politely, waits, then kills.
    pub(crate) async fn stop(&mut self) {
        let alive = |services: &BTreeMap<String, Watched>| services.values().filter_map(|watched| watched.pid).count();
        for pid in self.services.values().filter_map(|watched| watched.pid) {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let ended = async {
            while alive(&self.services) > 0 {
                let Some(death) = self.deaths.recv().await else { return };
                if let Some(watched) = self.services.get_mut(&death.role) {
                    // Its group may outlive it.
                    watched.pid.take().map(|pid| killpg(pid, Signal::SIGKILL));
                }
            }
        };
        let _ = timeout(STOP_LIMIT, ended).await;
        self.kill();
    }

    fn kill(&mut self) {
        for watched in self.services.values_mut() {
            watched.pid.take().map(|pid| killpg(pid, Signal::SIGKILL));
        }
    }

    fn explain(&self, death: &Death) -> anyhow::Error {
        let tail = self.services.get(&death.role).map(|watched| tail(&watched.service.log)).unwrap_or_default();
        anyhow!("{} ended: {}{tail}", death.role, death.status)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a program that ends when we do, however we end: `setpriv`, where there is one, asks the kernel for that.
fn spawn(service: &Service) -> Result<Child> {
    let log = |extra: &str| -> Result<File> {
        let mut file = OpenOptions::new().create(true).append(true).open(&service.log)?;
        file.write_all(extra.as_bytes())?;
        Ok(file)
    };
    let mut command = match which("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&service.program);
            command
        }
        None => Command::new(&service.program),
    };
    command.args(&service.arguments).current_dir(&service.folder).process_group(0).stdin(Stdio::null());
    command.stderr(log("---- started\n")?);
    match service.ready {
        Ready::Line(_) => command.stdout(Stdio::piped()),
        Ready::Elsewhere => command.stdout(log("")?),
    };
    command.spawn().with_context(|| format!("starting {}", service.program.display()))
}

/// Copies the output to the log; true as soon as the line appeared, after which copying goes on in the background.
async fn line_appears(output: ChildStdout, wanted: &str, log: &Path) -> bool {
    let mut lines = BufReader::new(output).lines();
    let mut log = OpenOptions::new().create(true).append(true).open(log).ok();
    let mut copy = move |line: &str| log.as_mut().map(|log| writeln!(log, "{line}"));
    while let Ok(Some(line)) = lines.next_line().await {
        copy(&line);
        if line.trim() == wanted {
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    copy(&line);
                }
            });
            return true;
        }
    }
    false
}

/// The last lines of a log, for an error's message.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n  ");
    format!("\n{}:\n  {last}", log.display())
}

/// The children of a process, by any of its threads; none where the system does not tell.
fn children(pid: Pid) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut children: Vec<i32> = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect();
    children.sort_unstable();
    children
}
