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
