//! All orders at once: the tokens are busy until the last one, every chain is good with the root alone, and renewals that arrive
//! while they are hardly notice. (While the orders are taken in, two processors are what everybody waits for.)

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::openssl;

use crate::{
    crowd::{Served, finalize_all},
    figures::{Shares, Waits, tenths},
    watch::{Signature, Watch},
    world::{Renewable, SIGNERS, Size, TOKENS, World, chains, in_parallel, leaves, one_at_a_time, one_by_one, tickets},
};

const RENEWALS: usize = 20;
/// At full size: of what the tokens alone could do, and of an idle system's slowest but one.
const FULL: (f64, f64) = (0.95, 2.0);

#[test]
fn all_orders_at_once_take_what_the_tokens_take_and_renewals_twice_an_idle_system_at_most() -> Result<()> {
    let _turn = one_at_a_time();
    let size = Size::or(144, 12)?;
    let world = World::start("full-load", size, |options| options)?;
    let members = world.members("account", size.accounts)?;
    let renewing = world.members("renewing", RENEWALS)?;

    let firsts = one_by_one(&tickets(&renewing, 1)?, Duration::ZERO)?;
    let mut all = leaves(&firsts, &chains(&firsts)?)?;
    let again = |served: &[Served<'_>]| -> Result<Vec<_>> {
        let chains = chains(served)?;
        let renewables: Vec<_> =
            renewing.iter().zip(&chains).map(|(member, chain)| Renewable::new(member, chain)).collect::<Result<_>>()?;
        in_parallel(&renewables, Renewable::ticket)
    };
    let idle = one_by_one(&again(&firsts)?, size.latency * 2)?;
    all.extend(leaves(&idle, &chains(&idle)?)?);
    let renewals = again(&idle)?;
    let idle = Waits::of(idle.iter().map(Served::wait));

    let orders = tickets(&members, size.orders / size.accounts)?;
    let expected = size.ideal(orders.len() + RENEWALS);
    let patience = expected * 2 + Duration::from_secs(60);
    let (watch, shares) = (Watch::start(&world.stack.report.state, SIGNERS)?, Shares::of(&world)?);
    let (served, renewed) = thread::scope(|scope| {
        let crowd = scope.spawn(|| finalize_all(&orders, patience));
        thread::sleep(expected.mul_f64(0.35));
        let renewed = one_by_one(&renewals, expected.mul_f64(0.55 / RENEWALS as f64));
        (crowd.join().expect("no thread panics"), renewed)
    });
    let (served, renewed) = (served?, renewed?);
    let shares = shares.text()?;
    let signatures = watch.signatures();
    drop(watch);
    let loaded = Waits::of(renewed.iter().map(Served::wait));

    // The first signature was begun a token's time before it was there.
    let first = signatures.first().context("a signature")?.at - size.latency;
    let last = served.iter().chain(&renewed).map(|served| served.ended).max().context("an order")?;
    let signed = signatures.last().context("a signature")?.at - first;
    let (took, done) = (last - first, served.len() + renewed.len());
    let rate = expected.as_secs_f64() / took.as_secs_f64();
    let taken = served.iter().map(|served| served.answered).max().context("an order")?.saturating_duration_since(first);
    let requests: u32 = served.iter().map(|served| served.requests).sum();
    eprintln!(
        "{done} certificates in {took:.1?}, {:.3} of the tokens' {} a second; all finalized after {taken:.1?}, all signed after {signed:.1?}",
        rate,
        (SIGNERS * TOKENS) as f64 / size.latency.as_secs_f64()
    );
    eprintln!("signatures by signer and tenth: {}", tenths(&signatures));
    eprintln!("processors: {shares}; {:.1} requests an order", f64::from(requests) / served.len() as f64);
    eprintln!("renewals, idle: {idle}");
    eprintln!(
        "renewals, under load: {loaded}, by {} requests",
        renewed.iter().map(|served| served.requests).sum::<u32>()
    );
    eprintln!("{}", courses(&renewed, &signatures, first));

    let (served_chains, renewed_chains) = (chains(&served)?, chains(&renewed)?);
    chains_are_good(&world, &served_chains)?;
    all.extend(leaves(&served, &served_chains)?);
    all.extend(leaves(&renewed, &renewed_chains)?);
    assert_eq!(world.none_lost_none_doubled(&all)?, 0);

    let by_signer: Vec<_> = (1..=SIGNERS).map(|number| world.signed_by(number)).collect::<Result<_>>()?;
    let fair = all.len() / SIGNERS;
    ensure!(by_signer.iter().all(|share| (fair / 2..=fair * 2).contains(share)), "by signer {by_signer:?}");
    // A small run is mostly its beginning, and its machine is shared: its results and counts are judged, not its times.
    if size.is_full() {
        let (least, most) = FULL;
        ensure!(rate >= least, "{rate:.3} of the tokens' rate; processors: {shares}");
        let slower = loaded.slow().as_secs_f64() / idle.slow().as_secs_f64();
        ensure!(slower <= most, "renewals wait {slower:.2} times as long as in an idle system");
    }
    Ok(())
}

/// For each of these, in milliseconds: when it began; how long until its intent was on the disk of which signer, until its certificate was
/// there, and until its client knew; and by how many requests.
fn courses(served: &[Served<'_>], signatures: &[Signature], first: Instant) -> String {
    let course = |served: &Served<'_>| {
        let signature = signatures.iter().find(|signature| signature.order == served.order)?;
        let moments = [served.began, signature.intended, signature.at, served.ended];
        let steps = moments.windows(2).map(|pair| (pair[1].saturating_duration_since(pair[0])).as_millis().to_string());
        let (began, steps) =
            (served.began.saturating_duration_since(first).as_millis(), steps.collect::<Vec<_>>().join("+"));
        Some(format!("{began}: {steps} ({}, {})", signature.signer, served.requests))
    };
    served.iter().filter_map(course).collect::<Vec<_>>().join("; ")
}

/// One URL, six issuers, one root.
fn chains_are_good(world: &World, served: &[String]) -> Result<()> {
    let mut by_issuer: BTreeMap<&str, &String> = BTreeMap::new();
    for chain in served {
        let issuer = chain.split_inclusive("-----END CERTIFICATE-----").nth(1).context("an issuer")?;
        by_issuer.entry(issuer).or_insert(chain);
    }
    ensure!(by_issuer.len() == SIGNERS * TOKENS, "{} issuers", by_issuer.len());
    for chain in by_issuer.values() {
        let names = openssl::x509(chain, ["-ext", "subjectAltName"])?;
        let name = names.split("DNS:").nth(1).context("a name")?.trim();
        openssl::verify(&world.stack.report.root, chain, name)?;
    }
    Ok(())
}
