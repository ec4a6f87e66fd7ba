//! The journal: the truth about what this signer has signed and revoked. Append-only, hash-chained, on disk before anything is
//! answered from it. One thread writes; records that wait at the same time share one `fdatasync`.

mod ahead;
pub(crate) mod checkpoint;
pub(crate) mod file;
mod lines;
pub(crate) mod read;
pub(crate) mod record;
mod reserve;
pub(crate) mod search;
mod segment;
pub(crate) mod stats;
mod writer;

use std::{
    fs::{DirBuilder, File, Permissions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use shared::{
    base64url::Base64Url,
    checkpoint::{Checkpoint, JournalReply},
    jwk::Thumbprint,
    timestamp::Timestamp,
};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::{
    ahead::Ahead,
    file::{Head, Location, Marks},
    lines::Lines,
    record::{
        BadRecord, BoundAccount, Event, Fault, Intent, JournaledCrl, JournaledResponder, Record, RefusedRequest,
        RevokedBy, RevokedCertificate, SettledOrder, Signed, SignedStatus,
    },
    search::{Query, Search},
    stats::{Counter, Stats},
    writer::Room,
};
use self::{
    read::Whole,
    reserve::Reserve,
    writer::{Append, Message, Writer, Written},
};
use crate::{ceremony::hex, exit::Final, files, policy::PolicyHash};

/// Bytes from which on a segment gets no more records, where the configuration does not say.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// Bytes that are kept for revocations on a full disk, where the configuration does not say.
pub(crate) const RESERVE_BYTES: u64 = 8 << 20;

/// A journal that is open for writing. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    queue: mpsc::Sender<writer::Message>,
    room: watch::Receiver<Room>,
    written: Arc<Mutex<Written>>,
    /// The hash of the policy that holds, for every record.
    policy: Arc<Mutex<Option<Base64Url>>>,
    /// The checkpoint that is on the disk.
    stored: Arc<Mutex<Option<Checkpoint>>>,
    state: Arc<Path>,
    folder: Arc<Path>,
    /// Held as long as anybody can write.
    _lock: Arc<Flock<File>>,
}

/// The journal cannot be written or read. A record that was not written is not on the disk, or nothing is written any more before the next
/// start has verified what is (see [`Room`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be written or read")]
pub(crate) struct JournalFailed;

/// What `signer journal verify` says.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Number of records, all good.
    records: u64,
    /// Hash of the last one, hex.
    head: String,
    /// Certificates that were decided on.
    intents: u64,
    /// Certificates that were signed.
    signed: u64,
    /// Certificates that were revoked.
    revoked: u64,
    /// Of these, those that no client asked for.
    disowned: u64,
    /// Bytes of a torn last line.
    torn_bytes: u64,
    /// Files that they are in.
    segments: u32,
}

impl Journal {
    /// Opens a journal, verifies all of it and gives each record to `each`, in order.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    #[cfg(test)]
    pub(crate) fn open(
        state: &Path,
        each: impl FnMut(Record, Location) -> Result<(), BadRecord>,
    ) -> anyhow::Result<Self> {
        Self::open_with(state, SEGMENT_BYTES, RESERVE_BYTES, each)
    }

    /// The same; a segment of so many bytes gets no more records, and so many are kept for revocations on a full disk.
    ///
    /// # Errors
    /// When another daemon has the state; when a record is bad, a segment is missing, or the journal does not continue its checkpoint:
    /// the message names it.
    pub(crate) fn open_with(
        state: &Path,
        segment_bytes: u64,
        reserve_bytes: u64,
        each: impl FnMut(Record, Location) -> Result<(), BadRecord>,
    ) -> anyhow::Result<Self> {
        let lock = lock(state)?;
        let folder = segment::folder(state);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        files::sync_folder_of(&folder)?;
        let checkpoint = checkpoint::load(state).operator_must_act()?;
        let whole = read::read(&folder, each).operator_must_act()?;
        verify_checkpoint(&folder, &whole, checkpoint.as_ref()).operator_must_act()?;
        let Whole { head, marks, segments, torn } = whole;
        let file = if segments == 0 {
            segment::create(&folder, 0)?
        } else {
            segment::open_last(&folder, head.segment).context("cannot open the journal's last segment")?
        };
        if torn > 0 {
            tracing::warn!(bytes = torn, record = head.length, "the journal's last line is torn; it is cut off");
            let cut = file.set_len(head.bytes).and_then(|()| file.sync_all());
            cut.context("cannot cut the journal's torn last line")?;
        }
        tracing::info!(records = head.length, head = hex(&head.hash), "the journal is whole");
        let written = Arc::new(Mutex::new(Written { head, marks: Arc::new(marks) }));
        let policy = Arc::default();
        let reserve = Reserve::new(state, reserve_bytes);
        let writer = Writer { folder: folder.clone(), file, head, segment_bytes, policy: Arc::clone(&policy), reserve };
        let (sender, room) = watch::channel(writer.room());
        let journal = Self {
            queue: writer::start(writer, Arc::clone(&written), sender)?,
            room,
            written,
            policy,
            stored: Arc::new(Mutex::new(checkpoint)),
            state: state.into(),
            folder: folder.into(),
            _lock: Arc::new(lock),
        };
        journal.store_checkpoint();
        Ok(journal)
    }

