//! All figures of a run: a table for people, JSON for programs.

use std::{
    fmt::{Display, Formatter},
    fs, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tests::figures::Figures;

use crate::{
    budgets::{self, Budget},
    issuance::Cost,
    kinds::Kind,
};

/// On what it was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// The processor's name.
    pub(crate) processor: String,
    /// How many of them the system has.
    pub(crate) processors: usize,
    /// The part of all processors' time that was used in a second when nothing of ours ran: before the run, and after it.
    pub(crate) busy: Vec<f64>,
}

/// A kind's figures over the floors'.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The kind.
    pub(crate) kind: Kind,
    /// Its lowest figures.
    pub(crate) figures: Figures,
    /// CPU over an empty worker's.
    pub(crate) over_empty: f64,
    /// CPU over an object hop's.
    pub(crate) over_hop: f64,
    /// CPU over that of an object hop with a row.
    pub(crate) over_row: f64,
    /// Requests a second over an empty worker's.
    pub(crate) rate_over_empty: f64,
    /// The 99th percentile less the median of an empty worker, in milliseconds.
    pub(crate) p99_over_floor_ms: f64,
}

/// Everything that a run showed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// Rounds that counted.
    rounds: usize,
    requests: Vec<Row>,
    edge: Cost,
    pebble: Cost,
    /// Milliseconds from listening to the first answer.
    floor_first_answer_ms: f64,
    edge_first_answer_ms: f64,
    budgets: Vec<Budget>,
}

impl Machine {
    /// As it is now, while nothing of ours runs.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn idle() -> Result<Self> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let names = cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            processor: names.map(|(_, name)| name.to_owned()).next().unwrap_or_else(|| "unknown".to_owned()),
            processors: thread::available_parallelism()?.get(),
            busy: vec![busy()?],
        })
    }

    /// The same with how busy it is now.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn and_now(mut self) -> Result<Self> {
        self.busy.push(busy()?);
        Ok(self)
    }
}

/// The part of all processors' time that is used in the next second.
fn busy() -> Result<f64> {
    let read = || -> Result<(f64, f64)> {
        let text = fs::read_to_string("/proc/stat")?;
        let times =
            text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat has no times")?;
        let times: Vec<f64> = times.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        // user nice system idle iowait irq softirq steal; what follows is counted in these.
        let [_, _, _, idle, iowait, ..] = times.as_slice() else { bail!("/proc/stat has too few times") };
        Ok((times.iter().take(8).sum(), idle + iowait))
    };
    let (all, idle) = read()?;
    thread::sleep(Duration::from_secs(1));
    let (all_then, idle_then) = read()?;
    Ok(1.0 - (idle_then - idle) / (all_then - all))
}

impl Report {
    /// Puts the figures over the floors and beside the budgets. `first_answers` are the floor's and the edge's.
    ///
    /// # Errors
    /// When a kind has no figures.
    pub(crate) fn new(
        machine: Machine,
        kinds: &[(Kind, Vec<Figures>)],
        [edge, pebble]: [Cost; 2],
        first_answers: [f64; 2],
        bundle: u64,
    ) -> Result<Self> {
        let lowest = |wanted: Kind| {
            let rounds = kinds.iter().find(|(kind, _)| *kind == wanted).map(|(_, rounds)| rounds.as_slice());
            Figures::lowest(rounds.unwrap_or_default()).with_context(|| format!("{} was not measured", wanted.name()))
        };
        let (empty, hop, row) = (lowest(Kind::Empty)?, lowest(Kind::Hop)?, lowest(Kind::Row)?);
        let requests = Kind::ALL.into_iter().map(|kind| {
            let figures = lowest(kind)?;
            Ok(Row {
                kind,
                figures,
                over_empty: figures.cpu_ms / empty.cpu_ms,
                over_hop: figures.cpu_ms / hop.cpu_ms,
                over_row: figures.cpu_ms / row.cpu_ms,
                rate_over_empty: figures.per_second / empty.per_second,
                p99_over_floor_ms: figures.p99_ms - empty.p50_ms,
            })
        });
        let requests: Vec<Row> = requests.collect::<Result<_>>()?;
        let [floor_first_answer_ms, edge_first_answer_ms] = first_answers;
        let mut budgets: Vec<Budget> = requests.iter().flat_map(Row::budgets).collect();
        budgets.extend([
            Budget::new("CPU of an issuance over Pebble's", "×", budgets::ISSUANCE, edge.cpu_ms / pebble.cpu_ms),
            Budget::new("compressed bundle", "kB", budgets::BUNDLE, bundle as f64 / 1000.0),
            Budget::new("first answer after listening", "ms", budgets::FIRST_ANSWER, edge_first_answer_ms),
        ]);
        let rounds = kinds.first().map_or(0, |(_, rounds)| rounds.len());
        Ok(Self { machine, rounds, requests, edge, pebble, floor_first_answer_ms, edge_first_answer_ms, budgets })
    }

