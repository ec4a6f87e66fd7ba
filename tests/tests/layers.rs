//! The order of files and folders: imports that run one way, small folders, names with one meaning. Each list holds the exceptions
//! that are left and may only shrink: a test fails when one is added, and when one that is gone is still listed.

use std::collections::{BTreeMap, BTreeSet};

use tests::{
    modules::{Crate, files_by_folder},
    tree::sources,
};

const CRATES: [(&str, &str); 4] =
    [("edge", "lib.rs"), ("shared", "lib.rs"), ("signer", "lib.rs"), ("xtask", "main.rs")];

/// The most files of a folder.
const MOST_FILES: usize = 12;
/// Names that several types of one crate may have: each module's own.
const COMMON: [&str; 2] = ["Config", "Error"];

/// The sizes of the circles of files that import each other.
const CIRCLES: [(&str, &[usize]); 4] =
    [("edge", &[46, 18, 3, 2]), ("shared", &[12, 2, 2]), ("signer", &[71, 3, 2, 2, 2, 2]), ("xtask", &[7])];
/// Folders with more than [`MOST_FILES`] files.
const LARGE_FOLDERS: [(&str, usize); 11] = [
    ("edge/src/acme", 57),
    ("edge/src/status", 21),
    ("edge/src/workers", 43),
    ("shared/src", 31),
    ("signer/src", 38),
    ("signer/src/ceremony", 14),
    ("signer/src/issuance", 13),
    ("signer/src/status", 14),
    ("signer/src/token", 18),
    ("xtask/src", 19),
    ("xtask/src/up", 19),
];
/// Files `mod.rs` with logic in them.
const FOLDERS_WITH_LOGIC: [&str; 9] = [
    "edge/src/acme/pool/mod.rs",
    "signer/src/ceremony/mod.rs",
    "signer/src/ceremony/attest/mod.rs",
    "signer/src/ceremony/root/mod.rs",
    "signer/src/cli/mod.rs",
    "signer/src/issuance/mod.rs",
    "signer/src/journal/mod.rs",
    "signer/src/status/mod.rs",
    "xtask/src/up/mod.rs",
];
/// Public types of one name: how many there are.
const SHARED_NAMES: [(&str, &str, usize); 27] = [
    ("edge", "Answer", 3),
    ("edge", "Ask", 2),
    ("edge", "Due", 2),
    ("edge", "Incarnation", 2),
    ("edge", "Look", 2),
    ("edge", "Meter", 2),
    ("edge", "Outcome", 4),
    ("edge", "Perspective", 2),
    ("edge", "Question", 5),
    ("edge", "Record", 2),
    ("edge", "Seen", 2),
    ("edge", "Told", 2),
    ("edge", "Window", 2),
    ("shared", "Revocation", 2),
    ("shared", "Unverified", 2),
    ("signer", "Claim", 2),
    ("signer", "Entry", 2),
    ("signer", "Evidence", 2),
    ("signer", "Granted", 2),
    ("signer", "Journal", 2),
    ("signer", "Others", 2),
    ("signer", "Outcome", 2),
    ("signer", "Place", 2),
    ("signer", "Policy", 2),
    ("signer", "Present", 3),
    ("signer", "Running", 2),
    ("signer", "Signed", 2),
];
/// Inherent `impl` blocks apart from their type, by crate.
const IMPLS_APART: [(&str, usize); 4] = [("edge", 9), ("shared", 1), ("signer", 12), ("xtask", 0)];
/// Words that comments avoid, and how often all crates have them.
const WORDS: [(&str, usize); 8] = [
    ("nobody", 142),
    ("whoever", 33),
    ("somebody", 31),
    ("whom", 8),
    ("so long", 38),
    ("so many", 76),
    ("for ever", 42),
    ("is told", 37),
];
/// Lines of more than 120 columns, in all crates.
const LONG_LINES: usize = 720;

fn crates() -> impl Iterator<Item = (&'static str, Crate)> {
    CRATES.into_iter().map(|(member, main)| (member, Crate::read(member, main)))
}

#[test]
fn no_file_imports_itself_through_others() {
    for ((member, read), (_, known)) in crates().zip(CIRCLES) {
        let circles = read.circles();
        let sizes: Vec<_> = circles.iter().map(BTreeSet::len).collect();
        assert_eq!(sizes, known, "{member}: {circles:#?}");
    }
}

#[test]
fn folders_are_small_and_hold_no_logic_of_their_own() {
    let all: BTreeMap<_, _> = CRATES.iter().flat_map(|(member, _)| files_by_folder(&format!("{member}/src"))).collect();
    let large: Vec<_> = all.iter().filter(|(_, files)| **files > MOST_FILES).map(|(f, n)| (f.as_str(), *n)).collect();
    assert_eq!(large, LARGE_FOLDERS, "folders with more than {MOST_FILES} files");
    let read: Vec<_> = crates().map(|(_, read)| read).collect();
    let logic: Vec<_> = read.iter().flat_map(Crate::folders_with_logic).collect();
    assert_eq!(logic, FOLDERS_WITH_LOGIC, "files mod.rs with logic");
}

#[test]
fn a_public_name_means_one_thing() {
    let mut found = Vec::new();
    for (member, read) in crates() {
        let mut meanings: BTreeMap<String, usize> = BTreeMap::new();
        read.public_types().into_iter().for_each(|public| *meanings.entry(public.name).or_default() += 1);
        meanings.retain(|name, number| *number > 1 && !COMMON.contains(&name.as_str()));
        found.extend(meanings.into_iter().map(|(name, number)| (member, name, number)));
    }
    let found: Vec<_> = found.iter().map(|(member, name, number)| (*member, name.as_str(), *number)).collect();
    assert_eq!(found, SHARED_NAMES, "crate, name, meanings");
}

#[test]
fn impl_blocks_are_with_their_type() {
    for ((member, read), (_, known)) in crates().zip(IMPLS_APART) {
        let apart = read.impls_apart();
        assert_eq!(apart.len(), known, "{member}: {apart:#?}");
    }
}

#[test]
fn comments_are_plain() {
    let mut counts: BTreeMap<&str, usize> = WORDS.iter().map(|(word, _)| (*word, 0)).collect();
    let mut long = 0;
    for (member, _) in CRATES {
        for file in sources(&format!("{member}/src")).iter().filter(|file| file.path.ends_with(".rs")) {
            long += file.text.lines().filter(|line| line.chars().count() > 120).count();
            let comments = file.text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
            let comments = comments.map(|line| line.trim_start_matches(['/', '!'])).collect::<String>().to_lowercase();
            counts.iter_mut().for_each(|(word, count)| *count += comments.matches(word).count());
        }
    }
    let known: BTreeMap<_, _> = WORDS.into_iter().collect();
    assert_eq!((counts, long), (known, LONG_LINES), "words in comments, and lines of more than 120 columns");
}