    /// From now on every record names the policy with this hash.
    pub(crate) fn name_policy(&self, hash: PolicyHash) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(Base64Url(hash.to_vec()));
    }

    /// Adds a record and waits until it is on the disk.
    pub(crate) async fn append(&self, event: Event) -> Result<Location, JournalFailed> {
        let (done, wait) = oneshot::channel();
        self.queue.send(Message::Append(Append { event, done })).await.map_err(|_| JournalFailed)?;
        wait.await.map_err(|_| JournalFailed)?
    }

    /// Returns what can be written now.
    pub(crate) fn room(&self) -> Room {
        *self.room.borrow()
    }

    /// Waits until nothing can be written before the next start.
    pub(crate) async fn broken(&self) {
        let mut room = self.room.clone();
        if room.wait_for(|room| *room == Room::Broken).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Looks whether there is space again, where there was none.
    pub(crate) async fn look(&self) {
        if self.room() == Room::Full {
            // A thread that has ended writes nothing anyway.
            let _ = self.queue.send(Message::Look).await;
        }
    }

    /// Reads a record again. Blocks for one read of a file that is usually in memory.
    pub(crate) fn read(&self, location: &Location) -> Result<Record, JournalFailed> {
        file::read_at(&self.folder, location).map_err(|error| {
            tracing::error!(%error, index = location.index, "a record of the journal cannot be read again");
            JournalFailed
        })
    }

    /// The lines from a record on, which must be there. Reads a few hundred lines before it.
    pub(crate) fn lines(&self, index: u64) -> Result<Lines, JournalFailed> {
        let start = self.written().marks.start(index).ok_or(JournalFailed)?;
        Lines::open(&self.folder, start).map_err(|error| {
            tracing::error!(%error, index, "a record of the journal cannot be read again");
            JournalFailed
        })
    }

    /// The record of this index, which must be there. Reads a few hundred lines before it.
    pub(crate) fn record(&self, index: u64) -> Result<Record, JournalFailed> {
        self.lines(index)?.record(index).map_err(|error| {
            tracing::error!(%error, index, "a record of the journal cannot be read again");
            JournalFailed
        })
    }

    /// Number of records on disk, and the hash of the last.
    pub(crate) fn head(&self) -> Head {
        self.written().head
    }

    /// The verb `journal`: the head when there were so many records, and the present one. Reads a few hundred lines.
    pub(crate) fn heads(&self, length: u64) -> Result<JournalReply, JournalFailed> {
        let written = self.written();
        let (head, marks) = (written.head, Arc::clone(&written.marks));
        drop(written);
        let now = head.checkpoint();
        if length > head.length {
            return Ok(JournalReply::Shorter { now });
        }
        let then = head_at(&self.folder, &head, &marks, length).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), length, "the journal cannot be read");
            JournalFailed
        })?;
        Ok(JournalReply::Heads { then, now })
    }

    /// Puts the present checkpoint on the disk, unless it is there.
    pub(crate) fn store_checkpoint(&self) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.head().checkpoint();
        if stored.as_ref() == Some(&now) {
            return;
        }
        match checkpoint::store(&self.state, &now) {
            Ok(()) => *stored = Some(now),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the journal's checkpoint is not stored"),
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies a journal that may be in use, and that it continues its checkpoint and another one, where one is given.
pub(crate) fn verify(state: &Path, kept: Option<&Checkpoint>) -> anyhow::Result<Summary> {
    // Before the journal, which may grow meanwhile.
    let checkpoint = checkpoint::load(state).operator_must_act()?;
    let folder = segment::folder(state);
    let (mut intents, mut signed, mut revoked, mut disowned) = (0_u64, 0_u64, 0_u64, 0_u64);
    let count = |record: Record, _| {
        match record.event {
            Event::Intent(_) => intents = intents.saturating_add(1),
            Event::Signed(_) => signed = signed.saturating_add(1),
            Event::Revoked(record) => {
                revoked = revoked.saturating_add(1);
                disowned = disowned.saturating_add(u64::from(record.right == RevokedBy::Disowned));
            }
            Event::Refused(_)
            | Event::Bound(_)
            | Event::Response(_)
            | Event::Crl(_)
            | Event::Responder(_)
            | Event::Settled(_)
            | Event::Stops(_) => {}
        }
        Ok(())
    };
    let whole = read::read(&folder, count).operator_must_act()?;
    for checkpoint in [checkpoint.as_ref(), kept] {
        verify_checkpoint(&folder, &whole, checkpoint).operator_must_act()?;
    }
    let Whole { head, segments, torn: torn_bytes, .. } = whole;
    let (records, head) = (head.length, hex(&head.hash));
    Ok(Summary { records, head, intents, signed, revoked, disowned, torn_bytes, segments })
}

/// Verifies a journal and copies its whole lines.
pub(crate) fn export(state: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let folder = segment::folder(state);
    let whole = read::read(&folder, |_, _| Ok(())).operator_must_act()?;
    read::copy(&folder, &whole, out).context("cannot copy the journal")
}

/// Verifies a journal and prints the records that are asked for.
pub(crate) fn search(state: &Path, query: Query, out: &mut impl Write) -> anyhow::Result<()> {
    let (mut search, mut failed) = (Search::new(query), None);
    let print = |record: Record, _| {
        let printed = search
            .find(&record)
            .and_then(|found| if found { serde_json::to_string(&record).map(Some) } else { Ok(None) });
        let printed = printed.map_err(std::io::Error::from);
        let printed = printed.and_then(|line| line.map_or(Ok(()), |line| writeln!(out, "{line}")));
        failed = failed.take().or(printed.err());
        Ok(())
    };
    read::read(&segment::folder(state), print).operator_must_act()?;
    failed.map_or(Ok(()), |error| Err(error).context("cannot print"))
}

/// Verifies a journal and gives the binding that it last says an account with this key has; nothing for one that has another key now.
pub(crate) fn binding_of(state: &Path, account: Thumbprint) -> anyhow::Result<Option<String>> {
    let mut found = None;
    let look = |record: Record, _| {
        if let Event::Bound(bound) = record.event {
            if bound.account.0 == account.0 {
                found = Some(bound.binding);
            } else if bound.follows.is_some_and(|old| old.0 == account.0) {
                found = None;
            }
        }
        Ok(())
    };
    read::read(&segment::folder(state), look).operator_must_act()?;
    Ok(found)
}

/// Verifies a journal and sums it up.
pub(crate) fn stats(state: &Path, now: Timestamp) -> anyhow::Result<Stats> {
    let (folder, mut counter, mut failed) = (segment::folder(state), Counter::new(now), None);
    let count = |record: Record, _| {
        failed = failed.take().or(counter.count(&record).err());
        Ok(())
    };
    let whole = read::read(&folder, count).operator_must_act()?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let bytes = read::bytes(&folder, &whole).context("cannot measure the journal")?;
    Ok(counter.end(&whole, bytes))
}

fn verify_checkpoint(folder: &Path, whole: &Whole, checkpoint: Option<&Checkpoint>) -> anyhow::Result<()> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    checkpoint::compare(checkpoint, &whole.head, |length| head_at(folder, &whole.head, &whole.marks, length))
}

