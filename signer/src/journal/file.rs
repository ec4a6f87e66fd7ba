//! The journal's lines: where they are in its segments, how they are written, and how one is read again.

use std::{
    fs::File,
    io::{Error, ErrorKind, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use serde::Deserialize;
use shared::base64url::Base64Url;

use super::{
    lines::{Lines, Start},
    record::{BEFORE_THE_FIRST, BadRecord, LineHash, Record, hash},
    segment,
};

/// Records between two marks.
const MARKED: u64 = 256;

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The record's index.
    pub(crate) index: u64,
    offset: u64,
    segment: u32,
    length: u32,
}

/// The end of a journal: what the next record continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Number of records.
    pub(crate) length: u64,
    /// Hash of the last line.
    pub(crate) hash: LineHash,
    /// The segment that is added to.
    pub(crate) segment: u32,
    /// Bytes of all whole lines of that segment.
    pub(crate) bytes: u64,
}

/// A line that is ready to be written.
#[derive(Debug)]
pub(crate) struct Line {
    /// The line with its newline.
    pub(crate) bytes: Vec<u8>,
    /// Where it will be.
    pub(crate) location: Location,
}

/// Where every so many lines begin, so that any line is found without reading all before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Vec<(u32, u64)>);

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A record is not what the one before it says must follow.
    #[error("{segment}: {bad}")]
    Bad {
        /// The file.
        segment: String,
        /// The record.
        bad: BadRecord,
    },
    /// A file that must be there.
    #[error("the journal's segment {0} is missing")]
    Missing(String),
    /// A file that has no place there.
    #[error("{0} in the journal's folder is no segment of it")]
    Foreign(String),
    /// The files themselves.
    #[error("the journal cannot be read: {0}")]
    File(#[from] Error),
}

impl Head {
    /// The end of a journal without records.
    pub(crate) const EMPTY: Self = Self { length: 0, hash: BEFORE_THE_FIRST, segment: 0, bytes: 0 };

    /// Makes the next line, and moves on behind it.
    pub(crate) fn append(&mut self, record: &Record) -> serde_json::Result<Line> {
        let mut bytes = serde_json::to_vec(record)?;
        let location = self.location(bytes.len());
        self.advance(bytes.len(), hash(&bytes));
        bytes.push(b'\n');
        Ok(Line { bytes, location })
    }

    /// Where the next line is, when it has so many bytes without its newline.
    pub(crate) fn location(&self, length: usize) -> Location {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Location { index: self.length, offset: self.bytes, segment: self.segment, length }
    }

    /// Moves on behind a line of so many bytes without its newline.
    pub(crate) fn advance(&mut self, length: usize, hash: LineHash) {
        self.hash = hash;
        self.length = self.length.saturating_add(1);
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(1);
    }

    /// Moves on to the beginning of the next segment.
    pub(crate) fn next_segment(&mut self) {
        self.segment = self.segment.saturating_add(1);
        self.bytes = 0;
    }
}

impl Marks {
    /// Takes in where a line begins, in order.
    pub(crate) fn note(&mut self, location: &Location) {
        if location.index.is_multiple_of(MARKED) {
            self.0.push((location.segment, location.offset));
        }
    }

    /// From where the record of this index is reached. Nothing when no line so near before it is known.
    pub(crate) fn start(&self, index: u64) -> Option<Start> {
        let (mark, skip) = (index.checked_div(MARKED)?, index.checked_rem(MARKED)?);
        let (segment, offset) = *self.0.get(usize::try_from(mark).ok()?)?;
        Some(Start { segment, offset, skip })
    }

    /// The hash that the record of this index names as the one before it: the journal's head when it had so many records. The
    /// record must be there.
    pub(crate) fn previous_of(&self, folder: &Path, index: u64) -> std::io::Result<LineHash> {
        let missing = || Error::new(ErrorKind::NotFound, "the journal has no such record");
        let mut lines = Lines::open(folder, self.start(index).ok_or_else(missing)?)?;
        previous(lines.read()?, index)
    }
}

/// Writes lines behind the last one, through to the disk.
pub(crate) fn write(file: &mut File, lines: &[u8]) -> std::io::Result<()> {
    file.write_all(lines)?;
    file.sync_data()
}

/// Reads one record again.
pub(crate) fn read_at(folder: &Path, location: &Location) -> std::io::Result<Record> {
    let mut line = vec![0; usize::try_from(location.length).unwrap_or(usize::MAX)];
    segment::open(folder, location.segment)?.read_exact_at(&mut line, location.offset)?;
    serde_json::from_slice(&line).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// The link of the chain in a line.
fn previous(line: &[u8], index: u64) -> std::io::Result<LineHash> {
    /// A record without what it says.
    #[derive(Deserialize)]
    struct Link {
        index: u64,
        previous: Base64Url,
    }
    let foreign = || Error::new(ErrorKind::InvalidData, "the journal's file has changed");
    let link: Link = serde_json::from_slice(line).map_err(|_| foreign())?;
    let hash = LineHash::try_from(link.previous.0).map_err(|_| foreign())?;
    if link.index == index { Ok(hash) } else { Err(foreign()) }
}
