//! Both edges have certificates issued by the same issuers at the same time, and take turns.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use shared::chain::Leaf;
use tests::{account::Account, journal, openssl};

use crate::world::{EDGES, finalize, in_parallel, issue, one_at_a_time, ready, world};

const EACH: usize = 6;

#[test]
fn both_edges_issue_from_the_same_issuers_at_once_and_the_journal_names_whose_each_order_is() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let accounts = in_parallel(2, |edge| world.account(edge, &format!("shared-{edge}.test")))?;
    // One backlog of both, before anybody waits for anything.
    let mut issued = in_parallel(2, |edge| {
        let (account, name) = (&accounts[edge], format!("shared-{edge}.test"));
        let orders = (0..EACH).map(|_| ready(account, &name)).collect::<Result<Vec<_>>>()?;
        for order in &orders {
            finalize(account, &name, order)?;
        }
        orders.into_iter().map(|order| Ok((account.certificate(&order)?, order.url))).collect::<Result<Vec<_>>>()
    })?;
    // Two tokens that take turns between two edges may each be one edge's for a while; one edge alone has both.
    for (edge, issued) in issued.iter_mut().enumerate() {
        let more = in_parallel(EACH, |_| issue(&accounts[edge], &format!("shared-{edge}.test")))?;
        issued.extend(more.into_iter().map(|(order, chain)| (chain, order.url)));
    }
    let intents = world.records("intent")?;
    let (mut orders, mut serials) = (BTreeSet::new(), BTreeSet::new());
    for (edge, issued) in issued.iter().enumerate() {
        let directory = world.clients[edge].url("newNonce").to_owned();
        let base = directory.split("/acme").next().context("a base URL")?;
        let mut issuers = BTreeSet::new();
        for (chain, order) in issued {
            ensure!(order.starts_with(base), "{order} is not below {base}");
            ensure!(orders.insert(order.clone()), "{order} is there twice");
            let serial = Leaf::from_der(&openssl::der(chain)?)?.serial;
            ensure!(serials.insert(serial.to_string()), "{serial} is there twice");
            openssl::verify(&world.stack.report.root, chain, &format!("shared-{edge}.test"))?;
            issuers.insert(openssl::x509(chain, ["-issuer"])?);
            let own: Vec<_> = intents.iter().filter(|intent| intent["order"] == order.as_str()).collect();
            ensure!(own.len() == 1 && own[0]["edge"] == EDGES[edge], "{order}: {own:?}");
        }
        assert_eq!(issuers.len(), 2, "{}: {issuers:?}", EDGES[edge]);
    }
    Ok(())
}

/// Orders of the edge that takes all that it can.
const FLOOD: usize = 60;
/// Accounts that it makes up for that.
const FLOODERS: usize = 6;
/// So long they may take to come: then the tokens that are held meanwhile would count as hung.
const COMING: Duration = Duration::from_secs(7);
/// Orders of the other one.
const PROBES: usize = 5;

#[test]
fn a_flood_of_one_edge_delays_the_other_by_a_turn_and_not_by_its_length() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let own = world.account(1, "calm.test")?;
    let flooders = in_parallel(FLOODERS, |number| world.account(0, &flooder(number)))?;
    let flood = in_parallel(FLOODERS, |number| {
        (0..FLOOD / FLOODERS).map(|_| ready(&flooders[number], &flooder(number))).collect::<Result<Vec<_>>>()
    })?;
    let idle = in_turn(|| wait(&own, || Ok(())))?;

    // They come faster than the tokens sign, on any machine.
    world.signal_workers(Signal::SIGSTOP)?;
    let started = Instant::now();
    let come = in_parallel(FLOODERS, |number| {
        let in_time = flood[number].iter().take_while(|_| started.elapsed() < COMING);
        in_time
            .map(|order| finalize(&flooders[number], &flooder(number), order).map(|_| order))
            .collect::<Result<Vec<_>>>()
    })?;
    let before = journal::signed(&world.stack.report.state)?.len();
    let started = Instant::now();
    let mut held = true;
    let flooded = in_turn(|| {
        wait(&own, || if std::mem::take(&mut held) { world.signal_workers(Signal::SIGCONT) } else { Ok(()) })
    })?;
    let signed = journal::signed(&world.stack.report.state)?.len() - before - PROBES;
    in_parallel(FLOODERS, |number| {
        come[number].iter().try_for_each(|order| flooders[number].wait(&order.url, "valid").map(drop))
    })?;
    let (whole, come) = (started.elapsed(), come.iter().flatten().count());
    eprintln!(
        "idle {idle:?}, beside {come} orders, {signed} of which were signed then, {flooded:?}; they took {whole:?}"
    );
    ensure!(signed < come, "the flood was over before all was measured");
    // Both tokens may have taken one ahead beside the one that they sign; and the way takes time, in which others are signed.
    ensure!(flooded.1 <= 10, "{} others were signed first", flooded.1);
    ensure!(flooded.0 < whole / 4, "it waited for {:?} of {whole:?}", flooded.0);
    Ok(())
}

fn flooder(number: usize) -> String {
    format!("flood-{number}.test")
}

/// The time until an order is valid, and how many others were signed meanwhile. Something else is done when the signer has it.
fn wait(account: &Account, then: impl FnOnce() -> Result<()>) -> Result<(Duration, usize)> {
    let state = &world().stack.report.state;
    let order = ready(account, "calm.test")?;
    let (started, before) = (Instant::now(), journal::signed(state)?.len());
    finalize(account, "calm.test", &order)?;
    then()?;
    account.wait(&order.url, "valid")?;
    let took = started.elapsed();
    let place = journal::signed(state)?.iter().position(|signed| signed.order == order.url).context("it is signed")?;
    Ok((took, place.saturating_sub(before)))
}

/// The median of several waits.
fn in_turn(mut wait: impl FnMut() -> Result<(Duration, usize)>) -> Result<(Duration, usize)> {
    let mut waits = (0..PROBES).map(|_| wait()).collect::<Result<Vec<_>>>()?;
    waits.sort_unstable();
    Ok(waits[PROBES / 2])
}

#[test]
fn an_edge_that_dies_leaves_the_other_one_going_and_finds_its_orders_again() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let accounts = in_parallel(2, |edge| world.account(edge, &format!("dying-{edge}.test")))?;
    let order = ready(&accounts[0], "dying-0.test")?;
    finalize(&accounts[0], "dying-0.test", &order)?;
    world.stack.kill("edge")?;
    issue(&accounts[1], "dying-1.test")?;
    let leaf = accounts[0].leaf(&order)?;
    assert_eq!(journal::of_order(&world.stack.report.state, &order.url)?, [leaf]);
    Ok(())
}
