//! The thread that writes the journal: takes everything that waits, chains it, writes it once, syncs it once.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use shared::base64url::Base64Url;
use tokio::sync::{mpsc, oneshot};

use super::{
    JournalFailed,
    file::{self, Head, Location, Marks},
    record::{Event, Record},
    segment,
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

/// What the thread has put on the disk, for everybody who reads.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) head: Head,
    pub(super) marks: Arc<Marks>,
}

/// The last segment, and how the next one comes to be.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) folder: PathBuf,
    /// The last segment.
    pub(super) file: File,
    pub(super) head: Head,
    /// Bytes from which on a segment gets no more lines.
    pub(super) segment_bytes: u64,
    /// The hash of the policy that holds, for every record.
    pub(super) policy: Arc<Mutex<Option<Base64Url>>>,
}

/// Starts the thread. It ends when the last sender is gone.
pub(super) fn start(mut writer: Writer, written: Arc<Mutex<Written>>) -> anyhow::Result<mpsc::Sender<Append>> {
    let (sender, mut receiver) = mpsc::channel(GROUP);
    let write = move || {
        let mut group = Vec::with_capacity(GROUP);
        let mut failed = false;
        while receiver.blocking_recv_many(&mut group, GROUP) > 0 {
            let result = if failed { Err(JournalFailed) } else { writer.write_group(&group) };
            failed = result.is_err();
            if let Ok(locations) = &result {
                let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                written.head = writer.head;
                let marks = Arc::make_mut(&mut written.marks);
                locations.iter().for_each(|location| marks.note(location));
            }
            for (position, Append { done, .. }) in group.drain(..).enumerate() {
                let result = result.as_ref().map_err(|failed| *failed);
                let result = result.and_then(|locations| locations.get(position).copied().ok_or(JournalFailed));
                // Whoever waited may have gone away; the record stays.
                let _ = done.send(result);
            }
        }
    };
    std::thread::Builder::new().name("journal".into()).spawn(write).context("cannot start the journal's thread")?;
    Ok(sender)
}

impl Writer {
    /// Puts records on the disk, in this order.
    pub(super) fn write_group(&mut self, group: &[Append]) -> Result<Vec<Location>, JournalFailed> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the journal cannot be written; nothing is signed any more until the signer is restarted");
            JournalFailed
        };
        if self.head.bytes >= self.segment_bytes {
            self.rotate().map_err(|error| failed(&format!("{error:#}")))?;
        }
        let at = clock::now();
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut bytes, mut locations, mut next) = (Vec::new(), Vec::with_capacity(group.len()), self.head);
        for Append { event, .. } in group {
            let previous = Base64Url(next.hash.to_vec());
            let record = Record { index: next.length, previous, at, policy: policy.clone(), event: event.clone() };
            let line = next.append(&record).map_err(|error| failed(&error))?;
            bytes.extend_from_slice(&line.bytes);
            locations.push(line.location);
        }
        file::write(&mut self.file, &bytes).map_err(|error| failed(&error))?;
        self.head = next;
        Ok(locations)
    }

    /// Goes on in a new segment. The last one is on the disk to its last line: every group was.
    fn rotate(&mut self) -> anyhow::Result<()> {
        let mut next = self.head;
        next.next_segment();
        self.file = segment::create(&self.folder, next.segment)?;
        tracing::info!(
            segment = segment::name(next.segment),
            records = next.length,
            "the journal goes on in a new segment"
        );
        self.head = next;
        Ok(())
    }
}
