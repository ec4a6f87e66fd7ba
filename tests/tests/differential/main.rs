//! The same requests to Colophon and to Pebble. Their answers are reduced to what a client acts on; where they differ, a table
//! says why (tests/src/differences.rs). A difference that is not in the table fails, and so does one that is no more.
#![cfg(feature = "stack")]

mod accounts;
mod challenges;
mod jws;
mod key_changes;
mod orders;
mod reading;
mod revocations;
mod side;

use std::collections::BTreeMap;

use anyhow::Result;
use tests::differences::DIFFERENCES;

use crate::side::{Side, sides};

/// One thing to ask: its name, and what does it.
pub(crate) type Case = (&'static str, fn(&Side) -> Result<String>);

/// Asks both, and gives what is not as the table has it.
fn compare(cases: &[Case]) -> Result<Vec<String>> {
    let (ours, theirs) = sides();
    let mut unexpected = Vec::new();
    for (name, case) in cases {
        let answers = std::thread::scope(|scope| {
            let ask = |side: &'static Side| move || case(side).unwrap_or_else(|error| format!("error: {error:#}"));
            let asked = [ours, theirs].map(|side| scope.spawn(ask(side)));
            asked.map(|thread| thread.join().expect("a case does not panic"))
        });
        let expected = DIFFERENCES.iter().find(|difference| difference.case == *name);
        let as_told = match expected {
            Some(told) => answers == [told.colophon, told.pebble],
            None => answers[0] == answers[1],
        };
        if !as_told {
            let [colophon, pebble] = answers;
            unexpected.push(format!("{name}\n    Colophon: {colophon}\n    Pebble:   {pebble}"));
        }
    }
    Ok(unexpected)
}

const ALL: [&[Case]; 7] = [
    &accounts::CASES,
    &challenges::CASES,
    &jws::CASES,
    &key_changes::CASES,
    &orders::CASES,
    &reading::CASES,
    &revocations::CASES,
];

#[test]
fn answers_differ_from_pebbles_only_where_the_table_says_so() -> Result<()> {
    let mut unexpected = Vec::new();
    for cases in ALL {
        unexpected.extend(compare(cases)?);
    }
    assert!(unexpected.is_empty(), "{} not in the table:\n{}", unexpected.len(), unexpected.join("\n"));
    Ok(())
}

#[test]
fn every_row_of_the_table_is_of_a_case_and_every_case_has_a_name_of_its_own() {
    let mut names = BTreeMap::new();
    for (name, _) in ALL.into_iter().flatten() {
        assert!(names.insert(*name, ()).is_none(), "{name} comes twice");
    }
    for difference in DIFFERENCES {
        assert!(names.contains_key(difference.case), "there is no case {}", difference.case);
        assert_ne!(difference.colophon, difference.pebble, "{}", difference.case);
    }
}
