//! What RFC 8555 demands of a server, and which test checks it: read from lines over the tests, anywhere in the tree.
//!
//! ```text
//! /// RFC 8555 §6.5 MUST: a nonce that was in a request is worth nothing any more.
//! #[test]
//! ```

mod untested;

use std::{collections::BTreeMap, fmt::Write as _};

use crate::tree::{Source, sources};

/// Where tests are.
const FOLDERS: [&str; 4] = ["edge", "shared", "signer", "tests/tests"];
/// The tests that are there for these demands alone.
const CONFORMANCE: &str = "tests/tests/conformance/";
/// How strongly something is demanded, in the words of the RFC; `says` for what it states without one of them.
const LEVELS: [&str; 7] = ["MUST", "MUST NOT", "REQUIRED", "SHOULD", "SHOULD NOT", "RECOMMENDED", "says"];

/// The sections, by their numbers.
const TITLES: [(&str, &str); 46] = [
    ("5", "Character encoding"),
    ("6.1", "HTTPS requests"),
    ("6.2", "Request authentication"),
    ("6.3", "GET and POST-as-GET"),
    ("6.4", "Request URL integrity"),
    ("6.4.1", "The header parameter url"),
    ("6.5", "Replay protection"),
    ("6.5.1", "Replay-Nonce"),
    ("6.5.2", "The header parameter nonce"),
    ("6.6", "Rate limits"),
    ("6.7", "Errors"),
    ("6.7.1", "Subproblems"),
    ("7.1", "Resources"),
    ("7.1.1", "Directory"),
    ("7.1.2", "Account objects"),
    ("7.1.2.1", "Orders list"),
    ("7.1.3", "Order objects"),
    ("7.1.4", "Authorization objects"),
    ("7.1.6", "Status changes"),
    ("7.2", "Getting a nonce"),
    ("7.3", "Account management"),
    ("7.3.1", "Finding an account URL given a key"),
    ("7.3.2", "Account update"),
    ("7.3.3", "Changes of terms of service"),
    ("7.3.4", "External account binding"),
    ("7.3.5", "Account key rollover"),
    ("7.3.6", "Account deactivation"),
    ("7.4", "Applying for certificate issuance"),
    ("7.4.1", "Pre-authorization"),
    ("7.4.2", "Downloading the certificate"),
    ("7.5", "Identifier authorization"),
    ("7.5.1", "Responding to challenges"),
    ("7.5.2", "Deactivating an authorization"),
    ("7.6", "Certificate revocation"),
    ("8", "Identifier validation challenges"),
    ("8.1", "Key authorizations"),
    ("8.2", "Retrying challenges"),
    ("8.3", "HTTP challenge"),
    ("8.4", "DNS challenge"),
    ("9.1", "application/pem-certificate-chain"),
    ("10.2", "Integrity of authorizations"),
    ("10.5", "CA policy considerations"),
    ("11.1", "Key selection"),
    ("11.2", "DNS security"),
    ("11.3", "Token entropy"),
    ("11.4", "Malformed certificate chains"),
];

/// A demand that no test checks.
struct Untested {
    section: &'static str,
    level: &'static str,
    text: &'static str,
    /// Why, or where it is met.
    why: &'static str,
}

/// A demand as a line over a test says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    /// For the order of sections.
    number: Vec<u32>,
    section: String,
    level: String,
    text: String,
}

/// docs/rfc8555.md.
///
/// # Panics
/// When a line over a test is not as it must be.
#[must_use]
pub fn page() -> String {
    let mut met: BTreeMap<Demand, Vec<String>> = BTreeMap::new();
    for file in FOLDERS.iter().flat_map(|folder| sources(folder)).filter(|file| file.path.ends_with(".rs")) {
        for (demand, test) in demands(&file) {
            met.entry(demand).or_default().push(test);
        }
    }
    let tested = met.len();
    for untested in &untested::UNTESTED {
        let demand = Demand::new(untested.section, untested.level, untested.text);
        let double = met.insert(demand, vec![untested.why.to_owned()]);
        assert!(double.is_none(), "tested after all: {}", untested.text);
    }
    render(&met, tested)
}

