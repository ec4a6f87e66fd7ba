//! The thread that writes the journal: takes everything that waits, chains it, writes it once, syncs it once.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use shared::base64url::Base64Url;
use tokio::sync::{mpsc, oneshot};

use super::{
    JournalFailed,
    file::{self, Head, Location},
    record::{Event, Record},
};
use crate::clock;

/// Records that share one sync at most.
const GROUP: usize = 256;

/// A record to be added.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) event: Event,
    /// Told when the record is on the disk.
    pub(super) done: oneshot::Sender<Result<Location, JournalFailed>>,
}

/// Starts the thread. It ends when the last sender is gone.
pub(super) fn start(mut file: File, mut head: Head, shown: Arc<Mutex<Head>>) -> anyhow::Result<mpsc::Sender<Append>> {
    let (sender, mut receiver) = mpsc::channel(GROUP);
    let write = move || {
        let mut group = Vec::with_capacity(GROUP);
        let mut failed = false;
        while receiver.blocking_recv_many(&mut group, GROUP) > 0 {
            let written = if failed { Err(JournalFailed) } else { write_group(&mut file, &mut head, &group) };
            failed = written.is_err();
            if !failed {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = head;
            }
            for (position, Append { done, .. }) in group.drain(..).enumerate() {
                let result = written.as_ref().map_err(|failed| *failed);
                let result = result.and_then(|locations| locations.get(position).copied().ok_or(JournalFailed));
                // Whoever waited may have gone away; the record stays.
                let _ = done.send(result);
            }
        }
    };
    std::thread::Builder::new().name("journal".into()).spawn(write).context("cannot start the journal's thread")?;
    Ok(sender)
}

fn write_group(file: &mut File, head: &mut Head, group: &[Append]) -> Result<Vec<Location>, JournalFailed> {
    let at = clock::now();
    let (mut bytes, mut locations, mut next) = (Vec::new(), Vec::with_capacity(group.len()), *head);
    for Append { event, .. } in group {
        let previous = Base64Url(next.hash.to_vec());
        let record = Record { index: next.length, previous, at, event: event.clone() };
        let line = next.append(&record).map_err(|_| JournalFailed)?;
        bytes.extend_from_slice(&line.bytes);
        locations.push(line.location);
    }
    file::write(file, &bytes).map_err(|error| {
        tracing::error!(%error, "the journal cannot be written; nothing is signed any more until the signer is restarted");
        JournalFailed
    })?;
    *head = next;
    Ok(locations)
}
