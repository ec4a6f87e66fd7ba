//! A stack with three signers of two slow tokens each, accounts that have proved their name, and what the journals say.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use tests::{
    account::{Account, Order},
    client::Client,
    journal,
    renewal::Subject,
    responder::Responder,
    stack::{Options, Stack},
};

use crate::crowd::{Served, Ticket};

pub(crate) const SIGNERS: usize = 3;
pub(crate) const TOKENS: usize = 2;
/// What the edge's log says of an order that goes on without its signer.
const UNSETTLED: &str = "cannot be asked and its lease is over";
/// How long an order may take that comes while others wait.
const PATIENCE: Duration = Duration::from_secs(240);
/// Clients that are made, or make their orders, at the same time.
const HANDS: usize = 6;

/// `COLOPHON_BURST=2000x500`: so many orders of so many accounts, in place of the few that CI has time for; `2000x500x1000`: with
/// tokens that take so many milliseconds, for a machine whose processors are not ours alone.
const SIZE: &str = "COLOPHON_BURST";

/// How much load there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) orders: usize,
    pub(crate) accounts: usize,
    /// A token takes so long for a signature.
    pub(crate) latency: Duration,
}

impl Size {
    /// What was asked for, or these orders and accounts.
    pub(crate) fn or(orders: usize, accounts: usize) -> Result<Self> {
        let usual = Self { orders, accounts, latency: Duration::from_millis(250) };
        let Ok(text) = env::var(SIZE) else { return Ok(usual) };
        let numbers = text.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>();
        match numbers.with_context(|| format!("{SIZE}={text}"))?[..] {
            [orders, accounts] => Ok(Self { orders, accounts, ..usual }),
            [orders, accounts, ms] => Ok(Self { orders, accounts, latency: Duration::from_millis(ms as u64) }),
            _ => bail!("{SIZE}={text}"),
        }
    }

    /// True when beginning and end weigh so little that the tokens' rate is to be reached.
    pub(crate) fn is_full(self) -> bool {
        self.orders >= 2000
    }

    /// What the tokens alone take for so many certificates.
    pub(crate) fn ideal(self, certificates: usize) -> Duration {
        self.latency.mul_f64(certificates as f64 / (SIGNERS * TOKENS) as f64)
    }
}

/// These stacks take all of the machine: one after the other.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) responder: Responder,
}

/// An account that has proved a name of its own.
pub(crate) struct Member {
    pub(crate) account: Account,
    pub(crate) name: String,
}

/// A certificate that is to be renewed.
pub(crate) struct Renewable<'a> {
    member: &'a Member,
    /// Its identifier (RFC 9773 §4.1).
    id: String,
}

impl World {
    pub(crate) fn start(name: &str, size: Size, change: impl FnOnce(Options) -> Options) -> Result<Self> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port);
        let options = options.set("lifetimes.authorization_reuse", &json!(3600)).set("lifetimes.redrive", &json!(10));
        let (signers, tokens, latency) =
            (SIGNERS.to_string(), TOKENS.to_string(), size.latency.as_millis().to_string());
        let options =
            options.with(["--restart", "--signers", &signers, "--tokens", &tokens, "--token-latency-ms", &latency]);
        let stack = Stack::up(change(options))?;
        Ok(Self { client: Client::of(&stack.report)?, stack, responder })
    }

    /// So many accounts.
    pub(crate) fn members(&self, kind: &str, count: usize) -> Result<Vec<Member>> {
        in_parallel(&(1..=count).collect::<Vec<_>>(), |number| {
            self.member(Account::new(&self.client)?, format!("{kind}-{number}.test"))
        })
    }

    /// An account that proves this name.
    pub(crate) fn member(&self, account: Account, name: String) -> Result<Member> {
        account.ready_order(&[&name], &self.responder)?;
        Ok(Member { account, name })
    }

    /// Certificates that this signer has signed.
    pub(crate) fn signed_by(&self, number: usize) -> Result<usize> {
        Ok(journal::signed_by(&self.stack.report.state, number)?.len())
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

impl Member {
    /// A new order that is ready, and its CSR.
    pub(crate) fn ticket(&self) -> Result<Ticket<'_>> {
        self.ticket_with(json!({}))
    }

    fn ticket_with(&self, members: serde_json::Value) -> Result<Ticket<'_>> {
        let order: Order = self.account.order_with(&[&self.name], members)?;
        ensure!(order.object["status"] == "ready", "{}", order.object);
        Ticket::new(&self.account, order, &self.name)
    }
}

impl<'a> Renewable<'a> {
    pub(crate) fn new(member: &'a Member, chain: &str) -> Result<Self> {
        Ok(Self { member, id: Subject::of(chain)?.id })
    }

    /// An order that says what it replaces, ready, and its CSR.
    pub(crate) fn ticket(&self) -> Result<Ticket<'a>> {
        self.member.ticket_with(json!({"replaces": self.id}))
    }
}

/// So many new orders of each of these accounts.
pub(crate) fn tickets(members: &[Member], each: usize) -> Result<Vec<Ticket<'_>>> {
    let made = in_parallel(members, |member| (0..each).map(|_| member.ticket()).collect::<Result<Vec<_>>>())?;
    Ok(made.into_iter().flatten().collect())
}

/// The chains, in the order of the orders.
pub(crate) fn chains(served: &[Served<'_>]) -> Result<Vec<String>> {
    in_parallel(served, Served::chain)
}

/// The orders with their certificates.
pub(crate) fn leaves(served: &[Served<'_>], chains: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
    let leaf = |(served, chain): (&Served<'_>, &String)| {
        Ok((served.order.clone(), CertificateDer::from_pem_slice(chain.as_bytes())?.to_vec()))
    };
    served.iter().zip(chains).map(leaf).collect()
}

/// Finalizes one after the other, each so long after the one before, whatever has become of that.
pub(crate) fn one_by_one<'a>(tickets: &[Ticket<'a>], gap: Duration) -> Result<Vec<Served<'a>>> {
    thread::scope(|scope| {
        let started = Instant::now();
        let mut threads = Vec::new();
        for (ticket, number) in tickets.iter().zip(0..) {
            thread::sleep((started + gap * number).saturating_duration_since(Instant::now()));
            threads.push(scope.spawn(move || ticket.serve(PATIENCE)));
        }
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

/// Does something with each of them, some at a time.
pub(crate) fn in_parallel<'t, T: Sync, R: Send>(
    items: &'t [T],
    one: impl Fn(&'t T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return Ok(done) };
            done.push((number, one(item)?));
        }
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..HANDS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Result<Vec<_>>>()
    })?
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
