//! Series of requests, and what is made of them: CPU for each request, and percentiles of the latency.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;
use tests::client::Reply;

use crate::cpu::Processes;

/// After a series, before the CPU time is read: what answers leave to be done behind them is their cost.
const SETTLE: Duration = Duration::from_millis(100);

/// What one series showed. Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    /// Requests of the series.
    pub(crate) requests: usize,
    /// CPU time of the server for each.
    pub(crate) cpu_ms: f64,
    /// As the client saw it, from the first byte that it wrote to the last that it read.
    pub(crate) p50_ms: f64,
    /// The same, of which one in a hundred takes longer.
    pub(crate) p99_ms: f64,
}

/// The latencies of a series so far.
#[derive(Debug, Default)]
pub(crate) struct Series(Vec<Duration>);

impl Series {
    /// Sends one request of the series.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) fn send(&mut self, send: impl FnOnce() -> Result<Reply>) -> Result<Reply> {
        let started = Instant::now();
        let reply = send()?;
        self.0.push(started.elapsed());
        Ok(reply)
    }
}

impl Figures {
    /// Runs a series on a server.
    ///
    /// # Errors
    /// When a request of it fails, or the server ends.
    pub(crate) fn of(server: &Processes, run: impl FnOnce(&mut Series) -> Result<()>) -> Result<Self> {
        let mut series = Series::default();
        let before = server.cpu()?;
        run(&mut series)?;
        thread::sleep(SETTLE);
        let cpu = server.cpu()?.saturating_sub(before);
        let mut latencies = series.0;
        latencies.sort_unstable();
        let requests = latencies.len();
        let percentile = |part: f64| {
            let rank = (part * requests as f64).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).copied().map_or(f64::NAN, milliseconds)
        };
        let cpu_ms = milliseconds(cpu) / requests as f64;
        Ok(Self { requests, cpu_ms, p50_ms: percentile(0.5), p99_ms: percentile(0.99) })
    }

    /// The lowest value of each that several rounds showed: machines are disturbed, and never run faster than they can.
    #[must_use]
    pub(crate) fn lowest(rounds: &[Self]) -> Option<Self> {
        let least = |of: fn(&Self) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
        Some(Self {
            requests: rounds.first()?.requests,
            cpu_ms: least(|figures| figures.cpu_ms),
            p50_ms: least(|figures| figures.p50_ms),
            p99_ms: least(|figures| figures.p99_ms),
        })
    }
}

/// As a number.
#[must_use]
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
