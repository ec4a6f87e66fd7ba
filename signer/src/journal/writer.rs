//! The thread that writes the journal: takes everything that waits, chains it, writes it once, syncs it once.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use shared::base64url::Base64Url;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    JournalFailed,
    file::{self, Head, Location, Marks},
    record::{Event, Record},
    reserve::{self, Reserve},
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

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Message {
    /// A record.
    Append(Append),
    /// To look whether there is space again.
    Look,
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
    pub(super) reserve: Reserve,
}

/// Whether records can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// All of them.
    Free,
    /// The disk is full: only those of [`Event::is_urgent`].
    Full,
    /// None before the next start, which verifies what is on the disk.
    Broken,
}

/// Starts the thread. It ends when the last sender is gone.
pub(super) fn start(
    mut writer: Writer,
    written: Arc<Mutex<Written>>,
    room: watch::Sender<Room>,
) -> anyhow::Result<mpsc::Sender<Message>> {
    let (sender, mut receiver) = mpsc::channel(GROUP);
    let write = move || {
        let mut group = Vec::with_capacity(GROUP);
        while receiver.blocking_recv_many(&mut group, GROUP) > 0 {
            let mut appends = Vec::with_capacity(group.len());
            for message in group.drain(..) {
                match message {
                    Message::Append(append) => appends.push(append),
                    Message::Look => writer.look(&room),
                }
            }
            for (append, result) in writer.append(appends, &room, &written) {
                // The task that waited may have ended; the record stays.
                let _ = append.done.send(result);
            }
        }
    };
    std::thread::Builder::new().name("journal".into()).spawn(write).context("cannot start the journal's thread")?;
    Ok(sender)
}

impl Writer {
    /// Writes what can be written, and returns what became of each record.
    fn append(
        &mut self,
        mut appends: Vec<Append>,
        room: &watch::Sender<Room>,
        written: &Mutex<Written>,
    ) -> Vec<(Append, Result<Location, JournalFailed>)> {
        let mut results = Vec::with_capacity(appends.len());
        // Once for all, and once more for those that the reserve is for.
        for _ in 0..2 {
            let now = *room.borrow();
            let (taken, refused): (Vec<_>, Vec<_>) = appends.into_iter().partition(|append| match now {
                Room::Free => true,
                Room::Full => append.event.is_urgent(),
                Room::Broken => false,
            });
            results.extend(refused.into_iter().map(|append| (append, Err(JournalFailed))));
            if taken.is_empty() {
                return results;
            }
            match self.write_group(&taken) {
                Ok(locations) => {
                    let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
                    written.head = self.head;
                    let marks = Arc::make_mut(&mut written.marks);
                    locations.iter().for_each(|location| marks.note(location));
                    results.extend(taken.into_iter().zip(locations.into_iter().map(Ok)));
                    return results;
                }
                Err(error) => {
                    let next = self.after(&error);
                    room.send_replace(next);
                    appends = taken;
                    if next == Room::Broken || now == Room::Full {
                        break;
                    }
                }
            }
        }
        results.extend(appends.into_iter().map(|append| (append, Err(JournalFailed))));
        results
    }

    /// Takes back what of a group is on the disk that could not be written, and gives up the reserve where the disk is full.
    fn after(&self, error: &anyhow::Error) -> Room {
        let is_full = error.downcast_ref::<std::io::Error>().is_some_and(reserve::is_full);
        let cut = || self.file.set_len(self.head.bytes).and_then(|()| self.file.sync_all());
        if !is_full || cut().inspect_err(|error| tracing::error!(%error, "the journal cannot be cut")).is_err() {
            tracing::error!(
                error = format!("{error:#}"),
                "the journal cannot be written: the signer ends, so that its next start verifies what is on the disk"
            );
            return Room::Broken;
        }
        tracing::error!(
            error = format!("{error:#}"),
            "the disk of the state folder is full: nothing but revocations and their status is signed until there is space again"
        );
        if let Err(error) = self.reserve.give_up() {
            tracing::error!(%error, "the reserve cannot be given up");
        }
        Room::Full
    }

    /// Goes on with all records once there is space again.
    fn look(&self, room: &watch::Sender<Room>) {
        if *room.borrow() == Room::Full && self.reserve.take().is_ok() {
            tracing::warn!("the disk of the state folder has space again: certificates are signed as before");
            room.send_replace(Room::Free);
        }
    }

    /// Takes the reserve at the start, and returns what can be written.
    pub(super) fn room(&self) -> Room {
        match self.reserve.take() {
            Ok(()) => Room::Free,
            Err(error) if reserve::is_full(&error) => {
                tracing::error!(
                    %error,
                    "the disk of the state folder is full: nothing but revocations and their status is signed until there is space"
                );
                Room::Full
            }
            Err(error) => {
                tracing::error!(%error, "there is no reserve: no revocation can be recorded once the disk is full");
                Room::Free
            }
        }
    }

    /// Puts records on the disk, in this order.
    ///
    /// # Errors
    /// When they cannot be written; what is on the disk behind the head is unknown then.
    pub(super) fn write_group(&mut self, group: &[Append]) -> anyhow::Result<Vec<Location>> {
        if self.head.bytes >= self.segment_bytes {
            self.rotate()?;
        }
        let at = clock::now();
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut bytes, mut locations, mut next) = (Vec::new(), Vec::with_capacity(group.len()), self.head);
        for Append { event, .. } in group {
            let previous = Base64Url(next.hash.to_vec());
            let record = Record { index: next.length, previous, at, policy: policy.clone(), event: event.clone() };
            let line = next.append(&record)?;
            bytes.extend_from_slice(&line.bytes);
            locations.push(line.location);
        }
        file::write(&mut self.file, &bytes)?;
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
