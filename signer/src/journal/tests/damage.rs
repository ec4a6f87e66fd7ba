//! Every damage to a journal of several segments is found, and the first bad record is named.

use std::{fs, path::Path};

use super::{event, open_small, reopen};
use crate::journal::{Journal, segment, verify};

/// A xorshift generator: the tests must be the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// A journal as lists of lines, one for each segment.
type Segments = Vec<Vec<String>>;

/// A closed journal of some segments with details of random lengths, without a checkpoint.
fn journal(random: &mut Random) -> (tempfile::TempDir, Segments) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let journal = open_small(folder.path());
    for number in 0..12 + random.below(30) {
        let detail = format!("{number} {}", "x".repeat(random.below(200)));
        runtime.block_on(journal.append(event(&detail))).unwrap();
    }
    drop(journal);
    let segments = load(folder.path());
    (folder, segments)
}

fn load(state: &Path) -> Segments {
    let folder = segment::folder(state);
    let lines = |number| fs::read_to_string(segment::path(&folder, number)).unwrap();
    (0..segment::count(&folder).unwrap()).map(|number| lines(number).lines().map(str::to_owned).collect()).collect()
}

fn store(state: &Path, segments: &Segments) {
    let folder = segment::folder(state);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    for (number, lines) in (0..).zip(segments) {
        fs::write(segment::path(&folder, number), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .unwrap();
    }
    let _ = fs::remove_file(state.join("checkpoint"));
}

/// The segment and the position in it of a record.
fn place(segments: &Segments, index: usize) -> (usize, usize) {
    let mut before = 0;
    for (number, lines) in segments.iter().enumerate() {
        if index < before + lines.len() {
            return (number, index - before);
        }
        before += lines.len();
    }
    panic!("no record {index}");
}

#[test]
fn every_flipped_dropped_inserted_or_swapped_record_of_a_random_journal_is_found() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut most = 0;
    for _ in 0..12 {
        let (folder, good) = journal(&mut random);
        most = most.max(good.len());
        let count = good.iter().map(Vec::len).sum::<usize>();
        for _ in 0..12 {
            // The last record alone may lose its place without being missed by the chain.
            let index = random.below(count - 1);
            let (number, position) = place(&good, index);
            let mut bad = good.clone();
            let lines = &mut bad[number];
            let first_bad = match random.below(5) {
                // One character of the record becomes another: that record, or the link of the next one.
                0 => {
                    let line = &lines[position];
                    let at = random.below(line.len());
                    let other = if line.as_bytes()[at] == b'#' { "%" } else { "#" };
                    lines[position] = format!("{}{other}{}", &line[..at], &line[at + 1..]);
                    vec![index, index + 1]
                }
                1 => {
                    lines.remove(position);
                    vec![index]
                }
                2 => {
                    let again = lines[position].clone();
                    lines.insert(position, again);
                    vec![index + 1]
                }
                3 => {
                    lines.truncate(position);
                    vec![index]
                }
                // The whole segment is another journal's.
                _ => {
                    let (other, _) = journal(&mut random);
                    bad[number] = load(other.path()).remove(0);
                    let first = good[..number].iter().map(Vec::len).sum::<usize>();
                    vec![first, first + bad[number].len()]
                }
            };
            // Cut off at the end it is a shorter journal, which only its checkpoint betrays.
            if bad.iter().map(Vec::len).sum::<usize>() <= first_bad[0] || bad[number] == good[number] {
                continue;
            }
            store(folder.path(), &bad);
            let words = format!("{:#}", verify(folder.path(), None).unwrap_err());
            let named = |index: &usize| words.contains(&format!("record {index} is bad"));
            assert!(first_bad.iter().any(named), "{first_bad:?}: {words}");
            assert_eq!(format!("{:#}", reopen(folder.path()).unwrap_err()), words, "and it is not opened");
            assert_eq!(load(folder.path()), bad, "nor touched");
        }
        store(folder.path(), &good);
        assert_eq!(verify(folder.path(), None).unwrap().records, count as u64);
    }
    assert!(most > 3, "several segments: {most}");
}

