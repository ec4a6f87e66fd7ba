//! The platform's own cryptography, which the edge asks first, answers as the module's code does. Needs no stack, but the platform.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod platform;
mod question;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use question::{Case, Question};
use tests::tree;

/// What became of the vectors of one algorithm.
#[derive(Debug, Default)]
struct Tally {
    /// Those that the edge asks the platform about; it refuses the others itself.
    asked: usize,
    /// Those that it does not ask about.
    refused: usize,
    /// Of those asked, those whose key the platform took.
    taken: usize,
    /// Of these, those in which it told.
    told: usize,
    /// Of these, those that both accept.
    accepted: usize,
    /// Why it did not tell.
    errors: BTreeSet<String>,
}

/// What came of asking.
#[derive(Debug, Default)]
struct Comparison {
    /// By algorithm.
    tallies: BTreeMap<String, Tally>,
    /// Vectors that the platform alone accepts.
    platform_alone: Vec<String>,
    /// Vectors that our code alone accepts.
    our_code_alone: Vec<String>,
}

impl Comparison {
    fn of(name: &str, cases: &[Case]) -> Result<Self> {
        let questions: Vec<Question> = cases.iter().filter_map(|case| case.question.clone()).collect();
        let mut answers = platform::answers(name, &questions)?.into_iter();
        let mut comparison = Self::default();
        for case in cases {
            let tally = comparison.tallies.entry(case.set.clone()).or_default();
            // Where the edge asks nobody it refuses.
            let theirs = if case.question.is_some() {
                let answer = answers.next().context("an answer to each question")?;
                tally.asked += 1;
                tally.taken += usize::from(answer.taken);
                tally.told += usize::from(answer.valid.is_some());
                tally.errors.extend(answer.error);
                answer.valid
            } else {
                tally.refused += 1;
                Some(false)
            };
            match (theirs, case.ours) {
                (Some(true), true) => tally.accepted += 1,
                (Some(true), false) => comparison.platform_alone.push(case.name.clone()),
                (Some(false), true) => comparison.our_code_alone.push(case.name.clone()),
                (Some(false), false) | (None, _) => {}
            }
        }
        comparison.print();
        Ok(comparison)
    }

    fn print(&self) {
        for (set, Tally { asked, refused, taken, told, accepted, errors }) in &self.tallies {
            println!(
                "{set}: asked {asked}, key taken {taken}, told {told}, both accept {accepted}; refused unasked {refused}"
            );
            for error in errors {
                println!("{set}: cannot tell: {error}");
            }
        }
    }

    /// Both say the same wherever the platform tells; it took every key and told in nearly all, good signatures and bad ones.
    fn assert_same(&self, sets: usize) {
        assert!(self.platform_alone.is_empty(), "accepted by the platform alone:\n{}", self.platform_alone.join("\n"));
        assert!(self.our_code_alone.is_empty(), "accepted by our code alone:\n{}", self.our_code_alone.join("\n"));
        assert_eq!(self.tallies.len(), sets);
        for (set, tally) in &self.tallies {
            assert!(tally.taken == tally.asked && tally.asked > 130, "{set}: {tally:?}");
            assert!(tally.accepted > 0 && tally.accepted < tally.told, "{set}: {tally:?}");
            // For an Ed25519 signature of another length the platform gives no answer but an exception.
            let lengths = tally.errors.iter().all(|error| error.contains("Invalid Ed25519 signature length"));
            assert!(tally.told == tally.asked || (set == "EdDSA" && lengths), "{set}: {tally:?}");
            assert!(tally.told * 100 >= tally.asked * 90, "{set}: {tally:?}");
        }
    }
}

#[test]
fn signatures_of_account_keys_get_the_same_answers() -> Result<()> {
    Comparison::of("vectors-account-keys", &question::account_keys()?)?.assert_same(4);
    Ok(())
}

#[test]
fn signatures_over_der_get_the_same_answers() -> Result<()> {
    Comparison::of("vectors-certified-keys", &question::certified_keys()?)?.assert_same(8);
    Ok(())
}

#[test]
fn the_corners_of_ed25519_get_the_same_answers() -> Result<()> {
    let cases = question::ed25519_corners()?;
    let comparison = Comparison::of("vectors-ed25519", &cases)?;
    assert!(comparison.platform_alone.is_empty(), "{:?}", comparison.platform_alone);
    assert!(comparison.our_code_alone.is_empty(), "{:?}", comparison.our_code_alone);
    assert_eq!(comparison.tallies["EdDSA"].told, cases.len());
    Ok(())
}

/// Each object of webcrypto.rs that names an algorithm is in the worker, member by member.
#[test]
fn the_worker_asks_by_the_names_that_the_edge_asks_by() {
    let worker = include_str!("platform.mjs");
    let edge = tree::read("edge/src/workers/webcrypto.rs");
    let mut checked = 0;
    for line in edge.lines().filter(|line| line.contains("=> object(&[(")) {
        let members = line.split("[(").nth(1).and_then(|rest| rest.split(")]").next()).unwrap_or_default();
        let members: Vec<String> =
            members.split("), (").map(|member| member.trim_start_matches('"').replacen("\", ", ": ", 1)).collect();
        let object = format!("{{ {} }}", members.join(", "));
        assert!(worker.contains(&object), "{object} is not in platform.mjs");
        checked += 1;
    }
    assert_eq!(checked, worker.matches("name: ").count());
    assert_eq!(checked, 7);
}
