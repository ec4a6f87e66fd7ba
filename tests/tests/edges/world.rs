//! Two edges with one signer of two slow tokens, and what its journal says of either. The stack ends with the process.

use std::{
    fs,
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tests::{
    account::{Account, Order},
    client::Client,
    journal,
    responder::Responder,
    stack::{Options, Stack},
};

/// What the edges' client certificates name, in the order of [`World::clients`].
pub(crate) const EDGES: [&str; 2] = ["edge.colophon.internal", "edge-2.colophon.internal"];
/// A token takes so long.
const LATENCY_MS: &str = "200";

/// A stack with two edges.
pub(crate) struct World {
    pub(crate) stack: Stack,
    /// Of the first edge and of the second.
    pub(crate) clients: [Client; 2],
    pub(crate) responder: Responder,
}

/// These tests stop, flood and count: one after the other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The world of all tests but those that choose between signers, started by whoever needs it first.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || World::start("edges", |options| options.with(["--signers", "1", "--tokens", "2"]));
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

impl World {
    pub(crate) fn start(name: &str, change: impl FnOnce(Options) -> Options) -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port);
        let options = options
            .set("lifetimes.authorization_reuse", &json!(3600))
            .set("lifetimes.finalize_wait", &json!(0))
            .set("lifetimes.redrive", &json!(1))
            .set("status.crl_memory_seconds", &json!(1))
            .set("status.crl_poll_seconds", &json!(1));
        let options = options.with(["--edges", "2", "--restart", "--token-latency-ms", LATENCY_MS]);
        let stack = Stack::up(change(options))?;
        let second = &stack.report.other_edges.first().context("a second edge")?.directory;
        let clients = [Client::of(&stack.report)?, Client::at(second, &stack.report.ca)?];
        Ok(Self { stack, clients, responder })
    }

    /// A new account at this edge (0 or 1), which has proved this name.
    pub(crate) fn account(&self, edge: usize, name: &str) -> Result<Account> {
        let account = Account::new(&self.clients[edge])?;
        account.ready_order(&[name], &self.responder)?;
        Ok(account)
    }

    /// The signer's records of this kind, what they say.
    pub(crate) fn records(&self, kind: &str) -> Result<Vec<Value>> {
        journal::of_kind(&self.stack.report.state, kind)
    }

    /// Runs a verb of the only signer with its configuration.
    pub(crate) fn signer(&self, verb: [&str; 3]) -> Result<()> {
        let [verb, what, which] = verb;
        let program = fs::read_link(format!("/proc/{}/exe", self.pid("signer-1")?))?;
        let configuration = self.stack.report.state.join("signers/1/signer.toml");
        let mut command = Command::new(program);
        let output = command.arg(verb).arg("--config").arg(configuration).args([what, which]).output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Changes the only signer's configuration, and waits until it holds.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
        let file = self.stack.report.state.join("signers/1/signer.toml");
        let mut configuration: toml::Table = fs::read_to_string(&file)?.parse()?;
        change(&mut configuration);
        let rotated = || -> Result<usize> { Ok(self.stack.log("signer-1")?.matches(" rotated ").count()) };
        let before = rotated()?;
        fs::write(&file, configuration.to_string())?;
        self.signal("signer-1", Signal::SIGHUP)?;
        until("the new configuration holds", 20, || Ok(rotated()? > before)).map(drop)
    }

    pub(crate) fn signal(&self, role: &str, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid(role)?), signal).with_context(|| format!("{signal} to {role}"))
    }

    /// To all processes that have a token of the only signer.
    pub(crate) fn signal_workers(&self, signal: Signal) -> Result<()> {
        let processes = self.stack.processes()?;
        let workers: Vec<_> = processes.iter().filter(|(role, _)| role.starts_with("signer-1-worker-")).collect();
        ensure!(workers.len() == 2, "{processes:?}");
        workers.into_iter().try_for_each(|(role, _)| self.signal(role, signal))
    }

    fn pid(&self, role: &str) -> Result<i32> {
        self.stack.processes()?.get(role).copied().with_context(|| format!("no {role}"))
    }
}

/// Waits until something holds, at most so many seconds, and gives how long that took.
pub(crate) fn until(what: &str, patience: u64, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let started = Instant::now();
    while !holds()? {
        ensure!(started.elapsed() < Duration::from_secs(patience), "never: {what}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(started.elapsed())
}

/// A new order of a name that is proved.
pub(crate) fn ready(account: &Account, name: &str) -> Result<Order> {
    let order = account.order(&[name])?;
    ensure!(order.object["status"] == "ready", "{}", order.object);
    Ok(order)
}

/// Finalizes an order, and gives what it says then: `processing` or `valid`.
pub(crate) fn finalize(account: &Account, name: &str, order: &Order) -> Result<Value> {
    let payload = Account::finalize_payload(&[name])?.to_string();
    let said = account.patiently(&order.finalize()?, payload.as_bytes())?.expect(200)?.json()?;
    ensure!(said["status"] == "processing" || said["status"] == "valid", "{said}");
    Ok(said)
}

/// A whole order of a name that is proved: its URL, and the chain in PEM.
pub(crate) fn issue(account: &Account, name: &str) -> Result<(Order, String)> {
    let order = ready(account, name)?;
    finalize(account, name, &order)?;
    let chain = account.certificate(&order)?;
    Ok((order, chain))
}

/// Does something in several threads, and gives what came of it.
pub(crate) fn in_parallel<T: Send>(threads: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}
