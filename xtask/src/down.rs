//! `cargo xtask down`: ends the stack of a state folder and waits until it is gone.

use std::fs::TryLockError;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::progress::note;
use crate::up::state::{holder, open_lock};

/// How long the stack may take to end.
const LIMIT: Duration = Duration::from_secs(20);

/// Ends what holds the lock of `state`.
pub(crate) fn down(state: &Path) -> Result<()> {
    if !state.join("lock").exists() || !locked(state)? {
        note(format!("nothing runs on {}", state.display()));
        return Ok(());
    }
    let pid = holder(state)
        .map(Pid::from_raw)
        .with_context(|| format!("{} does not say who holds it", state.join("lock").display()))?;
    kill(pid, Signal::SIGTERM).with_context(|| format!("asking process {pid} to end"))?;
    let deadline = Instant::now() + LIMIT;
    while locked(state)? {
        if Instant::now() > deadline {
            // Its children end with it.
            kill(pid, Signal::SIGKILL)?;
            sleep(Duration::from_millis(500));
            bail!("process {pid} did not end within {} s, and was killed", LIMIT.as_secs());
        }
        sleep(Duration::from_millis(20));
    }
    note(format!("the stack on {} has ended", state.display()));
    Ok(())
}

fn locked(state: &Path) -> Result<bool> {
    match open_lock(state)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("looking at the state's lock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_end_what_does_not_run_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        down(&folder.path().join("none")).unwrap();
        open_lock(folder.path()).unwrap();
        down(folder.path()).unwrap();
    }
}
