//! The journal: the truth about what this signer has signed and revoked. Append-only, hash-chained, on disk before anything is
//! answered from it. One thread writes; records that wait at the same time share one `fdatasync`.

pub(crate) mod file;
pub(crate) mod record;
mod writer;

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::{
    file::{Head, Location},
    record::{BadRecord, Event, Fault, Intent, Record, RefusedRequest, RevokedCertificate, Signed, SignedStatus},
};
use crate::{ceremony::hex, exit::Final};

/// A journal that is open for writing. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    queue: mpsc::Sender<writer::Append>,
    head: Arc<Mutex<Head>>,
    file: Arc<File>,
    /// Held as long as anybody can write.
    _lock: Arc<Flock<File>>,
}

/// The journal cannot be written or read. After a failed write nothing is written any more: what is on the disk is unknown
/// until the next start has verified it.
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
    /// Bytes of a torn last line.
    torn_bytes: u64,
}

impl Journal {
    /// Opens a journal, verifies all of it and gives each record to `each`, in order.
    ///
    /// # Errors
    /// When another daemon has the state, and when a record is bad; the message names the first bad one.
    pub(crate) fn open(
        state: &Path,
        each: impl FnMut(Record, Location) -> Result<(), BadRecord>,
    ) -> anyhow::Result<Self> {
        let lock = lock(state)?;
        let mut file = file::open(state)?;
        let (head, torn) = file::read(&mut file, each).operator_must_act()?;
        if torn > 0 {
            tracing::warn!(bytes = torn, record = head.length, "the journal's last line is torn; it is cut off");
            file::cut(&file, &head).context("cannot cut the journal's torn last line")?;
        }
        tracing::info!(records = head.length, head = hex(&head.hash), "the journal is whole");
        let reader = Arc::new(file.try_clone()?);
        let shared_head = Arc::new(Mutex::new(head));
        let queue = writer::start(file, head, Arc::clone(&shared_head))?;
        Ok(Self { queue, head: shared_head, file: reader, _lock: Arc::new(lock) })
    }

    /// Adds a record and waits until it is on the disk.
    pub(crate) async fn append(&self, event: Event) -> Result<Location, JournalFailed> {
        let (done, wait) = oneshot::channel();
        self.queue.send(writer::Append { event, done }).await.map_err(|_| JournalFailed)?;
        wait.await.map_err(|_| JournalFailed)?
    }

    /// Reads a record again. Blocks for one read of a file that is usually in memory.
    pub(crate) fn read(&self, location: &Location) -> Result<Record, JournalFailed> {
        file::read_at(&self.file, location).map_err(|error| {
            tracing::error!(%error, index = location.index, "a record of the journal cannot be read again");
            JournalFailed
        })
    }

    /// Number of records on disk, and the hash of the last.
    pub(crate) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Verifies a journal that may be in use.
pub(crate) fn verify(state: &Path) -> anyhow::Result<Summary> {
    let path = file::path(state);
    let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let (mut intents, mut signed, mut revoked) = (0_u64, 0_u64, 0_u64);
    let count = |record: Record, _| {
        match record.event {
            Event::Intent(_) => intents = intents.saturating_add(1),
            Event::Signed(_) => signed = signed.saturating_add(1),
            Event::Revoked(_) => revoked = revoked.saturating_add(1),
            Event::Refused(_) | Event::Response(_) => {}
        }
        Ok(())
    };
    let (head, torn_bytes) = file::read(&mut file, count).operator_must_act()?;
    Ok(Summary { records: head.length, head: hex(&head.hash), intents, signed, revoked, torn_bytes })
}

/// Verifies a journal and copies its whole lines.
pub(crate) fn export(state: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let path = file::path(state);
    let mut file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let (head, _) = file::read(&mut file, |_, _| Ok(())).operator_must_act()?;
    file::copy(&mut file, &head, out).context("cannot copy the journal")
}

fn lock(state: &Path) -> anyhow::Result<Flock<File>> {
    std::fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let path = state.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, nix::errno::Errno::EAGAIN)) => bail!("another signer uses {}", state.display()),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, head, intents, signed, revoked, torn_bytes } = self;
        write!(f, "{records} records are good; {intents} intents, {signed} signed, {revoked} revoked; head {head}")?;
        if *torn_bytes > 0 { write!(f, "; a torn last line of {torn_bytes} bytes follows") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
