//! Waits, rates and shares of the processors, as they are printed and judged.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use tests::cpu::{self, Processes};

use crate::{
    watch::Signature,
    world::{SIGNERS, World},
};

/// Waits, shortest first.
#[derive(Clone, Debug)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    pub(crate) fn of(waits: impl IntoIterator<Item = Duration>) -> Self {
        let mut waits: Vec<_> = waits.into_iter().collect();
        waits.sort_unstable();
        Self(waits)
    }

    /// The slowest but one: of twenty the nearest to the 99th percentile that a single accident does not decide.
    pub(crate) fn slow(&self) -> Duration {
        self.0.iter().rev().nth(1).or(self.0.last()).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "median {} ms, slowest but one {} ms of",
            self.median().as_millis(),
            self.slow().as_millis()
        )?;
        self.0.iter().try_for_each(|wait| write!(formatter, " {}", wait.as_millis()))
    }
}

/// What each part of the stack takes of the processors, from its making on, and what other machines do.
pub(crate) struct Shares {
    began: Instant,
    stolen: Duration,
    parts: Vec<(&'static str, Processes, Duration)>,
}

impl Shares {
    pub(crate) fn of(world: &World) -> Result<Self> {
        let processes = world.stack.processes()?;
        let pids = |of: &dyn Fn(&str) -> bool| {
            processes.iter().filter(|(role, _)| of(role)).map(|(_, pid)| *pid).collect::<Vec<_>>()
        };
        let part = |name, pids| -> Result<_> {
            let processes = Processes::of(pids)?;
            let before = processes.cpu()?;
            Ok((name, processes, before))
        };
        let ours = vec![i32::try_from(std::process::id())?];
        let parts = vec![
            part("edge", pids(&|role| role == "edge"))?,
            part("signers", pids(&|role| role.starts_with("signer-") && !role.contains("worker")))?,
            part("tokens", pids(&|role| role.contains("worker")))?,
            part("resolver", pids(&|role| role == "up"))?,
            part("clients and responder", ours)?,
        ];
        Ok(Self { began: Instant::now(), stolen: cpu::stolen()?, parts })
    }

    /// In hundredths of one processor.
    pub(crate) fn text(&self) -> Result<String> {
        let took = self.began.elapsed().as_secs_f64();
        let share = |name: &str, used: Duration| format!("{name} {:.0} %", 100.0 * used.as_secs_f64() / took);
        let parts = self.parts.iter();
        let shares = parts.map(|(name, processes, before)| Ok(share(name, processes.cpu()?.saturating_sub(*before))));
        let stolen = share("other machines", cpu::stolen()?.saturating_sub(self.stolen));
        Ok(shares.chain([Ok(stolen)]).collect::<Result<Vec<_>>>()?.join(", "))
    }
}

/// Signatures of each signer by tenths of the time from the first to the last: a signer that stood still shows.
pub(crate) fn tenths(signatures: &[Signature]) -> String {
    let (Some(first), Some(last)) = (signatures.first(), signatures.last()) else { return String::new() };
    let all = (last.at - first.at).as_secs_f64().max(0.001);
    let mut counts = [[0_usize; 10]; SIGNERS];
    for signature in signatures {
        let tenth = (10.0 * (signature.at - first.at).as_secs_f64() / all) as usize;
        counts[signature.signer - 1][tenth.min(9)] += 1;
    }
    counts.map(|counts| format!("{counts:?}")).join(" ")
}
