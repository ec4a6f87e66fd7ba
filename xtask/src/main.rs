//! `cargo xtask`: builds, runs and checks Colophon. Nothing else is needed for that but cargo; what is missing is
//! installed.
#![deny(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the tooling lives in real time")]

mod bench;
mod build;
mod demo;
mod deploy_check;
mod deployment;
mod digest;
mod down;
mod fuzz;
mod newer_packages;
mod npm;
mod package;
mod packages;
mod paths;
mod process;
mod progress;
mod test;
mod tools;
mod up;
mod wasm_target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::paths::Paths;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, runs and checks Colophon.")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Builds the edge and the signer, installing the tools that are missing
    Build(build::BuildOptions),
    /// Starts the whole stack on this machine and stays until it is stopped
    Up(up::UpOptions),
    /// Ends a stack that runs in the background
    Down {
        /// Its state folder [default: .colophon/up in the workspace]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// External account bindings of a stack that runs
    Eab {
        #[command(subcommand)]
        verb: up::external_account::Verb,
    },
    /// Starts the stack, issues a certificate, verifies it, and shows how to use the stack
    Demo(demo::DemoOptions),
    /// Runs everything that CI checks
    Test(test::TestOptions),
    /// Gives strange bytes to the parsers of strangers' bytes, each for some seconds
    Fuzz(fuzz::FuzzOptions),
    /// Measures what the stack costs, as ratios to floors that are measured in the same run
    Bench {
        #[command(subcommand)]
        subject: bench::Subject,
    },
    /// Writes the pages of docs/ that are made from the tests
    Docs,
    /// Makes a Debian package of the signer, with its units and manual pages
    Package,
    /// Checks licences, bans and sources of the dependencies
    Deny,
    /// Shows what would be deployed, without deploying
    DeployCheck,
    /// Runs the pinned wrangler
    Wrangler {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb, Instant::now()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb, started: Instant) -> Result<()> {
    let paths = Paths::discover()?;
    match verb {
        Verb::Build(options) => build::build(&paths, options),
        Verb::Up(options) => up::up(&paths, &options, started),
        Verb::Down { state } => down::down(&up::state_folder(state.as_deref(), &paths)),
        Verb::Eab { verb } => verb.run(&paths),
        Verb::Demo(options) => demo::demo(&paths, &options, started),
        Verb::Test(options) => test::test(&paths, &options),
        Verb::Fuzz(options) => fuzz::fuzz(&paths, &options),
        Verb::Bench { subject } => bench::bench(&paths, &subject),
        Verb::Docs => test::docs(&paths),
        Verb::Package => package::package(&paths),
        Verb::Deny => test::deny(&paths),
        Verb::DeployCheck => deploy_check::deploy_check(&paths),
        Verb::Wrangler { arguments } => deploy_check::wrangler(&paths, &arguments),
    }
}
