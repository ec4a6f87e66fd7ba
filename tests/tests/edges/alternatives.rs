//! A signer that the first edge takes as its last resort, and the second one always: another deployment by another way, say. And which
//! of the others is taken at which of the platform's places.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{account::Account, journal};

use crate::world::{World, finalize, issue, ready, until};

/// So long an order is one signer's alone, in seconds.
const LEASE: u64 = 2;
/// Orders that are issued one after the other.
const EACH: usize = 2;

fn signer(number: usize, more: &Value) -> Value {
    let mut signer = json!({
        "binding": format!("SIGNER_{number}"),
        "url": format!("https://signer-{number}.colophon.internal"),
    });
    if let (Some(signer), Some(more)) = (signer.as_object_mut(), more.as_object()) {
        signer.extend(more.clone());
    }
    signer
}

/// Two ordinary signers, each preferred at a place of its own, and the last resort.
fn start() -> Result<World> {
    let signers = json!([
        signer(1, &json!({"colos": ["AMS"]})),
        signer(2, &json!({"colos": ["SFO"]})),
        signer(3, &json!({"last_resort": true})),
    ]);
    World::start("last-resort", |options| {
        options
            .with(["--signers", "3"])
            .set("1:signers", &signers)
            .set("2:signers", &json!([signer(3, &json!({}))]))
            .set("lifetimes.lease", &json!(LEASE))
            .set("lifetimes.clock_skew", &json!(1))
    })
}

/// How many of these orders each of the three signers has signed.
fn shares(world: &World, orders: &[String]) -> Result<[usize; 3]> {
    let mut shares = [0; 3];
    for (number, share) in (1..).zip(&mut shares) {
        let signed = journal::signed_by(&world.stack.report.state, number)?;
        *share = signed.iter().filter(|signed| orders.contains(&signed.order)).count();
    }
    Ok(shares)
}

fn issue_some(account: &Account, name: &str) -> Result<Vec<String>> {
    (0..EACH).map(|_| Ok(issue(account, name)?.0.url)).collect()
}

#[test]
fn orders_go_to_the_signer_of_their_clients_place_and_to_the_last_resort_while_no_other_can_be_used() -> Result<()> {
    // A stack of its own, which waits most of the time: beside the other tests.
    let world = start()?;
    let place = |colo: &str, name: &str| -> Result<Account> {
        let account = Account::new(&world.clients[0].from_place(colo))?;
        account.ready_order(&[name], &world.responder)?;
        Ok(account)
    };
    let (amsterdam, california) = (place("AMS", "ams.test")?, place("SFO", "sfo.test")?);
    let elsewhere = world.account(1, "elsewhere.test")?;

    // In turns: what counts is where the account's own client is, not who came last.
    let (mut near_one, mut near_other) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        near_one.push(issue(&amsterdam, "ams.test")?.0.url);
        near_other.push(issue(&california, "sfo.test")?.0.url);
    }
    assert_eq!(shares(&world, &near_one)?, [EACH, 0, 0]);
    assert_eq!(shares(&world, &near_other)?, [0, EACH, 0]);
    let fed = issue_some(&elsewhere, "elsewhere.test")?;
    assert_eq!(shares(&world, &fed)?, [0, 0, EACH]);

    // All ordinary ones hang. What they have already comes when its lease is over, what is new soon.
    for role in ["signer-1", "signer-2"] {
        world.signal(role, Signal::SIGSTOP)?;
    }
    let started = Instant::now();
    let mut served = Vec::new();
    for (account, name) in [(&amsterdam, "ams.test"), (&california, "sfo.test")] {
        let order = ready(account, name)?;
        finalize(account, name, &order)?;
        served.push((account, order));
    }
    // The other edge does not notice.
    let fed = issue_some(&elsewhere, "elsewhere.test")?;
    assert_eq!(shares(&world, &fed)?, [0, 0, EACH]);
    for (account, order) in &served {
        account.certificate(order)?;
    }
    eprintln!("the last resort had signed what the others had after {:?}", started.elapsed());
    let mut orders: Vec<_> = served.into_iter().map(|(_, order)| order.url).collect();
    orders.extend(issue_some(&amsterdam, "ams.test")?);
    assert_eq!(shares(&world, &orders)?, [0, 0, orders.len()]);

    // They come back, and it is left alone by this edge.
    for role in ["signer-1", "signer-2"] {
        world.signal(role, Signal::SIGCONT)?;
    }
    let back = until("an ordinary signer signs again", 40, || {
        let (order, _) = issue(&amsterdam, "ams.test")?;
        Ok(shares(&world, &[order.url])?[2] == 0)
    })?;
    eprintln!("an ordinary signer signed again after {back:?}");
    // Nothing of before is signed by anybody else.
    assert_eq!(shares(&world, &orders)?[2], orders.len());
    until("both sign again", 40, || {
        thread::sleep(Duration::from_millis(200));
        let (order, _) = issue(&california, "sfo.test")?;
        Ok(shares(&world, &[order.url])? == [0, 1, 0])
    })?;
    let orders = [issue_some(&amsterdam, "ams.test")?, issue_some(&california, "sfo.test")?].concat();
    assert_eq!(shares(&world, &orders)?[2], 0, "the last resort is left alone");
    let fed = issue_some(&elsewhere, "elsewhere.test")?;
    assert_eq!(shares(&world, &fed)?, [0, 0, EACH]);
    // Whoever asked it, the root is the same.
    let chain = issue(&elsewhere, "elsewhere.test")?.1;
    tests::openssl::verify(&world.stack.report.root, &chain, "elsewhere.test")?;
    let first = &world.stack.report.directory;
    let base = first.strip_suffix("/directory").context("a directory")?;
    let signed = journal::signed_by(&world.stack.report.state, 3)?;
    let ours = signed.iter().filter(|signed| signed.order.starts_with(base)).count();
    ensure!(ours > 0 && ours < signed.len(), "{ours} of {}", signed.len());
    Ok(())
}
