//! What is signed before anybody asks for it, and what caches are told.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use shared::ocsp::CertStatus;
use tests::journal;

use crate::{
    revocation::{is_on_the_crl, is_revoked, within},
    world::{PRESIGN, Subject, World, one_at_a_time, world},
};

const SOON: Duration = Duration::from_secs(20);

/// OCSP responses about this one that were signed so far.
fn signed(world: &World, subject: &Subject) -> Result<usize> {
    journal::responses(&world.stack.report.state, &subject.serial.to_string())
}

#[test]
fn a_revoked_certificate_that_nobody_has_asked_about_has_its_response_before_anybody_asks() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let (subject, other) = (world.own()?, world.own()?);
    world.revoke(&subject)?;
    within(SOON, "no response is signed", || Ok(signed(world, &subject)? > 0))?;
    let asked = world.ask(&subject)?;
    ensure!(asked.hops()? == 1, "{asked:?}");
    ensure!(is_revoked(world, &subject)?, "{asked:?}");
    ensure!((signed(world, &subject)?, signed(world, &other)?) == (1, 0), "a signature that nobody needs");
    Ok(())
}

/// The API refuses at first.
#[test]
fn after_a_revocation_caches_are_purged_by_tag_until_the_platform_says_that_it_is_done() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let subject = world.own()?;
    ensure!(world.status(&subject)? == Some(CertStatus::Good), "a new certificate is good");
    let tag = format!("ocsp-{}", subject.serial);
    let (answer, crl) = (world.ask(&subject)?, world.client.get(&subject.crl)?);
    ensure!(answer.header("cache-tag") == Some(tag.as_str()), "{answer:?}");
    let path = subject.crl.rsplit_once("/crl/").context("no CRL")?.1.trim_end_matches(".crl").replace('/', "-");
    let crl_tag = format!("crl-{path}");
    ensure!(crl.header("cache-tag") == Some(crl_tag.as_str()), "{crl_tag}: {crl:?}");
    ensure!(world.purges(&tag).is_empty(), "nothing is revoked");

    world.answer_purges(false);
    world.revoke(&subject)?;
    within(SOON, "the purge is not tried again", || Ok(world.purges(&tag).len() >= 2))?;
    world.answer_purges(true);
    let crl_is_purged = || Ok(is_on_the_crl(world, &subject)? && !world.purges(&crl_tag).is_empty());
    within(Duration::from_secs(60), "the CRL is not purged", crl_is_purged)?;
    // Two more rounds may be under way; after that nothing comes.
    let settled = || {
        let before = (world.purges(&tag).len(), world.purges(&crl_tag).len());
        thread::sleep(Duration::from_secs(8));
        Ok(before == (world.purges(&tag).len(), world.purges(&crl_tag).len()))
    };
    within(Duration::from_secs(60), "purges do not end", settled)?;

    let token = fs::read_to_string(world.stack.report.state.join("secrets/cache-purge"))?;
    let request = world.purges(&tag).pop().context("no purge")?.to_lowercase();
    ensure!(request.contains(&format!("authorization: bearer {token}")), "another token, or none");
    let log = world.stack.log("edge")?;
    ensure!(log.contains("caches are not purged: status 429") && !log.contains(&token), "the log");
    Ok(())
}

/// A certificate that ends soon has a response of a minute.
#[test]
fn a_popular_response_is_renewed_without_anybody_asking_and_an_unpopular_one_is_not() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let (popular, unpopular) = (world.ending(58)?, world.ending(58)?);
    for (subject, questions) in [(&popular, PRESIGN), (&unpopular, PRESIGN - 1)] {
        // The first one has it signed; the isolate answers those that come within a second.
        for _ in 0..=questions {
            ensure!(world.status(subject)? == Some(CertStatus::Good), "a new certificate is good");
            thread::sleep(Duration::from_millis(2100));
        }
        ensure!(signed(world, subject)? == 1, "one signature is enough");
    }
    within(Duration::from_secs(45), "the popular one is not renewed", || Ok(signed(world, &popular)? == 2))?;
    thread::sleep(Duration::from_secs(5));
    ensure!((signed(world, &popular)?, signed(world, &unpopular)?) == (2, 1), "renewed too often, or for nobody");
    Ok(())
}

#[test]
fn a_part_of_a_crl_that_no_signer_has_wakes_no_object() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let subject = world.own()?;
    let (issuer, _) = subject.crl.rsplit_once('/').context("no CRL")?;
    for part in ["1-of-128", "128-of-128", "1-of-7"] {
        let answer = world.client.get(&format!("{issuer}/{part}.crl"))?.expect(404)?;
        ensure!(answer.hops()? == 0, "{part}: {answer:?}");
    }
    Ok(())
}
