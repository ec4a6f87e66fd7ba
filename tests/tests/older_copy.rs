//! A signer that was restored from an older copy has forgotten what it signed: the edge notices, and has nothing signed by it.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};
use tests::{
    account::Account,
    client::Client,
    journal,
    responder::Responder,
    stack::{Options, Stack},
};

/// Longer than a comparison of a journal counts.
const STALE: Duration = Duration::from_secs(21);

#[test]
fn a_signer_that_was_restored_from_an_older_copy_signs_nothing_until_the_newest_is_back() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "older-copy")?.http_port(responder.port);
    let stack = Stack::up(options)?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    account.issue(&["one.test"], &responder)?;
    let signer = stack.report.state.join("signers/1");
    let [state, older, newest] = ["state", "older", "newest"].map(|name| signer.join(name));
    let stack = stack.restart_after(|| copy(&state, &older))?;

    account.issue(&["two.test"], &responder)?;
    thread::sleep(STALE);
    // The edge compares before it asks, and now knows of the certificate before.
    account.issue(&["three.test"], &responder)?;
    let order = account.ready_order(&["four.test"], &responder)?;

    let stack = stack.restart_after(|| {
        fs::rename(&state, &newest)?;
        copy(&older, &state)
    })?;
    let finalize = Account::finalize_payload(&["four.test"])?.to_string();
    let reply = account.patiently(&order.finalize()?, finalize.as_bytes())?.expect(200)?;
    assert_eq!(reply.json()?["status"], "processing");
    let reply = account.read_patiently(&order.url)?.expect(200)?;
    assert_eq!(reply.header("colophon-broken-journal").context("diagnostics say so")?, "SIGNER_1");
    let log = stack.log("edge")?;
    let told =
        log.lines().any(|line| line.contains("SIGNER_1: its journal has ") && line.contains(" records and had "));
    assert!(told, "{log}");
    assert_eq!(journal::signed(&stack.report.state)?.len(), 1, "nothing was signed");

    let _stack = stack.restart_after(|| {
        fs::remove_dir_all(&state)?;
        Ok(fs::rename(&newest, &state)?)
    })?;
    account.certificate(&order)?;
    Ok(())
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
