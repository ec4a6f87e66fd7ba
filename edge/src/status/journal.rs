//! What a signer's journal was like, pure: the longest checkpoint that was ever seen, and whether the present journal continues it. A
//! signer whose journal does not has forgotten what it signed, and is asked for nothing any more.

use serde::{Deserialize, Serialize};
use shared::{
    checkpoint::{BrokenJournal, Checkpoint, JournalReply, JournalRequest, Unconfirmed},
    timestamp::Timestamp,
};

/// A signer's journal as its object stores it. Additive, as all stored forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// The binding of the signer.
    pub signer: String,
    /// The longest that was seen.
    pub checkpoint: Checkpoint,
    /// When the journal was compared last.
    pub compared: Timestamp,
    /// What is wrong with it, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenJournal>,
}

impl JournalRecord {
    /// A signer that was never asked.
    #[must_use]
    pub fn new(signer: String) -> Self {
        Self { signer, checkpoint: Checkpoint::empty(), compared: Timestamp::from_seconds(0), broken: None }
    }

    /// What the signer is asked.
    #[must_use]
    pub const fn question(&self) -> JournalRequest {
        self.checkpoint.question()
    }

    /// Takes in the answer to the question of `asked`, which may be older than this. A journal that is broken is compared with the
    /// same checkpoint the next time: it is good again when the missing records are back.
    ///
    /// # Errors
    /// When the signer does not say; nothing is known then.
    pub fn compared(&self, asked: &Checkpoint, reply: JournalReply, now: Timestamp) -> Result<Self, Unconfirmed> {
        let known = |checkpoint, broken| Self { signer: self.signer.clone(), checkpoint, compared: now, broken };
        match asked.continued(reply) {
            Ok(present) if present.length > self.checkpoint.length => Ok(known(present, None)),
            // Another answer came in between, which was later: what it said stays.
            Ok(_) if *asked != self.checkpoint => Ok(self.clone()),
            Ok(_) => Ok(known(self.checkpoint.clone(), None)),
            Err(Unconfirmed::Broken(broken)) => Ok(known(self.checkpoint.clone(), Some(broken))),
            Err(unconfirmed) => Err(unconfirmed),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        base64url::Base64Url,
        signing::{Refusal, Refused},
    };

    use super::*;

    fn at(length: u64, seed: u8) -> Checkpoint {
        Checkpoint { length, head: Base64Url(vec![seed; 32]) }
    }

    fn record(checkpoint: Checkpoint, compared: u64, broken: Option<BrokenJournal>) -> JournalRecord {
        JournalRecord { signer: "SIGNER_1".into(), checkpoint, compared: Timestamp::from_seconds(compared), broken }
    }

    #[test]
    fn the_longest_checkpoint_stays_until_a_journal_continues_it() {
        let now = Timestamp::from_seconds;
        let first = JournalRecord::new("SIGNER_1".into());
        let heads = |then, now| JournalReply::Heads { then, now };
        let grown = first.compared(&first.checkpoint, heads(at(0, 0), at(5, 1)), now(1)).unwrap();
        assert_eq!(grown, record(at(5, 1), 1, None));
        let truncated = grown.compared(&grown.checkpoint, JournalReply::Shorter { now: at(3, 2) }, now(2)).unwrap();
        assert_eq!(truncated, record(at(5, 1), 2, Some(BrokenJournal::Truncated { had: 5, has: 3 })));
        // Grown again, but with other records.
        let forked = truncated.compared(&truncated.checkpoint, heads(at(5, 7), at(9, 8)), now(3)).unwrap();
        assert_eq!(forked, record(at(5, 1), 3, Some(BrokenJournal::Forked { length: 5 })));
        let back = forked.compared(&forked.checkpoint, heads(at(5, 1), at(5, 1)), now(4)).unwrap();
        assert_eq!(back, record(at(5, 1), 4, None));
        let refused = Refused { reason: Refusal::Unavailable, detail: String::new(), retry_after: None };
        assert!(back.compared(&back.checkpoint, JournalReply::Refused(refused), now(5)).is_err());
    }

    #[test]
    fn an_answer_that_was_overtaken_takes_nothing_back() {
        let heads = |then, now| JournalReply::Heads { then, now };
        let now = record(at(9, 4), 9, None);
        assert_eq!(now.compared(&at(5, 1), heads(at(5, 1), at(7, 2)), Timestamp::from_seconds(10)), Ok(now.clone()));
        let broken = record(at(9, 4), 9, Some(BrokenJournal::Forked { length: 9 }));
        assert_eq!(
            broken.compared(&at(5, 1), heads(at(5, 1), at(7, 2)), Timestamp::from_seconds(10)),
            Ok(broken.clone())
        );
    }

    #[test]
    fn the_stored_form_is_unchanged() {
        let broken = record(at(5, 0), 1, Some(BrokenJournal::Truncated { had: 5, has: 3 }));
        let head = "A".repeat(43);
        let text = format!(
            r#"{{"signer":"SIGNER_1","checkpoint":{{"length":5,"head":"{head}"}},"compared":"1970-01-01T00:00:01Z","broken":{{"truncated":{{"had":5,"has":3}}}}}}"#
        );
        assert_eq!(serde_json::to_string(&broken).unwrap(), text);
        assert_eq!(serde_json::from_str::<JournalRecord>(&text).unwrap(), broken);
    }
}
