//! The verb `records`: which certificates were signed for an edge. One answer is a bounded piece of the journal, read off the threads
//! that issue, and one edge reads one piece at a time.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shared::{
    base64url::Base64Url,
    signing::{RecordsReply, RecordsRequest, Refusal, Refused, SignedRecord},
    timestamp::Timestamp,
};

use super::{Issuance, unavailable};
use crate::{
    admit::refused,
    disown::is_revocable,
    journal::{Event, Intent, Journal, JournalFailed, Record, Signed},
};

/// Records that one answer looks at.
const LOOKED_AT: u64 = 1000;
/// Certificates in one answer.
const GIVEN: usize = 256;
/// Intents that stand before the piece and are looked up for one answer; each costs a few hundred lines.
const LOOKED_UP: usize = 16;

/// The edges that read the journal now.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<BTreeSet<String>>);

/// The right of an edge to read.
#[derive(Debug)]
struct Reader {
    readers: Arc<Readers>,
    edge: String,
}

/// What one answer has found.
#[derive(Debug)]
struct Piece {
    certificates: Vec<SignedRecord>,
    next: u64,
    length: u64,
}

impl Issuance {
    /// The verb `records`, asked by this edge.
    pub(crate) async fn records(&self, edge: &str, asked: RecordsRequest) -> RecordsReply {
        match self.try_records(edge, asked).await {
            Ok(Piece { certificates, next, length }) => RecordsReply::Records { certificates, next, length },
            Err(refused) => {
                self.note(edge, "", &refused).await;
                RecordsReply::Refused(refused)
            }
        }
    }

    async fn try_records(&self, edge: &str, RecordsRequest { from }: RecordsRequest) -> Result<Piece, Refused> {
        let reader = Reader::new(&self.readers, edge)
            .ok_or_else(|| refused(Refusal::Busy, "this edge reads the journal already: ask when that is answered"))?;
        let journal = self.works.journal.clone();
        // It goes on when the edge does not wait for it, and so does the right.
        let read = tokio::task::spawn_blocking(move || read(&journal, &reader.edge, from));
        read.await.unwrap_or(Err(JournalFailed)).map_err(|JournalFailed| unavailable())
    }
}

