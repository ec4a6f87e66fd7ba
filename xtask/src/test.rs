//! `cargo xtask test`: everything that CI checks, in the order in which failures come cheapest. Stops at the first
//! failure.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::build::{self, Flavour, Size};
use crate::deploy_check;
use crate::fuzz::{self, FuzzOptions};
use crate::newer_packages::{NEWER_LEGO, PEBBLE, ZLINT};
use crate::npm::Npm;
use crate::packages::{
    self, BIND, CADDY, CLIPPY, CURL, GNUTLS, GO, GO_CRYPTO, IPROUTE, JAVA, LEGO, NGINX, NSUPDATE, OPENSC, OPENSC_TOOLS, OPENSSL,
    PCSCD, PYTHON_VENV, RUSTFMT, SOFTHSM, VPCD, YKCS11,
};
use crate::paths::Paths;
use crate::process::{cargo, command, output, run};
use crate::progress::{Step, note, seconds};
use crate::tools;
use crate::wasm_target::{TARGET, WasmToolchain};

/// The client that most people have.
const CERTBOT: &str = "5.8.0";
/// A linter of certificates, CRLs and OCSP responses.
const PKILINT: &str = "0.13.3";

/// A named check.
type Check = (&'static str, fn(&Paths) -> Result<()>);

const CHECKS: [Check; 11] = [
    ("format", format),
    ("deny", deny),
    ("lints", lints),
    ("wasm-lints", wasm_lints),
    ("native-tests", native_tests),
    ("fuzz", fuzz_targets),
    ("edge", edge),
    ("signers", signers),
    ("card-tests", card_tests),
    ("stack-tests", stack_tests),
    ("deployment", deploy_check::deploy_check),
];

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestOptions {
    /// Only these checks, in their usual order
    #[arg(long, value_name = "CHECK", value_parser = CHECKS.map(|(name, _)| name))]
    only: Vec<String>,
}

/// Runs all checks, or those that were asked for.
pub(crate) fn test(paths: &Paths, options: &TestOptions) -> Result<()> {
    let started = Instant::now();
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let checks: Vec<Check> = CHECKS.into_iter().filter(|(name, _)| wanted(name)).collect();
    for (number, (name, check)) in checks.iter().enumerate() {
        let step = Step::begin(format!("[{}/{}] {name}", number + 1, checks.len()));
        if let Err(error) = check(paths).with_context(|| format!("check `{name}`")) {
            let left = checks.len() - number - 1;
            note(format!("{number} passed, 1 failed, {left} not run ({})", seconds(started.elapsed())));
            return Err(error);
        }
        step.done();
    }
    note(format!("{} passed, 0 failed ({})", checks.len(), seconds(started.elapsed())));
    Ok(())
}

fn format(paths: &Paths) -> Result<()> {
    if output(cargo().args(["fmt", "--version"])).is_ok() {
        return run(cargo().args(["fmt", "--all", "--check"]).current_dir(&paths.root));
    }
    packages::ensure([RUSTFMT]).context("no rustfmt (where rustup works: rustup component add rustfmt)")?;
    run(command("/usr/bin/cargo-fmt")
        .args(["--all", "--check"])
        .env("RUSTFMT", "/usr/bin/rustfmt")
        .current_dir(&paths.root))
}

fn lints(paths: &Paths) -> Result<()> {
    if output(cargo().args(["clippy", "--version"])).is_err() {
        packages::ensure([CLIPPY]).context("no clippy (where rustup works: rustup component add clippy)")?;
    }
    run(cargo()
        .args(["clippy", "--quiet", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        .current_dir(&paths.root))
}

fn wasm_lints(paths: &Paths) -> Result<()> {
    let toolchain = WasmToolchain::prepare(paths)?;
    let mut clippy = match &toolchain {
        WasmToolchain::Host => {
            let mut clippy = toolchain.cargo(paths)?;
            clippy.arg("clippy");
            clippy
        }
        WasmToolchain::Apart { .. } => {
            packages::ensure([CLIPPY])?;
            // By its path: cargo would take the first cargo-clippy that it finds, which may be another toolchain's.
            let mut clippy = command("/usr/bin/cargo-clippy");
            toolchain.configure(&mut clippy, paths, None)?;
            clippy.arg("clippy");
            clippy
        }
    };
    clippy.args(["--quiet", "--package", "edge", "--package", "floor", "--target", TARGET, "--", "-D", "warnings"]);
    run(clippy.current_dir(&paths.root))
}

fn native_tests(paths: &Paths) -> Result<()> {
    packages::ensure([SOFTHSM, OPENSC_TOOLS, OPENSSL])?;
    run(cargo().args(["test", "--quiet", "--workspace"]).current_dir(&paths.root))?;
    // Those that need tokens as slow as USB ones.
    let slow = ["test", "--quiet", "--package", "signer", "--features", "slow-token", "--test", "daemon", "--"];
    let modules = ["slow::", "clones::", "crl::", "ocsp::", "stops::what_waits"];
    run(cargo().args(slow).args(modules).current_dir(&paths.root))
}

/// Each target for a moment: what once was found stays found, and that all of them still build.
fn fuzz_targets(paths: &Paths) -> Result<()> {
    fuzz::fuzz(paths, &FuzzOptions::all(2))
}

fn edge(paths: &Paths) -> Result<()> {
    // Most of the edge's build is one crate, on one processor: the signer's is begun beside it.
    let (bundle, signer) = thread::scope(|scope| {
        let signer = scope.spawn(|| build::build_signer(paths, Flavour::Usual));
        (build::build_edge(paths), signer.join())
    });
    signer.map_err(|_| anyhow!("the build of the signer panicked"))??;
    Size::of(&bundle?)?.within_budget()
}

fn signers(paths: &Paths) -> Result<()> {
    build::build_signer(paths, Flavour::Usual)?;
    build::build_signer(paths, Flavour::SlowToken).map(|_| ())
}

/// The signer with PIV cards behind real middleware.
fn card_tests(paths: &Paths) -> Result<()> {
    run(piv(paths, "cards")?.arg("--quiet"))
}

/// Returns `cargo test` of the signer's tests with PIV cards, with what they need installed, and these features.
pub(crate) fn piv(paths: &Paths, features: &str) -> Result<Command> {
    let [_, ykcs11, opensc] = packages::ensure([PCSCD, YKCS11, OPENSC])?;
    let (signer, vpcd) = (build::build_signer(paths, Flavour::Usual)?, packages::unpacked(VPCD, paths)?);
    let mut tests = cargo();
    tests
        .args(["test", "--package", "signer", "--features", features, "--test", "piv"])
        .current_dir(&paths.root)
        .env("COLOPHON_SIGNER", signer)
        .env("COLOPHON_VPCD", vpcd)
        .env("COLOPHON_YKCS11", ykcs11)
        .env("COLOPHON_OPENSC", opensc);
    Ok(tests)
}

fn stack_tests(paths: &Paths) -> Result<()> {
    run(&mut stack(paths)?)
}

/// Returns `cargo test` of the tests of the whole stack, with what they need installed.
pub(crate) fn stack(paths: &Paths) -> Result<Command> {
    packages::ensure([SOFTHSM, OPENSSL, BIND, NSUPDATE, LEGO])?;
    packages::ensure([CURL, GNUTLS, GO, GO_CRYPTO, IPROUTE, JAVA, NGINX])?;
    let (pebble, lego, zlint) = (PEBBLE.ensure(paths)?, NEWER_LEGO.ensure(paths)?, ZLINT.ensure(paths)?);
    let (certbot, pkilint) = (python(paths, "certbot", CERTBOT)?, python(paths, "pkilint", PKILINT)?);
    let (tools, clients) = (Npm::install(paths)?, Npm::install_clients(paths)?);
    let mut tests = cargo();
    tests.args(["test", "--package", "tests", "--features", "stack"]).current_dir(&paths.root);
    tests
        .env("COLOPHON_XTASK", env::current_exe()?)
        .env("COLOPHON_SIGNER", build::build_signer(paths, Flavour::Usual)?)
        .env("COLOPHON_CERTBOT", certbot.join("certbot"))
        .env("COLOPHON_CADDY", packages::unpacked(CADDY, paths)?)
        .env("COLOPHON_PKILINT", pkilint)
        .env("COLOPHON_ZLINT", zlint)
        .env("COLOPHON_NODE", tools.program("node")?)
        .env("COLOPHON_NODE_CLIENTS", clients.modules())
        .env("COLOPHON_WORKERD", tools.workerd()?)
        .env("COLOPHON_PEBBLE", pebble)
        .env("COLOPHON_LEGO", lego)
        .env("COLOPHON_GO_PROGRAMS", tools::go_programs(paths)?)
        .env("COLOPHON_INSTANT_ACME", tools::instant_acme_tests(paths)?);
    Ok(tests)
}

/// `cargo xtask docs`: the figures and pages that `native-tests` compares.
pub(crate) fn docs(paths: &Paths) -> Result<()> {
    let write = |arguments: &[&str]| {
        let mut pages = cargo();
        pages.args(["test", "--quiet", "--package"]).args(arguments).current_dir(&paths.root);
        run(pages.env("COLOPHON_WRITE_PAGES", "1"))
    };
    // All certificates, where the tests look at a sample: minutes when it is not optimized.
    let optimized =
        ["--config", "profile.dev.package.edge.opt-level=2", "--config", "profile.dev.package.shared.opt-level=2"];
    write(&[&["edge", "--test", "week"][..], &optimized].concat())?;
    write(&["signer", "--lib", "status::week"])?;
    write(&["edge", "--test", "renewal_load"])?;
    write(&["tests", "--test", "pages"])
}

/// Checks licences, bans and sources of all dependencies against `deny.toml`. Not advisories: they change without us, and need a
/// download.
pub(crate) fn deny(paths: &Paths) -> Result<()> {
    let mut deny = command(tools::cargo_deny(paths)?);
    // By Cargo.lock; what is not downloaded yet is, as for a build.
    run(deny.args(["--all-features", "--locked", "check", "licenses", "bans", "sources"]).current_dir(&paths.root))
}

/// The folder of a Python package's programs, in a virtual environment of its own in the cache.
fn python(paths: &Paths, package: &str, version: &str) -> Result<PathBuf> {
    let place = paths.cached_in_place(&format!("{package}-{version}"), |place| {
        let step = Step::begin(format!("installing {package} {version} (once)"));
        if run(command("python3").args(["-m", "venv"]).arg(place)).is_err() {
            packages::ensure([PYTHON_VENV])?;
            fs::remove_dir_all(place)?;
            run(command("/usr/bin/python3").args(["-m", "venv"]).arg(place))?;
        }
        let exact = format!("{package}=={version}");
        run(command(place.join("bin/pip")).args(["install", "--quiet", "--no-input", &exact]))?;
        step.done();
        Ok(())
    })?;
    Ok(place.join("bin"))
}