    /// Whether all budgets are met.
    #[must_use]
    pub(crate) fn met(&self) -> bool {
        self.budgets.iter().all(|budget| budget.met)
    }
}

impl Row {
    fn budgets(&self) -> Vec<Budget> {
        let name = self.kind.name();
        let mut found = Vec::new();
        if self.kind.is_signed() {
            let limit = if self.kind.is_read() { budgets::READ } else { budgets::POST };
            found.push(Budget::new(format!("CPU of {name} over an empty worker"), "×", limit, self.over_empty));
        }
        if self.kind.is_signed() && !self.kind.has_effect() {
            let what = format!("p99 of {name} over the floor's median");
            found.push(Budget::new(what, "ms", budgets::LATENCY, self.p99_over_floor_ms));
        }
        found
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        let Machine { processor, processors, busy, .. } = &self.machine;
        let busy: Vec<String> = busy.iter().map(|part| format!("{:.0} %", part * 100.0)).collect();
        writeln!(out, "{processors} × {processor}; others used {} of it before and after\n", busy.join(" and "))?;
        let rounds = self.rounds;
        writeln!(out, "Requests: the best of {rounds} rounds, one keep-alive connection, one after the other")?;
        writeln!(
            out,
            "  {:22} {:>5} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8} {:>12} {:>7} {:>8}",
            "kind",
            "each",
            "CPU ms",
            "× empty",
            "× hop",
            "× row",
            "p50 ms",
            "p99 ms",
            "p99 − floor",
            "each s",
            "/ empty"
        )?;
        for Row { kind, figures, over_empty, over_hop, over_row, rate_over_empty, p99_over_floor_ms } in &self.requests
        {
            let Figures { requests, cpu_ms, p50_ms, p99_ms, per_second } = figures;
            writeln!(
                out,
                "  {:22} {requests:>5} {cpu_ms:>8.3} {over_empty:>8.1} {over_hop:>7.1} {over_row:>7.1} {p50_ms:>8.2} \
                 {p99_ms:>8.2} {p99_over_floor_ms:>12.2} {per_second:>7.0} {rate_over_empty:>8.2}",
                kind.name()
            )?;
        }
        writeln!(out, "\nA whole issuance (http-01): the round with the least CPU")?;
        writeln!(
            out,
            "  {:8} {:>8} {:>14} {:>6} {:>13} {:>11}",
            "server", "CPU ms", "signer CPU ms", "POSTs", "object calls", "elapsed ms"
        )?;
        for (name, cost) in [("edge", &self.edge), ("Pebble", &self.pebble)] {
            let Cost { cpu_ms, signer_cpu_ms, posts, hops, elapsed_ms } = cost;
            let or_none = |value: &Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
            let (signer, hops) = (or_none(signer_cpu_ms), or_none(hops));
            writeln!(out, "  {name:8} {cpu_ms:>8.2} {signer:>14} {posts:>6.1} {hops:>13} {elapsed_ms:>11.1}")?;
        }
        let (edge, floor) = (self.edge_first_answer_ms, self.floor_first_answer_ms);
        writeln!(out, "\nFirst answer after listening: the edge {edge:.1} ms, an empty worker {floor:.1} ms")?;
        writeln!(out, "\nBudgets")?;
        self.budgets.iter().try_for_each(|budget| writeln!(out, "  {budget}"))
    }
}
