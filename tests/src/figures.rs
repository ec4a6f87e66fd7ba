//! Series of requests, and what is made of them: CPU for each request, and percentiles of the latency.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use crate::{client::Reply, cpu::Processes};

/// After a series, before the CPU time is read: what answers leave to be done behind them is their cost.
const SETTLE: Duration = Duration::from_millis(100);

/// What one series showed. Milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Requests of the series.
    pub requests: usize,
    /// CPU time of the server for each.
    pub cpu_ms: f64,
    /// As the client saw it, from the first byte that it wrote to the last that it read.
    pub p50_ms: f64,
    /// The same, of which one in a hundred takes longer.
    pub p99_ms: f64,
    /// Requests in a second of a connection that sends the next one when it has the answer.
    pub per_second: f64,
}

/// The latencies of a series so far.
#[derive(Debug, Default)]
pub struct Series(Vec<Duration>);

impl Series {
    /// Sends one request of the series.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&mut self, send: impl FnOnce() -> Result<Reply>) -> Result<Reply> {
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
    pub fn of(server: &Processes, run: impl FnOnce(&mut Series) -> Result<()>) -> Result<Self> {
        let mut series = Series::default();
        let before = server.cpu()?;
        run(&mut series)?;
        thread::sleep(SETTLE);
        Ok(Self::new(server.cpu()?.saturating_sub(before), series.0))
    }

    /// Of the CPU time of a whole series and its latencies, in any order.
    fn new(cpu: Duration, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let requests = latencies.len();
        let percentile = |part: f64| {
            let rank = (part * requests as f64).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).copied().map_or(f64::NAN, milliseconds)
        };
        let cpu_ms = milliseconds(cpu) / requests as f64;
        let per_second = requests as f64 / latencies.iter().sum::<Duration>().as_secs_f64();
        Self { requests, cpu_ms, p50_ms: percentile(0.5), p99_ms: percentile(0.99), per_second }
    }

    /// The best value of each that several rounds showed: machines are disturbed, and never run faster than they can.
    #[must_use]
    pub fn lowest(rounds: &[Self]) -> Option<Self> {
        let least = |of: fn(&Self) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
        Some(Self {
            requests: rounds.first()?.requests,
            cpu_ms: least(|figures| figures.cpu_ms),
            p50_ms: least(|figures| figures.p50_ms),
            p99_ms: least(|figures| figures.p99_ms),
            per_second: rounds.iter().map(|figures| figures.per_second).fold(0.0, f64::max),
        })
    }
}

/// As a number.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu_ms: u64, latencies_ms: impl Iterator<Item = u64>) -> Figures {
        Figures::new(Duration::from_millis(cpu_ms), latencies_ms.map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let Figures { requests, cpu_ms, p50_ms, p99_ms, .. } = figures(300, (1..=200).rev());
        assert_eq!((requests, cpu_ms, p50_ms, p99_ms), (200, 1.5, 100.0, 198.0));
        let one = figures(3, [7].into_iter());
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
        assert_eq!(figures(1, [100, 300].into_iter()).per_second, 5.0);
    }

    #[test]
    fn the_best_of_rounds_is_the_best_of_each_value() {
        let (quiet, quick) = (figures(2, [10, 30].into_iter()), figures(4, [5, 50].into_iter()));
        let lowest = Figures::lowest(&[quiet, quick]).unwrap();
        assert_eq!((lowest.cpu_ms, lowest.p50_ms, lowest.p99_ms), (1.0, 5.0, 30.0));
        assert_eq!(lowest.per_second, quiet.per_second.max(quick.per_second));
        assert!(Figures::lowest(&[]).is_none());
    }
}
