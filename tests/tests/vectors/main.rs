//! The platform's own cryptography, which the edge asks first, answers as the module's code does. Needs no stack, but the platform.
#![cfg(feature = "stack")]

mod platform;
mod question;

use std::collections::BTreeMap;

use anyhow::Result;
use question::{Case, Question};
use tests::tree;

/// What became of the vectors of one algorithm.
#[derive(Debug, Default)]
struct Tally {
    /// All of them.
    all: usize,
    /// Of them, those in which the platform told.
    told: usize,
    /// Of these, those that both accept.
    accepted: usize,
    /// Those that the edge refuses without asking.
    unasked: usize,
}

/// Asks the platform; gives how often it told, by algorithm, and the vectors of which it says something else than our code.
fn compare(name: &str, cases: &[Case]) -> Result<(BTreeMap<String, Tally>, Vec<String>)> {
    let questions: Vec<Question> = cases.iter().filter_map(|case| case.question.clone()).collect();
    let mut answers = platform::answers(name, &questions)?.into_iter();
    let (mut tallies, mut differences) = (BTreeMap::<String, Tally>::new(), Vec::new());
    for case in cases {
        let tally = tallies.entry(case.set.clone()).or_default();
        tally.all += 1;
        if case.question.is_none() {
            tally.unasked += 1;
            if case.ours {
                differences.push(format!("{}: accepted by our code, but has no plain form", case.name));
            }
            continue;
        }
        let Some(theirs) = answers.next().flatten() else { continue };
        tally.told += 1;
        tally.accepted += usize::from(theirs && case.ours);
        if theirs != case.ours {
            let laxer = if theirs { "the platform" } else { "our code" };
            differences.push(format!("{}: accepted by {laxer} alone", case.name));
        }
    }
    for (set, Tally { all, told, accepted, unasked }) in &tallies {
        println!("{set}: the platform told in {told} of {all}, both accept {accepted}, not asked {unasked}");
    }
    Ok((tallies, differences))
}

/// The platform told in nearly all, and some of them are good signatures and some are not.
fn nearly_all(tallies: &BTreeMap<String, Tally>, sets: usize) {
    assert_eq!(tallies.len(), sets);
    for (set, Tally { all, told, accepted, unasked }) in tallies {
        assert!(*told * 100 >= (*all - *unasked) * 95, "{set}: it told in {told} of {all}, {unasked} not asked");
        assert!(*all > 100 && *accepted > 0 && accepted < told, "{set}: {accepted} of {told} of {all}");
    }
}

#[test]
fn signatures_of_account_keys_get_the_same_answers() -> Result<()> {
    let (tallies, differences) = compare("vectors-account-keys", &question::account_keys()?)?;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    nearly_all(&tallies, 4);
    Ok(())
}

#[test]
fn signatures_over_der_get_the_same_answers() -> Result<()> {
    let (tallies, differences) = compare("vectors-certified-keys", &question::certified_keys()?)?;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    nearly_all(&tallies, 8);
    Ok(())
}

#[test]
fn corners_of_ed25519_get_the_same_answers() -> Result<()> {
    let cases = question::ed25519_corners()?;
    let (tallies, differences) = compare("vectors-ed25519", &cases)?;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(tallies["EdDSA"].told, cases.len());
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
