//! The journal of a daemon that has worked, changed by somebody.

use std::fs;

use crate::{
    client::{Edge, simple},
    site::Site,
};

#[test]
fn a_changed_journal_is_found_by_verify_and_stops_the_daemon() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    for number in 0..3 {
        edge.issued(&simple(number));
    }
    assert!(daemon.terminate().success());
    assert!(site.signer_ok("journal verify --config signer.toml").contains("6 records are good; 3 intents, 3 signed"));
    let path = site.path("state/journal/00000000.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    assert_eq!(site.signer_ok("journal export --config signer.toml"), good);

    // One name in the intent of the second order.
    fs::write(&path, good.replace(r#""value":"host-1.test""#, r#""value":"host-9.test""#)).unwrap();
    assert!(site.signer_fails("journal verify --config signer.toml").contains("record 3 is bad"));
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("record 3 is bad"));

    // A certificate that nobody decided on, in a chain that is whole.
    fs::write(&path, good.lines().take(5).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    site.signer_ok("journal verify --config signer.toml");
    let _daemon = site.serve();
}

#[test]
fn two_daemons_cannot_share_a_state() {
    let site = Site::new(&["a1"]);
    let _first = site.serve();
    assert!(site.signer_fails("serve --config signer.toml").contains("another signer"));
}
