//! Journals of a clock that was wrong.

use std::fs;

use sha2::{Digest, Sha256};
use shared::{base64url, signing::Refusal};

use crate::{
    client::{Edge, simple},
    site::Site,
};

#[test]
fn records_of_the_future_are_reported_at_start_and_cost_one_window_of_a_budget() {
    let site = Site::new(&["a1"]);
    let config = site.path("signer.toml");
    let text = fs::read_to_string(&config).unwrap();
    let budget = "profiles = [\"server\"]\nbudget = { per_day = 1 }\n";
    fs::write(&config, text.replacen("profiles = [\"server\"]\n", budget, 1)).unwrap();
    let mut daemon = site.serve();
    Edge::new(&site).issued(&simple(1));
    daemon.kill();
    // As if the clock had been in the year 2100 when they were written.
    let path = site.path("state/journal/00000000.jsonl");
    let mut previous = [0; 32];
    let mut ahead = String::new();
    for mut record in site.journal() {
        record["at"] = "2100-01-01T00:00:00Z".into();
        record["previous"] = base64url::encode(&previous).into();
        let line = record.to_string();
        previous = Sha256::digest(&line).into();
        ahead.push_str(&line);
        ahead.push('\n');
    }
    fs::write(&path, ahead).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let mut daemon = site.serve();
    let log = daemon.log();
    assert!(log.contains("the journal has records of the future") && log.contains("2100-01-01T00:00:00Z"), "{log}");
    // The refusal is a record of today: from then on the window is counted.
    assert_eq!(Edge::new(&site).refusal(&simple(2)), Refusal::OverBudget);
    daemon.kill();
    let last = site.journal().pop().unwrap();
    assert!(last["event"].get("refused").is_some(), "{last}");
    // As if that had been two days ago.
    let text = fs::read_to_string(&path).unwrap();
    let at = last["at"].as_str().unwrap();
    let line = text.lines().last().unwrap();
    let passed = line.replace(at, "2020-01-01T00:00:00Z");
    fs::write(&path, text.replace(line, &passed)).unwrap();
    let _ = fs::remove_file(site.path("state/checkpoint"));
    let daemon = site.serve();
    assert!(daemon.log().contains("the journal has records of the future"));
    Edge::new(&site).issued(&simple(2));
    site.signer_ok("journal verify --config signer.toml");
}
