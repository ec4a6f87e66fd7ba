//! Each signer in turn is killed, hung and cut off while orders wait and others come: none is lost, none is doubled, and all signers
//! come back by themselves.

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use tests::cable::Cable;

use crate::{
    crowd::{Served, finalize_all},
    figures::{Waits, tenths},
    watch::Watch,
    world::{Member, SIGNERS, Size, TOKENS, World, chains, leaves, one_at_a_time, tickets},
};

/// Orders and accounts.
const USUAL: (usize, usize) = (96, 12);
/// Accounts that make one order after the other while signers are struck.
const DRIPS: usize = 8;
/// How long an order may take while signers are struck.
const PATIENCE: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// `SIGKILL`; it is started again.
    Killed,
    /// It stands still for so many seconds.
    Hung(u64),
    /// Nothing gets to it and nothing from it for so many seconds; it goes on with what it has.
    CutOff(u64),
}

/// The blows, and for how many seconds a lease is given.
fn plan(is_usual: bool) -> (Vec<(usize, Blow)>, u64) {
    if is_usual {
        return (vec![(1, Blow::Killed), (2, Blow::Hung(12)), (3, Blow::CutOff(3))], 6);
    }
    let all = |number| {
        // One of them for longer than an order is kept for it.
        let hung = if number == 1 { 40 } else { 12 };
        [Blow::Killed, Blow::Hung(hung), Blow::CutOff(12)].map(|blow| (number, blow))
    };
    ((1..=SIGNERS).flat_map(all).collect(), 20)
}

#[test]
fn signers_that_are_killed_hung_and_cut_off_lose_no_order_double_none_and_come_back_by_themselves() -> Result<()> {
    let _turn = one_at_a_time();
    let size = Size::or(USUAL.0, USUAL.1)?;
    let (blows, lease) = plan(size.orders == USUAL.0);
    let cables = (0..SIGNERS).map(|_| Cable::start()).collect::<Result<Vec<_>>>()?;
    let addresses: Vec<_> = cables.iter().map(|cable| cable.address.to_string()).collect();
    let skew = lease / 5;
    let world = World::start("turns", size, |options| {
        let options = options.set("lifetimes.lease", &json!(lease)).set("lifetimes.clock_skew", &json!(skew));
        addresses.iter().fold(options, |options, address| options.with(["--signer-relay", address]))
    })?;
    for (cable, number) in cables.iter().zip(1..) {
        cable.to(address(&world, number)?);
    }
    let (members, drips) = (world.members("account", size.accounts)?, world.members("drip", DRIPS)?);
    let orders = tickets(&members, size.orders / size.accounts)?;
    let watch = Watch::start(&world.stack.report.state, SIGNERS)?;

    let (started, ends) = (Instant::now(), AtomicBool::new(false));
    let (served, dripped, struck) = thread::scope(|scope| {
        let crowd = scope.spawn(|| finalize_all(&orders, size.ideal(size.orders) * 2 + PATIENCE));
        let drip = |member| {
            let ends = &ends;
            scope.spawn(move || drip(member, ends))
        };
        let drips: Vec<_> = drips.iter().map(drip).collect();
        let struck = blows.iter().try_for_each(|(number, blow)| strike(&world, &cables, &watch, *number, *blow));
        ends.store(true, Ordering::Relaxed);
        let dripped = drips.into_iter().map(|drip| drip.join().expect("no thread panics")).collect::<Result<Vec<_>>>();
        (crowd.join().expect("no thread panics"), dripped, struck)
    });
    struck?;
    let (mut served, dripped) = (served?, dripped?);
    served.extend(dripped.into_iter().flatten());
    let took = started.elapsed();
    let (alone, waits) = (size.ideal(served.len()), Waits::of(served.iter().map(Served::wait)));
    eprintln!("{} orders in {took:.1?}; the tokens alone take {alone:.1?} when nobody strikes", served.len());
    eprintln!("signatures by signer and tenth: {}", tenths(&watch.signatures()));
    eprintln!("waits: median {:.1?}, slowest but one {:.1?}", waits.median(), waits.slow());

    // Nobody has helped, and all of them have new orders.
    let before: Vec<_> = (1..=SIGNERS).map(|number| watch.signed_by(number)).collect();
    let last = finalize_all(&tickets(&drips, 3)?, PATIENCE)?;
    let after: Vec<_> = (1..=SIGNERS).map(|number| watch.signed_by(number)).collect();
    let new: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    ensure!(new.iter().all(|new| *new >= 2), "by signer {new:?}, once all is over");
    served.extend(last);

    let chains = chains(&served)?;
    let doubled = world.none_lost_none_doubled(&leaves(&served, &chains)?)?;
    // What was signed in the moment in which its signer stood still, for longer than it had the order.
    let kept = lease + lease / 2 + skew;
    let long = blows.iter().filter(|(_, blow)| matches!(blow, Blow::Hung(seconds) if *seconds > kept)).count();
    ensure!(doubled <= long * TOKENS, "{doubled} certificates that nobody has");
    Ok(())
}

