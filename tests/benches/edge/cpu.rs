//! The CPU time of other processes, in nanoseconds: all of their threads, those that have ended included.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::{time::ClockId, unistd::Pid};

/// Processes that are read together.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Vec<ClockId>);

impl Processes {
    /// By their ids.
    ///
    /// # Errors
    /// When one is not there.
    pub(crate) fn of(pids: impl IntoIterator<Item = i32>) -> Result<Self> {
        let clock = |pid| ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).with_context(|| format!("process {pid}"));
        Ok(Self(pids.into_iter().map(clock).collect::<Result<_>>()?))
    }

    /// What they have used so far, in user space and in the kernel.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let times = self.0.iter().map(|clock| Ok(Duration::from(clock.now().context("a process has ended")?)));
        times.sum()
    }
}
