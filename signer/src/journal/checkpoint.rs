//! The checkpoint beside the journal: how long it was, some seconds ago, and its head then. A journal that lost its end, or was
//! replaced, without the checkpoint is noticed at the next start. One that was restored with it is noticed by edges and peers.

use std::{io::ErrorKind, path::Path, time::Duration};

use anyhow::{Context, bail};
use shared::{base64url::Base64Url, checkpoint::Checkpoint};
use tokio::time::{MissedTickBehavior, interval};

use super::{Head, Journal};
use crate::files;

/// How old the checkpoint gets at most.
const EVERY: Duration = Duration::from_secs(5);

/// The file in the state's folder.
const NAME: &str = "checkpoint";

/// What an operator is told when the journal does not continue the checkpoint.
const ADVICE: &str = "put the whole journal back; if its records are lost, this signer must never sign again with these keys \
                      (docs/journal.md, \"When records are lost\")";

/// Reads the checkpoint; nothing where none was ever written.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn load(state: &Path) -> anyhow::Result<Option<Checkpoint>> {
    let path = state.join(NAME);
    match std::fs::read(&path) {
        Ok(text) => {
            let checkpoint = serde_json::from_slice(&text);
            checkpoint.map(Some).with_context(|| format!("{} is not a checkpoint", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces the checkpoint.
pub(crate) fn store(state: &Path, checkpoint: &Checkpoint) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(checkpoint)?;
    text.push(b'\n');
    files::replace(&state.join(NAME), &text)
}

/// Whether a journal with this head continues the checkpoint. `head_at` says what its head was at a length that it has.
///
/// # Errors
/// When it does not, with what an operator must do.
pub(crate) fn compare(
    checkpoint: &Checkpoint,
    head: &Head,
    head_at: impl FnOnce(u64) -> anyhow::Result<Checkpoint>,
) -> anyhow::Result<()> {
    if head.length < checkpoint.length {
        let Head { length, .. } = head;
        bail!("the journal has {length} records, but it had {} (state/{NAME}): {ADVICE}", checkpoint.length);
    }
    if head_at(checkpoint.length)? != *checkpoint {
        bail!(
            "the journal's first {} records are not those that were there (state/{NAME}): {ADVICE}",
            checkpoint.length
        );
    }
    Ok(())
}

/// Writes the checkpoint whenever it is due, for ever.
pub(crate) async fn keep(journal: Journal) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        journal.look().await;
        let journal = journal.clone();
        // The disk may take its time.
        let _ = tokio::task::spawn_blocking(move || journal.store_checkpoint()).await;
    }
}

impl Head {
    /// What is told to others of it.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { length: self.length, head: Base64Url(self.hash.to_vec()) }
    }
}
