//! Reading a whole journal: segment by segment, with the lines of each piece taken apart by all processors at once, and the chain
//! followed in order.

use std::{
    fs::File,
    io::{Error, Read, Write},
    num::NonZero,
    path::Path,
    thread,
};

use super::{
    file::{Head, Location, Marks, Unreadable},
    record::{BadRecord, Fault, LineHash, Record, hash},
    segment,
};

/// Bytes that are read at once.
const PIECE: usize = 8 << 20;

/// Lines below which one thread is enough.
const FEW: usize = 64;

/// A journal that is good from its first to its last line.
#[derive(Debug)]
pub(crate) struct Whole {
    /// Where it ends.
    pub(crate) head: Head,
    pub(crate) marks: Marks,
    /// Number of segments.
    pub(crate) segments: u32,
    /// Bytes of a torn last line: what a crash in the middle of a write leaves, from which nothing was ever answered.
    pub(crate) torn: u64,
}

/// A line as far as it can be judged without the one before it.
struct Parsed {
    record: Option<Record>,
    hash: LineHash,
    length: usize,
}

/// Reads every whole line in order and gives each record with its place to `each`.
///
/// # Errors
/// Names the first record that is bad, or the segment that is missing or foreign.
pub(crate) fn read(
    folder: &Path,
    mut each: impl FnMut(Record, Location) -> Result<(), BadRecord>,
) -> Result<Whole, Unreadable> {
    let segments = segment::count(folder)?;
    let mut whole = Whole { head: Head::EMPTY, marks: Marks::default(), segments, torn: 0 };
    for number in 0..segments {
        if number > 0 {
            whole.head.next_segment();
        }
        let file = segment::open(folder, number)?;
        let rest = lines(file, |parsed| whole.take(parsed, &mut each))?;
        whole.torn = u64::try_from(rest).unwrap_or(u64::MAX);
        if rest > 0 && number.saturating_add(1) < segments {
            return Err(whole.bad(Fault::Form));
        }
    }
    Ok(whole)
}

/// Copies the whole lines of a journal that was read.
pub(crate) fn copy(folder: &Path, whole: &Whole, out: &mut impl Write) -> std::io::Result<()> {
    for number in 0..whole.segments {
        let bytes = if number == whole.head.segment { whole.head.bytes } else { u64::MAX };
        std::io::copy(&mut segment::open(folder, number)?.take(bytes), out)?;
    }
    out.flush()
}

/// Bytes of the whole lines of a journal that was read.
pub(crate) fn bytes(folder: &Path, whole: &Whole) -> std::io::Result<u64> {
    (0..whole.head.segment).try_fold(whole.head.bytes, |sum, number| {
        Ok(sum.saturating_add(segment::open(folder, number)?.metadata()?.len()))
    })
}

impl Whole {
    fn take(
        &mut self,
        parsed: Parsed,
        each: &mut impl FnMut(Record, Location) -> Result<(), BadRecord>,
    ) -> Result<(), Unreadable> {
        let record = parsed.record.ok_or_else(|| self.bad(Fault::Form))?;
        record.continues(self.head.length, &self.head.hash).map_err(|fault| self.bad(fault))?;
        let location = self.head.location(parsed.length);
        self.marks.note(&location);
        each(record, location).map_err(|bad| self.bad(bad.fault))?;
        self.head.advance(parsed.length, parsed.hash);
        Ok(())
    }

    /// The record that would be next is bad.
    fn bad(&self, fault: Fault) -> Unreadable {
        let bad = BadRecord { index: self.head.length, fault };
        Unreadable::Bad { segment: segment::name(self.head.segment), bad }
    }
}

/// Gives every whole line to `take`, in order. Says how many bytes follow the last.
fn lines(file: File, mut take: impl FnMut(Parsed) -> Result<(), Unreadable>) -> Result<usize, Unreadable> {
    let mut buffer = Vec::new();
    loop {
        let room = u64::try_from(PIECE).unwrap_or(u64::MAX);
        let read = (&file).take(room).read_to_end(&mut buffer)?;
        let end = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last.saturating_add(1));
        let (whole, rest) = buffer.split_at(end);
        parse_all(whole)?.into_iter().try_for_each(&mut take)?;
        if read == 0 {
            return Ok(rest.len());
        }
        buffer.drain(..end);
    }
}

/// Takes whole lines apart, all processors together.
fn parse_all(bytes: &[u8]) -> Result<Vec<Parsed>, Error> {
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.len() <= FEW {
        return Ok(lines.into_iter().map(parse).collect());
    }
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = lines.chunks(lines.len().div_ceil(processors));
    thread::scope(|scope| {
        let parse_part = |part: &[&[u8]]| part.iter().copied().map(parse).collect::<Vec<_>>();
        let running: Vec<_> = parts.map(|part| scope.spawn(move || parse_part(part))).collect();
        let mut parsed = Vec::with_capacity(lines.len());
        for part in running {
            parsed.extend(part.join().map_err(|_| Error::other("a thread that took lines apart has failed"))?);
        }
        Ok(parsed)
    })
}

fn parse(line: &[u8]) -> Parsed {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Parsed { record: serde_json::from_slice(line).ok(), hash: hash(line), length: line.len() }
}