/// One order after the other until the end.
fn drip<'a>(member: &'a Member, ends: &AtomicBool) -> Result<Vec<Served<'a>>> {
    let mut served = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        served.push(member.ticket()?.serve(PATIENCE)?);
    }
    Ok(served)
}

/// Strikes a signer, and waits until it signs again.
fn strike(world: &World, cables: &[Cable], watch: &Watch, number: usize, blow: Blow) -> Result<()> {
    until("a signer signs", 60, || watch.signed_by(number) > 0)?;
    let others = || watch.signatures().len() - watch.signed_by(number);
    let others_before = others();
    let cable = cables.get(number - 1).context("a cable for each signer")?;
    match blow {
        Blow::Killed => {
            let role = format!("signer-{number}");
            let killed = world.stack.kill(&role)?;
            // What it has signed before is none of its successor's.
            until("a signer that was killed is started again", 60, || {
                world.stack.processes().is_ok_and(|processes| processes.get(&role).is_some_and(|pid| *pid != killed))
            })?;
        }
        Blow::Hung(seconds) => {
            signal(world, number, Signal::SIGSTOP)?;
            thread::sleep(Duration::from_secs(seconds));
        }
        Blow::CutOff(seconds) => {
            cable.cut();
            thread::sleep(Duration::from_secs(seconds));
        }
    }
    let before = watch.signed_by(number);
    if blow != Blow::Killed {
        let went_on = until("the others go on", 30, || others() > others_before);
        match blow {
            Blow::Hung(_) => signal(world, number, Signal::SIGCONT)?,
            _ => cable.mend(),
        }
        went_on?;
    }
    let back = until("a signer that was struck signs again", 60, || watch.signed_by(number) > before)?;
    eprintln!(
        "signer {number}, {blow:?}: signs again after {back:.1?}; the others signed {}",
        others() - others_before
    );
    Ok(())
}

fn signal(world: &World, number: usize, signal: Signal) -> Result<()> {
    let role = format!("signer-{number}");
    let pid = *world.stack.processes()?.get(&role).with_context(|| format!("no {role}"))?;
    kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {role}"))
}

/// Where a signer listens.
fn address(world: &World, number: usize) -> Result<SocketAddr> {
    let file = world.stack.report.state.join("signers").join(number.to_string()).join("signer.toml");
    let configuration: toml::Table = fs::read_to_string(file)?.parse()?;
    let address = configuration.get("listen").and_then(|listen| listen.get("address")?.as_str());
    Ok(address.context("listen.address")?.parse()?)
}

fn until(what: &str, patience: u64, holds: impl Fn() -> bool) -> Result<Duration> {
    let started = Instant::now();
    while !holds() {
        ensure!(started.elapsed() < Duration::from_secs(patience), "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(started.elapsed())
}
