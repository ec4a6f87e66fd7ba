//! How soon a revocation shows, and that nothing takes it back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use shared::{crl::CrlContent, ocsp::CertStatus};

use crate::world::{Subject, World, in_parallel, one_at_a_time, world};

/// Until the edge's own answer says so.
const OCSP_BOUND: Duration = Duration::from_secs(2);
/// Until the CRL says so.
const CRL_BOUND: Duration = Duration::from_secs(60);

/// Waits until something holds, and gives how long that took.
pub(crate) fn within(bound: Duration, what: &str, holds: impl Fn() -> Result<bool>) -> Result<Duration> {
    let started = Instant::now();
    loop {
        if holds()? {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < bound, "{what} after {bound:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn is_revoked(world: &World, subject: &Subject) -> Result<bool> {
    Ok(matches!(world.status(subject)?, Some(CertStatus::Revoked(..))))
}

pub(crate) fn is_on_the_crl(world: &World, subject: &Subject) -> Result<bool> {
    let reply = world.client.get(&subject.crl)?;
    if reply.status != 200 {
        return Ok(false);
    }
    let crl = CrlContent::verify(&reply.body, &world.issuer)?;
    Ok(crl.entries.iter().any(|entry| entry.serial == subject.serial))
}

/// Asks for the status of these and has new certificates issued until it is told to end.
fn load(world: &World, subjects: &[Subject], end: &AtomicBool) -> Result<()> {
    in_parallel(6, |number| {
        let mut round = number;
        while !end.load(Ordering::Relaxed) {
            match number {
                0 => drop(world.issue(1, 1)?),
                _ => drop(world.status(&subjects[round % subjects.len()])?),
            }
            round += 1;
        }
        Ok(())
    })
    .map(drop)
}

#[test]
fn a_revocation_under_load_shows_within_two_seconds_and_in_the_crl_within_sixty() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let others = world.issue(4, 5)?;
    let subject = world.own()?;
    ensure!(world.status(&subject)? == Some(CertStatus::Good), "a new certificate is good");
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| load(world, &others, &end));
        let measured = (|| {
            thread::sleep(Duration::from_secs(1));
            world.revoke(&subject)?;
            let ocsp = within(OCSP_BOUND, "OCSP does not say so", || is_revoked(world, &subject))?;
            let crl = within(CRL_BOUND, "the CRL does not say so", || is_on_the_crl(world, &subject))?;
            // And it stays so.
            for _ in 0..20 {
                ensure!(is_revoked(world, &subject)?, "a revoked certificate is good again");
                thread::sleep(Duration::from_millis(50));
            }
            Ok((ocsp, crl))
        })();
        end.store(true, Ordering::Relaxed);
        let (ocsp, crl) = measured?;
        eprintln!("OCSP after {} ms, the CRL after {} ms more", ocsp.as_millis(), crl.as_millis());
        running.join().map_err(|_| anyhow::anyhow!("the load has panicked"))?
    })
}

#[test]
fn a_signer_that_is_killed_right_after_a_revocation_still_tells_it_when_it_is_back() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    for _ in 0..2 {
        let subject = world.own()?;
        ensure!(world.status(&subject)? == Some(CertStatus::Good), "a new certificate is good");
        world.revoke(&subject)?;
        world.stack.kill("signer-1")?;
        let told = within(Duration::from_secs(30), "OCSP does not say so", || is_revoked(world, &subject))?;
        let crl = within(CRL_BOUND, "the CRL does not say so", || is_on_the_crl(world, &subject))?;
        eprintln!("OCSP after {} ms, the CRL after {} ms more", told.as_millis(), crl.as_millis());
    }
    Ok(())
}
