//! The lines of a journal that may be in use, from any record on.

use std::{
    fs::File,
    io::{BufRead, BufReader, Error, ErrorKind, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{record::Record, segment};

/// Bytes that are read at once.
const PIECE: usize = 1 << 16;

/// From where a line is reached: a line that is known, and how many follow before the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) skip: u64,
}

/// Lines in order, across segments. Whoever asks knows how many there are: behind the last one is an error.
#[derive(Debug)]
pub(crate) struct Lines {
    folder: PathBuf,
    segment: u32,
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    /// Moves to a line. Reads as many as must be skipped.
    pub(crate) fn open(folder: &Path, Start { segment, offset, skip }: Start) -> std::io::Result<Self> {
        let mut file = segment::open(folder, segment)?;
        file.seek(SeekFrom::Start(offset))?;
        let reader = BufReader::with_capacity(PIECE, file);
        let mut lines = Self { folder: folder.to_owned(), segment, reader, line: Vec::new() };
        for _ in 0..skip {
            lines.read()?;
        }
        Ok(lines)
    }

    /// The next line with its newline.
    pub(crate) fn read(&mut self) -> std::io::Result<&[u8]> {
        self.line.clear();
        while self.reader.read_until(b'\n', &mut self.line)? == 0 {
            self.segment = self.segment.saturating_add(1);
            self.reader = BufReader::with_capacity(PIECE, segment::open(&self.folder, self.segment)?);
        }
        Ok(&self.line)
    }

    /// The next record, which has this index.
    pub(crate) fn record(&mut self, index: u64) -> std::io::Result<Record> {
        let foreign = || Error::new(ErrorKind::InvalidData, "the journal's file has changed");
        let record: Record = serde_json::from_slice(self.read()?).map_err(|_| foreign())?;
        if record.index == index { Ok(record) } else { Err(foreign()) }
    }
}
