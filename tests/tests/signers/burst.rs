//! Many orders at once: all signers share them, every chain is good with the root alone.

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::openssl;

use crate::world::{LATENCY_MS, SIGNERS, TOKENS, World, finalize, one_at_a_time, ready};

/// `COLOPHON_BURST=2000x500`: so many orders of so many accounts, in place of the few that a small machine does in seconds.
const SIZE: &str = "COLOPHON_BURST";
const USUAL: (usize, usize) = (96, 8);

fn size() -> Result<(usize, usize)> {
    let Ok(text) = env::var(SIZE) else { return Ok(USUAL) };
    let (orders, accounts) = text.split_once('x').with_context(|| format!("{SIZE}={text}"))?;
    Ok((orders.parse()?, accounts.parse()?))
}

#[test]
fn a_burst_is_shared_by_all_signers_and_every_chain_is_good_with_the_root_alone() -> Result<()> {
    let _turn = one_at_a_time();
    let (count, accounts) = size()?;
    let world = World::start("burst", &[])?;
    let accounts = world.accounts(accounts)?;
    let each = count / accounts.len();
    let started = Instant::now();
    let served = thread::scope(|scope| {
        let all = |(account, name): &(_, String)| -> Result<Vec<(String, Vec<u8>, String)>> {
            let orders = (0..each).map(|_| ready(account, name)).collect::<Result<Vec<_>>>()?;
            for order in &orders {
                let said = finalize(account, name, order)?;
                ensure!(said["status"] == "processing" || said["status"] == "valid", "{said}");
            }
            let chain = |order: &tests::account::Order| {
                let chain = account.certificate(order)?;
                Ok((order.url.clone(), openssl::der(&chain)?, chain))
            };
            orders.iter().map(chain).collect()
        };
        let threads: Vec<_> = accounts.iter().map(|account| scope.spawn(move || all(account))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Result<Vec<_>>>()
    })?;
    let served: Vec<_> = served.into_iter().flatten().collect();
    let took = started.elapsed();
    let ideal = Duration::from_millis(LATENCY_MS).mul_f64(served.len() as f64 / (SIGNERS * TOKENS) as f64);
    let shares: Vec<_> = (1..=SIGNERS).map(|number| world.signed_by(number)).collect::<Result<_>>()?;
    eprintln!("{} orders in {took:?}; the tokens alone take {ideal:?}; by signer {shares:?}", served.len());
    let fair = served.len() / SIGNERS;
    ensure!(shares.iter().all(|share| (fair / 2..=fair * 2).contains(share)), "by signer {shares:?}");

    // One URL, six issuers.
    let mut chains: BTreeMap<String, &String> = BTreeMap::new();
    for (_, _, chain) in &served {
        chains.entry(openssl::x509(chain, ["-issuer"])?).or_insert(chain);
    }
    assert_eq!(chains.len(), SIGNERS * TOKENS, "{:?}", chains.keys());
    for chain in chains.values() {
        let names = openssl::x509(chain, ["-ext", "subjectAltName"])?;
        let name = names.split("DNS:").nth(1).context("a name")?.trim();
        openssl::verify(&world.stack.report.root, chain, name)?;
    }

    let served: Vec<_> = served.into_iter().map(|(order, leaf, _)| (order, leaf)).collect();
    assert_eq!(world.none_lost_none_doubled(&served)?, 0);
    Ok(())
}
