//! The journal's file: lines that are only ever added, read back and verified at start.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::record::{BEFORE_THE_FIRST, BadRecord, LineHash, Record, hash};
use crate::files;

/// Where a line is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The record's index.
    pub(crate) index: u64,
    offset: u64,
    length: usize,
}

/// The end of a journal: what the next record continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of records.
    pub(crate) length: u64,
    /// Hash of the last line.
    pub(crate) hash: LineHash,
    /// Bytes of all whole lines.
    bytes: u64,
}

/// A line that is ready to be written.
#[derive(Debug)]
pub(crate) struct Line {
    /// The line with its newline.
    pub(crate) bytes: Vec<u8>,
    /// Where it will be.
    pub(crate) location: Location,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A record is not what the one before it says must follow.
    #[error(transparent)]
    Bad(#[from] BadRecord),
    /// The file itself.
    #[error("the journal cannot be read: {0}")]
    File(#[from] std::io::Error),
}

impl Head {
    /// The end of a journal without records.
    pub(crate) const EMPTY: Self = Self { length: 0, hash: BEFORE_THE_FIRST, bytes: 0 };

    /// Makes the next line, and moves on behind it.
    pub(crate) fn append(&mut self, record: &Record) -> serde_json::Result<Line> {
        let mut bytes = serde_json::to_vec(record)?;
        let location = Location { index: self.length, offset: self.bytes, length: bytes.len() };
        self.advance(&bytes);
        bytes.push(b'\n');
        Ok(Line { bytes, location })
    }

    fn advance(&mut self, line: &[u8]) {
        self.hash = hash(line);
        self.length = self.length.saturating_add(1);
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(1);
    }
}

/// The one file of a journal.
pub(crate) fn path(state: &Path) -> PathBuf {
    state.join("journal").join("00000000.jsonl")
}

/// Reads every whole line in order and gives each record with its place to `each`. Says how many bytes of a torn last line
/// follow: what a crash in the middle of a write leaves, from which nothing was ever answered.
pub(crate) fn read(
    file: &mut File,
    mut each: impl FnMut(Record, Location) -> Result<(), BadRecord>,
) -> Result<(Head, u64), Unreadable> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut head, mut line) = (Head::EMPTY, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if line.pop_if(|last| *last == b'\n').is_none() {
            return Ok((head, u64::try_from(read).unwrap_or(u64::MAX)));
        }
        let record = Record::parse(&line, head.length, &head.hash)?;
        let location = Location { index: head.length, offset: head.bytes, length: line.len() };
        head.advance(&line);
        each(record, location)?;
    }
}

/// Opens the journal to be added to, and makes it if there is none.
pub(crate) fn open(state: &Path) -> anyhow::Result<File> {
    let path = path(state);
    let folder = path.parent().context("the journal has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    files::sync_folder_of(folder)?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    files::sync_folder_of(&path)?;
    Ok(file)
}

/// Cuts off what follows the last whole line.
pub(crate) fn cut(file: &File, head: &Head) -> std::io::Result<()> {
    file.set_len(head.bytes)?;
    file.sync_all()
}

/// Writes lines behind the last one, through to the disk.
pub(crate) fn write(file: &mut File, lines: &[u8]) -> std::io::Result<()> {
    file.write_all(lines)?;
    file.sync_data()
}

/// Reads one record again.
pub(crate) fn read_at(file: &File, location: &Location) -> std::io::Result<Record> {
    let mut line = vec![0; location.length];
    file.read_exact_at(&mut line, location.offset)?;
    serde_json::from_slice(&line).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// Copies the whole lines of a journal.
pub(crate) fn copy(file: &mut File, head: &Head, out: &mut impl Write) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    std::io::copy(&mut file.take(head.bytes), out)?;
    out.flush()
}
