//! The CPU time of other processes, in nanoseconds: all of their threads, those that have ended included. And the time that a machine
//! was not given at all, though it had something to do.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    time::ClockId,
    unistd::{Pid, SysconfVar, sysconf},
};

/// Processes that are read together.
#[derive(Clone, Debug)]
pub struct Processes(Vec<ClockId>);

impl Processes {
    /// By their ids.
    ///
    /// # Errors
    /// When one is not there.
    pub fn of(pids: impl IntoIterator<Item = i32>) -> Result<Self> {
        let clock = |pid| ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).with_context(|| format!("process {pid}"));
        Ok(Self(pids.into_iter().map(clock).collect::<Result<_>>()?))
    }

    /// What they have used so far, in user space and in the kernel.
    ///
    /// # Errors
    /// When one has ended.
    pub fn cpu(&self) -> Result<Duration> {
        let times = self.0.iter().map(|clock| Ok(Duration::from(clock.now().context("a process has ended")?)));
        times.sum()
    }
}

/// What other machines on the same hardware have taken of this one's processors since it was started (proc_stat(5), `steal`).
///
/// # Errors
/// When the kernel does not say.
pub fn stolen() -> Result<Duration> {
    let second = sysconf(SysconfVar::CLK_TCK)?.context("no ticks")?;
    Ok(Duration::from_secs_f64(stolen_ticks(&fs::read_to_string("/proc/stat")?)? as f64 / second as f64))
}

/// The first line is `cpu user nice system idle iowait irq softirq steal …`, of all processors together.
fn stolen_ticks(stat: &str) -> Result<u64> {
    let ticks = stat.lines().next().and_then(|all| all.split_whitespace().nth(8));
    Ok(ticks.context("no time that was stolen")?.parse()?)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread, time::Instant};

    use super::*;

    /// Keeps a processor busy until our process has used so much more.
    fn work(ours: &Processes, more: Duration) {
        let (before, started) = (ours.cpu().unwrap(), Instant::now());
        while ours.cpu().unwrap() < before + more {
            assert!(started.elapsed() < Duration::from_secs(60), "the clock stands still");
        }
    }

    #[test]
    fn work_is_counted_after_its_thread_has_ended() {
        let ours = Processes::of([i32::try_from(std::process::id()).unwrap()]).unwrap();
        let before = ours.cpu().unwrap();
        let other = ours.clone();
        thread::spawn(move || work(&other, Duration::from_millis(50))).join().unwrap();
        assert!(ours.cpu().unwrap() >= before + Duration::from_millis(50));
    }

    #[test]
    fn what_was_stolen_is_the_eighth_number_of_all_processors_and_this_kernel_says_it() {
        let stat = "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(stolen_ticks(stat).unwrap(), 80);
        assert!(stolen_ticks("cpu  10 20 30 40").is_err(), "a kernel of before 2.6.11");
        stolen().unwrap();
    }

    #[test]
    fn the_time_of_a_process_that_has_ended_is_an_error() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let processes = Processes::of([i32::try_from(child.id()).unwrap()]).unwrap();
        assert!(processes.cpu().unwrap() < Duration::from_secs(1), "it sleeps");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes.cpu().is_err());
    }
}
