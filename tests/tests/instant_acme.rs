//! instant-acme's own tests, which its published crate has and which start Pebble by themselves: unmodified, with Colophon in Pebble's
//! place. `pebble-challtestsrv` is their DNS server and their responder.
#![cfg(feature = "stack")]

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use tests::challtestsrv::program;

/// All of them: one that is missing was not built with the features that it needs.
const TESTS: usize = 14;

#[test]
fn the_tests_of_instant_acme_pass_with_colophon_in_pebbles_place() -> Result<()> {
    let folder = env::var_os("COLOPHON_INSTANT_ACME")
        .context("COLOPHON_INSTANT_ACME must name the crate's folder: run `cargo xtask test`")?;
    let folder = Path::new(&folder);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instant-acme");
    fs::create_dir_all(&place)?;
    // Each starts a stack, and some two.
    let mut tests = Command::new(folder.join("pebble-tests"));
    tests.args(["--ignored", "--test-threads", "2"]).current_dir(folder).env("TMPDIR", &place);
    tests.env("PEBBLE", env!("CARGO_BIN_EXE_as-pebble")).env("CHALLTESTSRV", program("pebble-challtestsrv")?);
    let output = tests.output().with_context(|| format!("starting {tests:?}"))?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}\n{said}", output.status);
    ensure!(said.contains(&format!("test result: ok. {TESTS} passed; 0 failed; 0 ignored")), "{said}");
    Ok(())
}
