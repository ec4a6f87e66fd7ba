//! One binding starts everything anew at once: the others' few orders, its own other accounts and renewals hardly notice.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use tests::binding::{hand_out, open};

use crate::{
    crowd::{Served, Ticket, finalize_all},
    figures::{Shares, Waits, tenths},
    watch::Watch,
    world::{Member, Renewable, SIGNERS, Size, World, chains, in_parallel, leaves, one_at_a_time, one_by_one, tickets},
};

/// Bindings with an account each, and as many certificates that are renewed.
const SMALL: usize = 6;
/// Orders of each of these.
const FEW: usize = 3;
/// Of an idle system's median, at full size: the signature that a token is at, one of the others' turn, and its own.
const SLOWER: f64 = 3.0;

#[test]
fn a_binding_that_orders_everything_anew_starves_neither_others_nor_renewals() -> Result<()> {
    let _turn = one_at_a_time();
    let size = Size::or(240, 24)?;
    let count = size.orders / 2;
    let world = World::start("neighbours", size, |options| options.with(["--eab", "required"]))?;
    let member = |binding: &str, name: &str| -> Result<Member> {
        let binding = hand_out(&world.stack.report, binding, &[])?;
        world.member(open(&world.client, &binding)?, format!("{name}.test"))
    };
    let numbers: Vec<_> = (1..=SMALL).collect();
    let small = in_parallel(&numbers, |number| member(&format!("small-{number}"), &format!("small-{number}")))?;
    let binding = hand_out(&world.stack.report, "restarting", &[])?;
    let big = world.member(open(&world.client, &binding)?, "restarting.test".to_owned())?;
    let sibling = [world.member(open(&world.client, &binding)?, "sibling.test".to_owned())?];

    let idle = one_by_one(&turns(&small)?, size.latency * 2)?;
    let first_chains = chains(&idle)?;
    let mut all = leaves(&idle, &first_chains)?;
    let renewables = small.iter().zip(&first_chains).map(|(member, chain)| Renewable::new(member, chain));
    let renewables = renewables.collect::<Result<Vec<_>>>()?;
    let (few, own) = (turns(&small)?, tickets(&sibling, SMALL)?);
    let renewals = in_parallel(&renewables, Renewable::ticket)?;
    let numbers: Vec<_> = (0..count).collect();
    let anew = in_parallel(&numbers, |_| big.ticket())?;

    let expected = size.ideal(count + few.len() + own.len() + renewals.len());
    let (watch, shares) = (Watch::start(&world.stack.report.state, SIGNERS)?, Shares::of(&world)?);
    let spread = |tickets: &[Ticket<'_>]| expected.mul_f64(0.8 / tickets.len() as f64);
    let (anew, few, own, renewals) = thread::scope(|scope| {
        let anew = scope.spawn(|| finalize_all(&anew, expected * 2 + Duration::from_secs(60)));
        thread::sleep(expected.mul_f64(0.05));
        let few = scope.spawn(|| one_by_one(&few, spread(&few)));
        let own = scope.spawn(|| one_by_one(&own, spread(&own)));
        let renewals = one_by_one(&renewals, spread(&renewals));
        let [anew, few, own] = [anew, few, own].map(|thread| thread.join().expect("no thread panics"));
        (anew, few, own, renewals)
    });
    let (anew, few, own, renewals) = (anew?, few?, own?, renewals?);
    let waits = |served: &[Served<'_>]| Waits::of(served.iter().map(Served::wait));
    eprintln!("{} orders of one account; processors: {}", anew.len(), shares.text()?);
    eprintln!("signatures by signer and tenth: {}", tenths(&watch.signatures()));
    let (idle, beside, siblings, renewed) = (waits(&idle), waits(&few), waits(&own), waits(&renewals));
    eprintln!("idle: {idle}\nbeside it: {beside}\nin the same binding: {siblings}\nrenewals: {renewed}");

    for (what, waits) in [("others", &beside), ("its other account", &siblings), ("renewals", &renewed)] {
        let slower = waits.median().as_secs_f64() / idle.median().as_secs_f64();
        ensure!(slower <= SLOWER || !size.is_full(), "{what} wait {slower:.2} times as long as in an idle system");
    }
    for served in [&anew, &few, &own, &renewals] {
        all.extend(leaves(served, &chains(served)?)?);
    }
    assert_eq!(world.none_lost_none_doubled(&all)?, 0);
    Ok(())
}

/// A few orders of each, of all in turn.
fn turns(members: &[Member]) -> Result<Vec<Ticket<'_>>> {
    let members: Vec<_> = (0..FEW).flat_map(|_| members).collect();
    in_parallel(&members, |member| member.ticket()).map(|tickets| tickets.into_iter().collect())
}
