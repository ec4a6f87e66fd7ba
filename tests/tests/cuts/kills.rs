//! Signers and their workers are killed at every step of an exchange.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use shared::signing::ISSUE_PATH;
use tests::{
    account::{Account, Order},
    cut::{Cut, Place, Way},
    journal,
    random::Sequence,
    relay::Relay,
};

use crate::world::{LATENCY_MS, World, is_all};

const PATIENCE: Duration = Duration::from_secs(30);

/// How far the exchange is when the blow falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The connection is accepted, and nothing is said yet.
    Accepted,
    /// Half of the request's body is there.
    HalfRead,
    /// The whole request is there.
    Read,
    /// The intent is journaled.
    Intended,
    /// So many milliseconds later: in the worker at first, then signed by the token, which keeps it for `LATENCY_MS`.
    AtWork(u64),
    /// The signature is journaled.
    Signed,
    /// Half of the answer is out.
    HalfAnswered,
    /// So many milliseconds after the client has asked.
    AnyTime(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The daemon, and its worker with it.
    Signer,
    /// Only the process that owns the token.
    Worker,
}

#[test]
fn signers_and_workers_that_are_killed_at_any_step_make_no_second_certificate() -> Result<()> {
    let world = World::start("cut-kills")?;
    let mut random = Sequence::seeded();
    let mut blows = vec![
        (Step::Accepted, Victim::Signer),
        (Step::HalfRead, Victim::Signer),
        (Step::Read, Victim::Signer),
        (Step::Intended, Victim::Signer),
        (Step::AtWork(random.below(10)), Victim::Signer),
        (Step::AtWork(50 + random.below(LATENCY_MS - 50)), Victim::Signer),
        (Step::Signed, Victim::Signer),
        (Step::HalfAnswered, Victim::Signer),
        (Step::Intended, Victim::Worker),
        (Step::AtWork(50 + random.below(LATENCY_MS - 50)), Victim::Worker),
    ];
    for _ in 0..if is_all() { 30 } else { 2 } {
        let victim = if random.below(2) == 0 { Victim::Signer } else { Victim::Worker };
        blows.push((Step::AnyTime(random.below(2 * LATENCY_MS)), victim));
    }
    for (number, (step, victim)) in blows.into_iter().enumerate() {
        round(&world, step, victim, number).with_context(|| format!("{victim:?} at {step:?}"))?;
    }
    world.nothing_is_left_over()
}

fn round(world: &World, step: Step, victim: Victim, number: usize) -> Result<()> {
    let name = format!("kill-{number}.test");
    let (account, order) = world.ready(&name)?;
    let url = order.finalize()?;
    let payload = Account::finalize_payload(&[&name])?.to_string();
    let before: Vec<_> = world.relays.iter().map(Relay::struck).collect();
    if step == Step::Accepted {
        world.relays.iter().for_each(|relay| relay.strike(Place::Accepted, Way::Delay, Duration::from_secs(1)));
    }
    let cut = |place, way| {
        world.cuts.expect(Cut { path: ISSUE_PATH, about: format!("\"{}\"", order.url), place, way, times: 1 })
    };
    let struck = match step {
        Step::HalfRead => Some(cut(Place::RequestBody, Way::Delay)),
        Step::Read => Some(cut(Place::Sent, Way::Delay)),
        Step::Signed => Some(cut(Place::Answer, Way::Reset)),
        Step::HalfAnswered => Some(cut(Place::AnswerBody, Way::Close)),
        Step::Accepted | Step::Intended | Step::AtWork(_) | Step::AnyTime(_) => None,
    };
    let started = Instant::now();
    let (role, killed) = thread::scope(|scope| {
        let finalize = scope.spawn(|| account.patiently(&url, payload.as_bytes())?.expect(200));
        let signer = match (step, &struck) {
            (Step::Accepted, _) => until(|| {
                let struck = world.relays.iter().zip(&before).position(|(relay, before)| relay.struck() > *before);
                Ok(struck.map(|position| position + 1))
            })?,
            (Step::HalfRead | Step::Read | Step::HalfAnswered, Some(struck)) => struck.wait(PATIENCE)?,
            (Step::Signed, _) => has(world, "signed", &order)?,
            (Step::AnyTime(delay), _) => {
                thread::sleep(Duration::from_millis(delay));
                1 + number % world.relays.len()
            }
            _ => has(world, "intent", &order)?,
        };
        if let Step::AtWork(delay) = step {
            thread::sleep(Duration::from_millis(delay));
        }
        let role = format!("signer-{signer}");
        let pid = *world.stack.processes()?.get(&role).with_context(|| format!("no {role}"))?;
        match victim {
            Victim::Signer => kill(Pid::from_raw(pid), Signal::SIGKILL)?,
            Victim::Worker => {
                let workers = workers(pid)?;
                ensure!(!workers.is_empty(), "{role} has no worker");
                workers.into_iter().try_for_each(|pid| kill(pid, Signal::SIGKILL))?;
            }
        }
        finalize.join().expect("a request does not panic")?;
        anyhow::Ok((role, pid))
    })?;
    world.settled_once(&account, &order)?;
    eprintln!("{role}: {victim:?} killed at {step:?}: valid after {:?}", started.elapsed());
    if victim == Victim::Signer {
        until(|| Ok(world.stack.processes()?.get(&role).filter(|pid| **pid != killed).copied()))?;
    }
    Ok(())
}

/// The signer whose journal has a record of this kind about the order, as soon as it does.
fn has(world: &World, kind: &str, order: &Order) -> Result<usize> {
    until(|| journal::whose(&world.stack.report.state, kind, &order.url))
}

fn until<T>(mut there: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = there()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The children of a process.
fn workers(parent: i32) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let its = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        if its.is_some_and(|its| its.trim() == parent.to_string()) {
            children.push(Pid::from_raw(pid));
        }
    }
    Ok(children)
}