#[test]
fn a_torn_line_is_cut_off_in_the_last_segment_and_bad_in_any_other() {
    let (folder, good) = journal(&mut Random(7));
    let path = |number: usize| segment::path(&segment::folder(folder.path()), number as u32);
    let last = good.len() - 1;
    let torn = |number: usize| {
        let text = fs::read_to_string(path(number)).unwrap();
        fs::write(path(number), format!("{text}{{\"ind")).unwrap();
    };
    torn(last);
    assert_eq!(verify(folder.path(), None).unwrap().torn_bytes, 5);
    assert_eq!(reopen(folder.path()).unwrap().len(), good.iter().map(Vec::len).sum::<usize>());
    assert_eq!(load(folder.path()), good);
    torn(0);
    let words = reopen(folder.path()).unwrap_err().to_string();
    assert!(words.contains(&format!("00000000.jsonl: the journal's record {} is bad", good[0].len())), "{words}");
}

#[test]
fn a_journal_that_lost_its_end_does_not_continue_its_checkpoint() {
    let (folder, good) = journal(&mut Random(3));
    let checkpoint = fs::read(folder.path().join("checkpoint")).unwrap();
    let count = good.iter().map(Vec::len).sum::<usize>();
    // The checkpoint of an open journal is stored when it is opened and when it is told to.
    reopen(folder.path()).unwrap();
    assert_ne!(fs::read(folder.path().join("checkpoint")).unwrap(), checkpoint);
    let newest = fs::read(folder.path().join("checkpoint")).unwrap();
    for lost in [1, 2, count - 1, count] {
        let mut bad = good.clone();
        for _ in 0..lost {
            while bad.last().is_some_and(Vec::is_empty) {
                bad.pop();
            }
            bad.last_mut().unwrap().pop();
        }
        store(folder.path(), &bad);
        verify(folder.path(), None).unwrap();
        fs::write(folder.path().join("checkpoint"), &newest).unwrap();
        let words = reopen(folder.path()).unwrap_err().to_string();
        let expected = format!("the journal has {} records, but it had {count}", count - lost);
        assert!(words.contains(&expected) && words.contains("docs/journal.md"), "{words}");
        assert!(verify(folder.path(), None).unwrap_err().to_string().contains(&expected));
    }
    // Another journal, longer, with the checkpoint of this one.
    let (other, longer) = journal(&mut Random(5));
    fs::write(other.path().join("checkpoint"), format!(r#"{{"length":2,"head":"{}"}}"#, "A".repeat(43))).unwrap();
    assert!(longer.len() > 1);
    let words = reopen(other.path()).unwrap_err().to_string();
    assert!(words.contains("the journal's first 2 records are not those that were there"), "{words}");
    fs::write(other.path().join("checkpoint"), "{").unwrap();
    assert!(reopen(other.path()).unwrap_err().to_string().contains("is not a checkpoint"));
}

#[test]
fn a_crash_between_two_segments_leaves_an_empty_one_that_is_gone_on_with() {
    let (folder, good) = journal(&mut Random(11));
    segment::create(&segment::folder(folder.path()), good.len() as u32).unwrap();
    let count = good.iter().map(Vec::len).sum::<usize>();
    assert_eq!(reopen(folder.path()).unwrap().len(), count);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let journal = open_small(folder.path());
    let location = runtime.block_on(journal.append(event("next"))).unwrap();
    assert_eq!((location.index, journal.read(&location).unwrap().event), (count as u64, event("next")));
    assert_eq!(load(folder.path()).last().unwrap().len(), 1);
}

#[test]
fn the_head_at_every_length_is_told_and_a_longer_one_is_refused() {
    use shared::checkpoint::{BrokenJournal, Checkpoint, Unconfirmed};

    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let journal = open_small(folder.path());
    let mut heads = vec![journal.head().checkpoint()];
    assert_eq!(heads[0], Checkpoint::empty());
    for number in 0..600 {
        runtime.block_on(journal.append(event(&number.to_string()))).unwrap();
        heads.push(journal.head().checkpoint());
    }
    let now = heads.last().unwrap();
    let check = |journal: Journal| {
        for then in &heads {
            assert_eq!(then.continued(journal.heads(then.length).unwrap()).as_ref(), Ok(now));
        }
        let longer = Checkpoint { length: 601, ..now.clone() };
        let broken = Unconfirmed::Broken(BrokenJournal::Truncated { had: 601, has: 600 });
        assert_eq!(longer.continued(journal.heads(601).unwrap()), Err(broken));
        let forked = Checkpoint { length: 300, ..now.clone() };
        let broken = Unconfirmed::Broken(BrokenJournal::Forked { length: 300 });
        assert_eq!(forked.continued(journal.heads(300).unwrap()), Err(broken));
    };
    check(journal);
    // The same from what the next start has read.
    check(open_small(folder.path()));
}
