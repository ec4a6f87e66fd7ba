//! What the edge costs: CPU and latency of each kind of request over a worker that does nothing, and of a whole issuance beside Pebble, all
//! in one run and by one client. Started by `cargo xtask bench edge`; docs/benchmarks.md says what each number means.
#![allow(clippy::disallowed_methods, reason = "benchmarks live in real time")]

mod budgets;
mod first_answer;
mod issuance;
mod kinds;
mod report;
mod status;
mod world;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::{
    cpu::Processes,
    pebble::{Pebble, Surroundings},
    responder::Responder,
    stack::{Options, Stack, free_port},
};

use crate::{
    issuance::Issuances,
    kinds::Kind,
    report::{Machine, Report},
    world::World,
};

/// Rounds of all kinds; the first one, in which the platform still compiles, counts for nothing.
const ROUNDS: usize = 7;
/// Rounds of issuances; the first one as above.
const ISSUANCE_ROUNDS: usize = 4;
/// No further round begins after so long.
const ENOUGH: Duration = Duration::from_secs(120);
/// Something hangs when it takes so long.
const LIMIT: Duration = Duration::from_secs(330);

/// The command line, as `cargo xtask bench edge` writes it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Bytes of the edge's compressed bundle.
    #[arg(long)]
    bundle: u64,
    /// Where to write the figures.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fails when a budget is not met.
    #[arg(long)]
    enforce: bool,
    /// `cargo bench` says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("error: the benchmark is not through after {} s", LIMIT.as_secs());
        // What it started ends with it.
        std::process::exit(1);
    });
    match run(&arguments) {
        Ok(met) if met || !arguments.enforce => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("error: a budget is not met");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The limit of key changes, which is on by default: a series of one account has more.
const KEY_CHANGES: &str = "rate_limits.key_changes_per_account";

/// Measures, prints and writes everything; true when all budgets are met.
fn run(arguments: &Arguments) -> Result<bool> {
    let started = Instant::now();
    let place = env!("CARGO_TARGET_TMPDIR");
    let responder = Responder::start()?;
    let options = Options::fresh(place, "bench-edge")?.http_port(responder.port);
    let stack = Stack::up(
        options.with(["--floor", "--restart"]).set(KEY_CHANGES, &serde_json::json!({"count": 100_000, "seconds": 1})),
    )?;
    let dns_server = stack.report.resolver.strip_prefix("tcp://").context("the throwaway resolver has an address")?;
    let surroundings = Surroundings { dns_server, http_port: responder.port, tls_alpn_port: free_port()? };
    let pebble = Pebble::start(&format!("{place}/bench-edge-others"), &surroundings)?;
    let machine = Machine::idle()?;

    let world = World::new(&stack.report, &responder)?;
    let mut kinds = Kind::ALL.map(|kind| (kind, Vec::new()));
    for round in 0..ROUNDS {
        if round > 2 && started.elapsed() > ENOUGH {
            break;
        }
        eprintln!("==> requests, round {round} of {}", ROUNDS - 1);
        let mut series = world.round()?;
        for (kind, figures) in &mut kinds {
            let measured = series.measure(*kind).with_context(|| kind.name().to_owned())?;
            if round > 0 {
                figures.push(measured);
            }
        }
    }
    let signer = stack.report.pids.iter().filter(|(role, _)| role.starts_with("signer-")).map(|(_, pid)| *pid);
    let signer = Processes::of(signer)?;
    let mut edge = Issuances::of(&stack.report.directory, &stack.report.ca, world.edge().clone(), Some(&signer))?;
    let process = Processes::of([i32::try_from(pebble.pid())?])?;
    let mut other = Issuances::of(&pebble.directory, &pebble.ca, process, None)?;
    for round in 0..ISSUANCE_ROUNDS {
        eprintln!("==> issuances, round {round} of {}", ISSUANCE_ROUNDS - 1);
        for server in [&mut edge, &mut other] {
            server.round(&responder, round > 0)?;
        }
    }
    eprintln!("==> first answers");
    let floor = stack.report.floor.as_deref().context("the stack has a floor")?;
    let floor_start = first_answer::lowest(&stack, "floor", &format!("{floor}/empty"))?;
    let edge_start = first_answer::lowest(&stack, "edge", &stack.report.directory)?;

    let report = Report::new(
        machine.and_now()?,
        &kinds,
        [edge.lowest()?, other.lowest()?],
        [floor_start, edge_start],
        arguments.bundle,
    )?;
    println!("{report}");
    eprintln!("    measured in {:.0} s", started.elapsed().as_secs_f64());
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(report.met())
}
