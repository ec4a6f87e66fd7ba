//! Checkpoints of a signer's journal, and the verb `journal` of the signing protocol (see [`crate::signing`]): whether the journal
//! that a signer has today continues the one that it had.
//!
//! | verb | request | answer |
//! |---|---|---|
//! | `POST /v1/journal` | [`JournalRequest`] | [`JournalReply`] |

use serde::{Deserialize, Serialize};

use crate::{base64url::Base64Url, signing::Refused};

/// Path of the verb `journal`.
pub const JOURNAL_PATH: &str = "/v1/journal";

/// What a journal was like at one time. A journal that is only ever added to has the same head at the same length for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Number of records.
    pub length: u64,
    /// SHA-256 of the last record's line, 32 bytes; zeros when there is none.
    pub head: Base64Url,
}

/// Asks for the journal's head at a length, and for the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalRequest {
    /// Number of records.
    pub length: u64,
}

/// The answer to `journal`. HTTP status: 200, 409 when the journal is shorter, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum JournalReply {
    /// The journal has that many records or more.
    Heads {
        /// What it was like when it had so many.
        then: Checkpoint,
        /// What it is like now.
        now: Checkpoint,
    },
    /// The journal never had so many.
    Shorter {
        /// What it is like now.
        now: Checkpoint,
    },
    /// Not a request of this version, not from somebody who may ask, or the journal cannot be read.
    Refused(Refused),
}

/// A journal lost records, or has others in their place: its signer does not know what it has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BrokenJournal {
    /// It ends before a record that was there.
    #[error("its journal has {has} records and had {had}: it was truncated, or restored from an older copy")]
    Truncated {
        /// Number of records that were there.
        had: u64,
        /// Number of records that are there.
        has: u64,
    },
    /// It has another history.
    #[error("its first {length} journal records are not those that were there: it was replaced")]
    Forked {
        /// Number of records that were there.
        length: u64,
    },
}

/// Why a journal is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// It is another one.
    #[error(transparent)]
    Broken(#[from] BrokenJournal),
    /// The signer does not say.
    #[error("the signer refuses to tell its journal's head: {:?}: {}", .0.reason, .0.detail)]
    Refused(Refused),
    /// The answer contradicts itself or the question.
    #[error("the answer is not one to the question")]
    NotAnAnswer,
}

impl Checkpoint {
    /// Before the first record.
    #[must_use]
    pub fn empty() -> Self {
        Self { length: 0, head: Base64Url(vec![0; 32]) }
    }

    /// What asks whether a journal continues this.
    #[must_use]
    pub const fn question(&self) -> JournalRequest {
        JournalRequest { length: self.length }
    }

    /// Judges the answer to [`Self::question`]: the journal's present checkpoint, if it continues this one.
    ///
    /// # Errors
    /// [`Unconfirmed::Broken`] when it does not; the others when the answer does not say.
    pub fn continued(&self, reply: JournalReply) -> Result<Self, Unconfirmed> {
        let is_hash = |checkpoint: &Self| checkpoint.head.0.len() == 32;
        match reply {
            JournalReply::Heads { then, now } => {
                if then.length != self.length || now.length < then.length || !is_hash(&then) || !is_hash(&now) {
                    return Err(Unconfirmed::NotAnAnswer);
                }
                let same_length = now.length == then.length;
                if then.head != self.head || (same_length && now.head != then.head) {
                    return Err(BrokenJournal::Forked { length: self.length }.into());
                }
                Ok(now)
            }
            JournalReply::Shorter { now } if now.length < self.length => {
                Err(BrokenJournal::Truncated { had: self.length, has: now.length }.into())
            }
            JournalReply::Shorter { .. } => Err(Unconfirmed::NotAnAnswer),
            JournalReply::Refused(refused) => Err(Unconfirmed::Refused(refused)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::Refusal;

    fn at(length: u64, seed: u8) -> Checkpoint {
        Checkpoint { length, head: Base64Url(vec![seed; 32]) }
    }

    #[test]
    fn a_journal_is_confirmed_only_when_it_continues_what_it_was() {
        let heads = |then, now| JournalReply::Heads { then, now };
        let refused = Refused { reason: Refusal::Unavailable, detail: String::new(), retry_after: None };
        let short = Checkpoint { length: 5, head: Base64Url(vec![3]) };
        let table = [
            (heads(at(5, 3), at(5, 3)), Ok(at(5, 3))),
            (heads(at(5, 3), at(9, 4)), Ok(at(9, 4))),
            (heads(at(5, 4), at(9, 4)), Err(BrokenJournal::Forked { length: 5 }.into())),
            (heads(at(5, 3), at(5, 4)), Err(BrokenJournal::Forked { length: 5 }.into())),
            (JournalReply::Shorter { now: at(4, 3) }, Err(BrokenJournal::Truncated { had: 5, has: 4 }.into())),
            (JournalReply::Shorter { now: at(5, 3) }, Err(Unconfirmed::NotAnAnswer)),
            (heads(at(4, 3), at(9, 3)), Err(Unconfirmed::NotAnAnswer)),
            (heads(at(5, 3), at(4, 3)), Err(Unconfirmed::NotAnAnswer)),
            (heads(short, at(9, 3)), Err(Unconfirmed::NotAnAnswer)),
            (JournalReply::Refused(refused.clone()), Err(Unconfirmed::Refused(refused))),
        ];
        for (reply, expected) in table {
            assert_eq!(at(5, 3).continued(reply.clone()), expected, "{reply:?}");
        }
    }

    #[test]
    fn the_first_question_is_answered_by_every_journal() {
        let reply = JournalReply::Heads { then: Checkpoint::empty(), now: at(7, 1) };
        assert_eq!(Checkpoint::empty().continued(reply), Ok(at(7, 1)));
    }

    #[test]
    fn the_verb_journal_on_the_wire_is_unchanged() {
        let zeros = "A".repeat(43);
        let heads = JournalReply::Heads { then: Checkpoint::empty(), now: Checkpoint::empty() };
        let shorter = JournalReply::Shorter { now: Checkpoint::empty() };
        let checkpoint = format!(r#"{{"length":0,"head":"{zeros}"}}"#);
        let table = [
            (heads, format!(r#"{{"heads":{{"then":{checkpoint},"now":{checkpoint}}}}}"#)),
            (shorter, format!(r#"{{"shorter":{{"now":{checkpoint}}}}}"#)),
        ];
        for (reply, text) in table {
            assert_eq!(serde_json::to_string(&reply).unwrap(), text);
            assert_eq!(serde_json::from_str::<JournalReply>(&text).unwrap(), reply);
        }
        assert_eq!(serde_json::to_string(&JournalRequest { length: 3 }).unwrap(), r#"{"length":3}"#);
        assert!(serde_json::from_str::<JournalRequest>(r#"{"length":3,"more":1}"#).is_err());
    }
}
