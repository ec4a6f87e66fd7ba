//! `cargo xtask bench`: builds what is measured, and what it is measured beside, then runs a benchmark of `tests/benches`, or the
//! tests that judge rates and times, one at a time.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::build::{self, Flavour, Size};
use crate::newer_packages::PEBBLE;
use crate::npm::Npm;
use crate::packages::{self, SOFTHSM};
use crate::paths::Paths;
use crate::process::{cargo, run};
use crate::test;

/// What can be measured.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Subject {
    /// CPU and latency of each request of the edge over a worker that does nothing, and of a whole issuance beside Pebble
    Edge(EdgeOptions),
    /// Certificates over raw signatures of slow tokens and PIV cards, waits of renewals, and the time that a stop takes
    Signer,
    /// The burst of 2,000 orders at three signers with six slow tokens: rates, waits of renewals, faults one after the other
    Stack,
}

/// The flags of `bench edge`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EdgeOptions {
    /// Writes the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a budget is not met
    #[arg(long)]
    enforce: bool,
}

/// `cargo xtask bench`.
pub(crate) fn bench(paths: &Paths, subject: &Subject) -> Result<()> {
    match subject {
        Subject::Edge(options) => edge(paths, options),
        Subject::Signer => signer(paths),
        Subject::Stack => stack(paths),
    }
}

/// One test at a time: what other programs take of the processors would be measured, too.
const ALONE: [&str; 3] = ["--", "--nocapture", "--test-threads=1"];

fn signer(paths: &Paths) -> Result<()> {
    packages::ensure([SOFTHSM])?;
    let mut daemon = cargo();
    daemon.args(["test", "--package", "signer", "--features", "slow-token,measure", "--test", "daemon"]);
    run(daemon.args(ALONE).args(["rates::", "throughput::", "stops::"]).current_dir(&paths.root))?;
    run(test::piv(paths, "cards,measure")?.args(ALONE).arg("throughput::"))
}

fn stack(paths: &Paths) -> Result<()> {
    build::build_edge(paths)?;
    build::build_signer(paths, Flavour::SlowToken)?;
    run(test::stack(paths)?.args(["--test", "signers"]).args(ALONE).env("COLOPHON_BURST", "2000x500"))
}

fn edge(paths: &Paths, options: &EdgeOptions) -> Result<()> {
    packages::ensure([SOFTHSM])?;
    let size = Size::of(&build::build_edge(paths)?)?;
    build::build_floor(paths)?;
    build::build_signer(paths, Flavour::Usual)?;
    Npm::install(paths)?.workerd()?;
    let pebble = PEBBLE.ensure(paths)?;
    let mut bench = cargo();
    bench.args(["bench", "--quiet", "--package", "tests", "--features", "stack", "--bench", "edge", "--"]);
    bench.args(["--bundle", &size.compressed.to_string()]);
    if let Some(file) = &options.json {
        bench.arg("--json").arg(std::path::absolute(file)?);
    }
    if options.enforce {
        bench.arg("--enforce");
    }
    bench.env("CARGO_TARGET_DIR", &paths.target).env("COLOPHON_XTASK", env::current_exe()?);
    bench.env("COLOPHON_PEBBLE", pebble).current_dir(&paths.root).stdin(Stdio::null());
    // Its table belongs on standard output, as results do.
    let status = bench.status().context("starting `cargo bench`")?;
    if !status.success() {
        bail!("the benchmark failed: {status}");
    }
    Ok(())
}
