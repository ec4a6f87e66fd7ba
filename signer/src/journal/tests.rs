//! The journal through its front door, and through the back door of its file.

mod damage;
mod pace;

use super::*;
use shared::signing::Refusal;
use std::path::PathBuf;

fn event(detail: &str) -> Event {
    Event::Refused(RefusedRequest {
        reason: Refusal::NotPermitted,
        detail: detail.into(),
        edge: "edge.test".into(),
        order: "order".into(),
    })
}

fn open(state: &Path) -> anyhow::Result<(Journal, Vec<Record>)> {
    let mut records = Vec::new();
    let journal = Journal::open(state, |record, _| {
        records.push(record);
        Ok(())
    })?;
    Ok((journal, records))
}

/// A journal of three records, closed.
fn three() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    for (index, detail) in ["one", "two", "three"].into_iter().enumerate() {
        let location = runtime.block_on(journal.append(event(detail))).unwrap();
        assert_eq!(location.index, index as u64);
        assert_eq!(journal.read(&location).unwrap().event, event(detail));
    }
    drop(journal);
    let path = segment::path(&segment::folder(folder.path()), 0);
    (folder, path)
}

fn reopen(folder: &Path) -> anyhow::Result<Vec<Record>> {
    when_free(|| open(folder)).map(|(_, records)| records)
}

/// A journal of segments of a few records.
fn open_small(folder: &Path) -> Journal {
    when_free(|| Journal::open_with(folder, 2000, 65_536, |_, _| Ok(()))).unwrap()
}

/// The lock is let go of a moment after the last who had the journal: a child that another test starts inherits it until it is another program.
fn when_free<T>(open: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 0..100 {
        match open() {
            Err(error) if error.to_string().contains("another signer") => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            other => return other,
        }
    }
    anyhow::bail!("the journal stays locked")
}

#[test]
fn what_was_appended_is_read_back_in_order() {
    let (folder, _) = three();
    let records = reopen(folder.path()).unwrap();
    let details: Vec<_> = records.iter().map(|record| record.event.clone()).collect();
    assert_eq!(details, [event("one"), event("two"), event("three")]);
    assert_eq!(verify(folder.path(), None).unwrap().records, 3);
}

#[test]
fn a_torn_last_line_is_cut_off_and_the_journal_goes_on() {
    let (folder, path) = three();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"{\"index\":3,\"prev"].concat()).unwrap();
    assert_eq!(verify(folder.path(), None).unwrap().torn_bytes, 16);
    assert_eq!(reopen(folder.path()).unwrap().len(), 3);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn every_change_of_a_record_is_found_and_named() {
    let (folder, path) = three();
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let changed = lines[1].replace("two", "TWO");
    let table = [
        // The next record betrays a change.
        (join(&[lines[0], &changed, lines[2]]), 2, Fault::Previous),
        (join(&[lines[0], lines[2]]), 1, Fault::Index),
        (join(&[lines[1], lines[2]]), 0, Fault::Index),
        (join(&[lines[0], lines[2], lines[1]]), 1, Fault::Index),
        (join(&[lines[0], lines[1], ""]), 2, Fault::Form),
        (join(&[lines[0], "{}", lines[2]]), 1, Fault::Form),
    ];
    for (content, index, fault) in table {
        std::fs::write(&path, &content).unwrap();
        let error = reopen(folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains(&BadRecord { index, fault }.to_string()), "{error:#}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content, "a broken journal is not touched");
        assert!(verify(folder.path(), None).is_err());
    }
}

#[test]
fn two_signers_cannot_share_a_state() {
    let folder = tempfile::tempdir().unwrap();
    let (_first, _) = open(folder.path()).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("another signer"));
}

#[tokio::test]
async fn records_that_wait_together_are_all_written() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = open(folder.path()).unwrap();
    let appends = (0..500).map(|number| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.append(event(&number.to_string())).await.unwrap().index })
    });
    let mut indexes = Vec::new();
    for append in appends.collect::<Vec<_>>() {
        indexes.push(append.await.unwrap());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (0..500).collect::<Vec<_>>());
    assert_eq!(verify(folder.path(), None).unwrap().records, 500);
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    // A file that is open for reading only refuses every write.
    let file = File::open(folder.path().join("file")).unwrap();
    let written = Written { head: Head::EMPTY, marks: Arc::default() };
    let writer = Writer {
        folder: folder.path().into(),
        file,
        head: Head::EMPTY,
        segment_bytes: SEGMENT_BYTES,
        policy: Arc::default(),
        reserve: Reserve::new(folder.path(), 65_536),
    };
    let (room, mut seen) = watch::channel(Room::Free);
    let queue = writer::start(writer, Arc::new(Mutex::new(written)), room).unwrap();
    for _ in 0..2 {
        let (done, wait) = oneshot::channel();
        queue.send(Message::Append(Append { event: event("lost"), done })).await.unwrap();
        assert_eq!(wait.await.unwrap(), Err(JournalFailed));
    }
    assert!(seen.wait_for(|room| *room == Room::Broken).await.is_ok(), "the daemon ends by that");
}