fn render(met: &BTreeMap<Demand, Vec<String>>, tested: usize) -> String {
    let mut page = format!(
        "# RFC 8555, demand by demand

What RFC 8555 demands of a server, in our words, and the test that fails when it is not met. Made by `cargo xtask docs` from
the lines over the tests; do not edit. `says` stands for what the RFC states without a key word and clients rely on. Demands
on clients are not here. Where Colophon does something else, [divergences](divergences.md) tell why.

{} demands: {tested} checked by tests, {} not, with the reason.
",
        met.len(),
        met.len() - tested
    );
    let mut section = "";
    for (demand, tests) in met {
        if demand.section != section {
            section = &demand.section;
            let title = TITLES.iter().rev().find(|(number, _)| {
                let rest = section.strip_prefix(number);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            let title = title.unwrap_or_else(|| panic!("there is no section {section}")).1;
            let _ = write!(page, "\n## §{section} {title}\n\n| | demand | test |\n|---|---|---|\n");
        }
        let _ = writeln!(page, "| {} | {} | {} |", demand.level, demand.text, tests.join("<br>"));
    }
    page
}

impl Demand {
    fn new(section: &str, level: &str, text: &str) -> Self {
        assert!(LEVELS.contains(&level), "{level} is none of {LEVELS:?}: {text}");
        assert!(!text.contains('|') && text.ends_with('.'), "not a sentence for a table: {text}");
        let number = |part: &str| part.parse().unwrap_or_else(|_| panic!("§{section} is no section"));
        Self {
            number: section.split('.').map(number).collect(),
            section: section.to_owned(),
            level: level.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Reads a line; nothing when it says something else.
    fn parse(line: &str) -> Option<Self> {
        let (section, rest) = line.trim().strip_prefix("/// RFC 8555 §")?.split_once(' ')?;
        let (level, text) = rest.split_once(": ")?;
        LEVELS.contains(&level).then(|| Self::new(section, level, text))
    }
}

/// The demands over the tests of a file, each with the test.
fn demands(file: &Source) -> Vec<(Demand, String)> {
    let place = file.path.trim_end_matches(".rs").replacen("tests/tests/", "", 1);
    let (mut found, mut pending, mut is_test) = (Vec::new(), Vec::new(), false);
    for line in file.text.lines() {
        let line = line.trim();
        is_test |= line == "#[test]";
        pending.extend(Demand::parse(line));
        let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) else { continue };
        assert!(is_test || pending.is_empty(), "{}: {name} is no test", file.path);
        let unbidden = is_test && pending.is_empty() && file.path.starts_with(CONFORMANCE);
        assert!(!unbidden, "{}: {name} does not say what it is for", file.path);
        found.extend(pending.drain(..).map(|demand| (demand, format!("{place}: `{name}`"))));
        is_test = false;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_tests_are_read_and_others_are_not() {
        let text = concat!(
            "/// RFC 8555 §6.5 MU",
            "ST: a thing.\n/// RFC 8555 §6.5 sa",
            "ys: another.\n#[test]\nfn a_test_of_it() {}\n/// RFC 8555 §6.5.\nfn helper() {}\n"
        );
        let file = Source { path: "tests/tests/conformance/x.rs".to_owned(), text: text.to_owned() };
        let found = demands(&file);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, Demand::new("6.5", "MUST", "a thing."));
        assert_eq!(found[1].1, "conformance/x: `a_test_of_it`");
    }

    #[test]
    fn sections_are_in_the_order_of_their_numbers() {
        let demand = |section| Demand::new(section, "MUST", "x.");
        assert!(demand("9.1") < demand("10.2") && demand("7.1.2") < demand("7.1.2.1"));
    }
}