impl Readers {
    fn edges(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Nothing when this edge reads already.
    fn new(readers: &Arc<Readers>, edge: &str) -> Option<Self> {
        let is_first = readers.edges().insert(edge.to_owned());
        is_first.then(|| Self { readers: Arc::clone(readers), edge: edge.to_owned() })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.edges().remove(&self.edge);
    }
}

/// Reads a piece of the journal from this record on: what was signed for this edge.
fn read(journal: &Journal, edge: &str, from: u64) -> Result<Piece, JournalFailed> {
    let length = journal.head().length;
    let mut piece = Piece { certificates: Vec::new(), next: from, length };
    if from >= length {
        return Ok(piece);
    }
    let (mut lines, mut intents, mut looked_up) = (journal.lines(from)?, HashMap::new(), 0_usize);
    let end = from.saturating_add(LOOKED_AT).min(length);
    while piece.next < end && piece.certificates.len() < GIVEN {
        let Record { index, at, event, .. } = lines.record(piece.next).map_err(|error| {
            tracing::error!(%error, index = piece.next, "a record of the journal cannot be read again");
            JournalFailed
        })?;
        match event {
            Event::Intent(mut intent) => {
                intent.tbs = Base64Url(Vec::new());
                intents.insert(index, (intent.edge == edge).then_some(intent));
            }
            Event::Signed(signed) => {
                let intent = match intents.remove(&signed.intent) {
                    Some(intent) => intent,
                    None if looked_up >= LOOKED_UP => break,
                    None => {
                        looked_up = looked_up.saturating_add(1);
                        let Event::Intent(intent) = journal.record(signed.intent)?.event else {
                            return Err(JournalFailed);
                        };
                        (intent.edge == edge).then_some(intent)
                    }
                };
                if let Some(intent) = intent {
                    piece.certificates.push(signed_record(index, at, &intent, signed));
                }
            }
            _ => {}
        }
        piece.next = index.saturating_add(1);
    }
    Ok(piece)
}

fn signed_record(index: u64, at: Timestamp, intent: &Intent, signed: Signed) -> SignedRecord {
    let revocable = is_revocable(intent, &signed);
    let (profile, not_after) = (intent.profile.clone(), intent.not_after);
    SignedRecord { index, order: signed.order, serial: signed.serial, profile, at, not_after, revocable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{self, EDGE},
        journal::RefusedRequest,
    };
    use shared::serial::SerialNumber;

    /// A journal in many segments, of certificates in groups: the intents of a group, so many other records, then its certificates in
    /// the opposite order. Every third is another edge's. With it the indices of the records that are to be found.
    async fn journal(groups: u64, others: usize) -> (tempfile::TempDir, Journal, Vec<u64>) {
        const GROUP: u64 = 30;
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open_with(folder.path(), 1 << 16, 65_536, |_, _| Ok(())).unwrap();
        let (intent, signed) = fixture::signed();
        let refused = RefusedRequest {
            reason: Refusal::Malformed,
            detail: String::new(),
            edge: EDGE.into(),
            order: String::new(),
        };
        let mut expected = Vec::new();
        for group in 0..groups {
            let first = journal.head().length;
            let certificate = |number: u64| {
                let all = u128::from(group * GROUP + number);
                let edge = if number % 3 == 2 { "second.colophon.internal" } else { EDGE };
                (SerialNumber::from_random(all.to_be_bytes()), edge.to_owned())
            };
            let intents = (0..GROUP)
                .map(certificate)
                .map(|(serial, edge)| Event::Intent(Box::new(Intent { serial, edge, ..intent.clone() })));
            let signed = (0..GROUP).rev().map(|number| {
                let (serial, intent) = (certificate(number).0, first + number);
                Event::Signed(Signed { serial, intent, ..signed.clone() })
            });
            let others = std::iter::repeat_n(Event::Refused(refused.clone()), others);
            let append = |event: Event| {
                let is_ours = |signed: &Signed| (signed.intent - first) % 3 != 2;
                let found = matches!(&event, Event::Signed(signed) if is_ours(signed));
                let journal = journal.clone();
                // In this order: there is one thread. Those that wait are written together.
                (found, tokio::spawn(async move { journal.append(event).await }))
            };
            let appended: Vec<_> = intents.chain(others).chain(signed).map(append).collect();
            for (found, location) in appended {
                let location = location.await.unwrap().unwrap();
                expected.extend(found.then_some(location.index));
            }
        }
        (folder, journal, expected)
    }

    /// Reads all, piece by piece. Gives the indices that were found and the number of pieces.
    fn read_all(journal: &Journal, edge: &str, mut from: u64) -> (Vec<u64>, u64) {
        let (mut found, mut pieces) = (Vec::new(), 0);
        loop {
            let Piece { certificates, next, length } = read(journal, edge, from).unwrap();
            assert!(certificates.len() <= GIVEN && next - from <= LOOKED_AT, "a piece is bounded");
            assert!(certificates.iter().all(|record| (from..next).contains(&record.index)));
            found.extend(certificates.iter().map(|record| record.index));
            (from, pieces) = (next, pieces + 1);
            if next >= length {
                return (found, pieces);
            }
        }
    }

    #[tokio::test]
    async fn pieces_are_bounded_and_together_they_are_all_of_an_edges_certificates_and_no_others() {
        let (_folder, journal, expected) = journal(30, 20).await;
        let (found, pieces) = read_all(&journal, EDGE, 0);
        assert_eq!(found, expected);
        assert!(pieces > 2, "{pieces}");
        let (others, _) = read_all(&journal, "second.colophon.internal", 0);
        assert_eq!(others.len(), 300);
        assert!(others.iter().all(|index| !expected.contains(index)));
        assert!(read_all(&journal, "third.colophon.internal", 0).0.is_empty());
        let Piece { certificates, next, length } = read(&journal, EDGE, u64::MAX).unwrap();
        assert_eq!((certificates.len(), next, length), (0, u64::MAX, journal.head().length));
    }

    #[tokio::test]
    async fn wherever_one_begins_the_certificates_behind_that_are_found_although_their_intents_stand_before_it() {
        let (_folder, journal, expected) = journal(2, 300).await;
        for from in (0..journal.head().length).step_by(7) {
            let behind: Vec<_> = expected.iter().copied().filter(|index| *index >= from).collect();
            let (found, pieces) = read_all(&journal, EDGE, from);
            assert_eq!(found, behind, "from {from}");
            assert!(pieces <= 4, "from {from}: {pieces} pieces");
        }
    }

    #[test]
    fn an_edge_reads_one_piece_at_a_time_and_another_one_beside_it() {
        let readers = Arc::default();
        let first = Reader::new(&readers, "a").unwrap();
        assert!(Reader::new(&readers, "a").is_none());
        assert!(Reader::new(&readers, "b").is_some());
        drop(first);
        assert!(Reader::new(&readers, "a").is_some());
    }
}
