//! A stack with three signers of two slow tokens each, accounts that have proved their name, and what the journals say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
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

pub(crate) const SIGNERS: usize = 3;
pub(crate) const TOKENS: usize = 2;
/// A token takes so long.
pub(crate) const LATENCY_MS: u64 = 250;
/// What the edge's log says of an order that goes on without its signer.
const UNSETTLED: &str = "cannot be asked and its lease is over";

/// These stacks take all of the machine: one after the other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    responder: Responder,
}

impl World {
    pub(crate) fn start(name: &str, lifetimes: &[(&str, u64)]) -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port);
        let options = options
            .set("lifetimes.authorization_reuse", &json!(3600))
            .set("lifetimes.redrive", &json!(10))
            .set("lifetimes.finalize_wait", &json!(1));
        let set =
            |options: Options, (key, value): &(&str, u64)| options.set(&format!("lifetimes.{key}"), &json!(value));
        let options = lifetimes.iter().fold(options, set);
        let (signers, tokens, latency) = (SIGNERS.to_string(), TOKENS.to_string(), LATENCY_MS.to_string());
        let options =
            options.with(["--restart", "--signers", &signers, "--tokens", &tokens, "--token-latency-ms", &latency]);
        let stack = Stack::up(options)?;
        Ok(Self { client: Client::of(&stack.report)?, stack, responder })
    }

    /// So many accounts, each of which has proved a name of its own.
    pub(crate) fn accounts(&self, count: usize) -> Result<Vec<(Account, String)>> {
        let next = Mutex::new(0..count);
        let make = || -> Result<Vec<(Account, String)>> {
            let mut made = Vec::new();
            while let Some(number) = next.lock().unwrap_or_else(PoisonError::into_inner).next() {
                let (account, name) = (Account::new(&self.client)?, format!("account-{number}.test"));
                account.ready_order(&[&name], &self.responder)?;
                made.push((account, name));
            }
            Ok(made)
        };
        let made = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Result<Vec<_>>>()
        })?;
        Ok(made.into_iter().flatten().collect())
    }

    pub(crate) fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        let role = format!("signer-{number}");
        let pid = *self.stack.processes()?.get(&role).with_context(|| format!("no {role}"))?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {role}"))
    }

    /// Certificates that this signer has signed.
    pub(crate) fn signed_by(&self, number: usize) -> Result<usize> {
        Ok(journal::signed_by(&self.stack.report.state, number)?.len())
    }

    pub(crate) fn until(&self, what: &str, patience: u64, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let started = Instant::now();
        while !holds()? {
            ensure!(started.elapsed() < Duration::from_secs(patience), "never: {what}");
            thread::sleep(Duration::from_millis(200));
        }
        Ok(started.elapsed())
    }

    /// Every order has one certificate, the one that its client has. Only where the log says that a signer could not be asked may
    /// there be one more, which nobody has. Gives the number of those.
    pub(crate) fn none_lost_none_doubled(&self, served: &[(String, Vec<u8>)]) -> Result<usize> {
        let mut of: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
        let mut records = 0_usize;
        for signed in journal::signed(&self.stack.report.state)? {
            records += 1;
            of.entry(signed.order).or_default().insert(signed.leaf);
        }
        let log = self.stack.log("edge")?;
        let unsettled = |order: &str| log.lines().any(|line| line.contains(UNSETTLED) && line.contains(order));
        for (order, leaf) in served {
            let leaves = of.get(order).with_context(|| format!("{order} is in no journal"))?;
            ensure!(leaves.contains(leaf), "{order}: its client has another certificate");
            ensure!(leaves.len() == 1 || unsettled(order), "{order}: {} certificates", leaves.len());
        }
        let undelivered = records - of.len();
        eprintln!("{} orders, {records} signatures, {undelivered} certificates that nobody has", served.len());
        ensure!(of.len() == served.len(), "{} orders in the journals, {} were served", of.len(), served.len());
        Ok(undelivered)
    }
}

/// A new order of a name that is proved.
pub(crate) fn ready(account: &Account, name: &str) -> Result<Order> {
    let order = account.order(&[name])?;
    ensure!(order.object["status"] == "ready", "{}", order.object);
    Ok(order)
}

/// Finalizes an order. What it says is looked at later.
pub(crate) fn finalize(account: &Account, name: &str, order: &Order) -> Result<Value> {
    let payload = Account::finalize_payload(&[name])?.to_string();
    account.patiently(&order.finalize()?, payload.as_bytes())?.expect(200)?.json()
}
