//! How long a newcomer waits.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{
    account::Account,
    client::Client,
    openssl,
    responder::Responder,
    stack::{Options, Stack},
};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn from_up_on_a_built_tree_to_the_first_certificate_is_less_than_thirty_seconds() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "first")?.http_port(responder.port);
    let started = Instant::now();
    let stack = Stack::up(options)?;
    let ready = started.elapsed();
    let account = Account::new(&Client::of(&stack.report)?)?;
    let (_, chain) = account.issue(&["first.test"], &responder)?;
    let issued = started.elapsed();
    openssl::verify(&stack.report.root, &chain, "first.test")?;
    eprintln!("ready after {ready:?}, the first certificate after {issued:?}");
    assert!(issued < LIMIT, "{issued:?}");
    Ok(())
}
