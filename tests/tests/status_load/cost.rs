//! What status costs the tokens: one signature for each certificate that anybody asks about, whoever asks how often.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use tests::ocsp;

use crate::world::{Subject, THREADS, World, in_parallel, one_at_a_time, world};

const CERTIFICATES: usize = 1000;
const QUESTIONS: usize = 10_000;

/// Asks all questions at the same time, each until it is answered, and gives the distinct answers of each certificate, and how
/// often one said "try later".
fn ask_all(world: &World, subjects: &[Subject]) -> Result<(Vec<Vec<Vec<u8>>>, usize)> {
    let (next, later) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let answers = in_parallel(THREADS, |_| {
        let mut answers: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        loop {
            let question = next.fetch_add(1, Ordering::Relaxed);
            if question >= QUESTIONS {
                return Ok(answers);
            }
            // Neighbours ask about the same certificate, so that they meet.
            let number = question / (QUESTIONS / CERTIFICATES);
            let mut reply = world.ask(&subjects[number])?;
            while ocsp::read(&reply, &world.issuer)?.is_none() {
                later.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(200));
                reply = world.ask(&subjects[number])?;
            }
            let known = answers.entry(number).or_default();
            if !known.contains(&reply.body) {
                known.push(reply.body);
            }
        }
    })?;
    let mut distinct = vec![Vec::new(); subjects.len()];
    for (number, bodies) in answers.into_iter().flatten() {
        bodies.into_iter().for_each(|body| {
            if !distinct[number].contains(&body) {
                distinct[number].push(body);
            }
        });
    }
    Ok((distinct, later.into_inner()))
}

#[test]
fn ten_thousand_questions_about_a_thousand_certificates_cost_a_thousand_signatures_and_then_none() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let subjects = world.issue(8, CERTIFICATES / 8)?;
    let before = world.responses()?;
    let (cold, later) = ask_all(world, &subjects)?;
    let signed = world.responses()? - before;
    eprintln!("cold: {signed} signatures, {later} times \"try later\"");
    ensure!(signed == CERTIFICATES, "{signed} signatures");
    let (warm, later) = ask_all(world, &subjects)?;
    ensure!(later == 0, "{later} times \"try later\"");
    ensure!(world.responses()? - before == CERTIFICATES, "a signature that was not needed");
    let same = cold.iter().zip(&warm).all(|(cold, warm)| cold.len() == 1 && cold == warm);
    ensure!(same, "a certificate has other bytes here than there");
    Ok(())
}
