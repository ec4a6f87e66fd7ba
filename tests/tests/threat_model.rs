//! The threat model names a test for each bound. Each of these tests is there.

use std::collections::BTreeSet;

use tests::tree::{read, sources};

/// Shorter names, or of fewer words, are members and settings.
const WORDS: usize = 5;

#[test]
fn every_test_that_the_threat_model_names_is_in_the_sources() {
    let text = read("docs/threat-model.md");
    let is_test = |name: &&str| {
        name.split('_').count() >= WORDS && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let named: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() >= 50, "{} tests are named", named.len());
    let mut there = BTreeSet::new();
    for file in sources("").into_iter().filter(|file| file.path.ends_with(".rs")) {
        for line in file.text.lines() {
            let declared = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("async ");
            let name = declared.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            there.extend(name.and_then(|name| named.get(name)).copied());
        }
    }
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "the threat model names tests that are not there: {missing:?}");
}