/// The head when there were so many records, of which there are at least so many.
fn head_at(folder: &Path, head: &Head, marks: &Marks, length: u64) -> anyhow::Result<Checkpoint> {
    if length == head.length {
        return Ok(head.checkpoint());
    }
    let hash = marks.previous_of(folder, length).with_context(|| format!("record {length}"))?;
    Ok(Checkpoint { length, head: Base64Url(hash.to_vec()) })
}

fn lock(state: &Path) -> anyhow::Result<Flock<File>> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
    made.with_context(|| format!("cannot make {}", state.display()))?;
    let describe = || format!("cannot look at {}", state.display());
    if files::others_may_replace(state).with_context(describe)? {
        let detail = format!("others may replace files in the state folder {}: set its mode to 0700", state.display());
        return Err(anyhow::Error::msg(detail)).operator_must_act();
    }
    let path = state.join("lock");
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    // Who may open the file may lock it, and so keep the daemon from its start. Earlier versions made it readable.
    let closed = file.set_permissions(Permissions::from_mode(0o600));
    closed.with_context(|| format!("cannot set the mode of {} to 0600", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EAGAIN)) => bail!("another signer uses {}", state.display()),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, head, intents, signed, revoked, disowned, torn_bytes, segments } = self;
        write!(f, "{records} records are good; {intents} intents, {signed} signed, {revoked} revoked")?;
        if *disowned > 0 {
            write!(f, " ({disowned} by no client)")?;
        }
        write!(f, "; head {head}")?;
        if *segments > 1 {
            write!(f, "; {segments} segments")?;
        }
        if *torn_bytes > 0 { write!(f, "; a torn last line of {torn_bytes} bytes follows") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
