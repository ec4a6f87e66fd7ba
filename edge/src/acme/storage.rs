//! The storage port: rows that one account's object reads, and the one commit that a step ends in. The platform implements
//! it with SQLite, [`Memory`] in tests; `Memory` can be told to fail before or after it persists.

use std::collections::BTreeMap;

use shared::{ocsp::CertIdHash, serial::SerialNumber, timestamp::Timestamp};

use super::{
    object_id::ObjectId,
    rate_limit::Metered,
    record::{OrderRecord, OrderState},
};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The account itself: one row.
    Account,
    /// In the object of a key that an account was rolled over to: where that account lives. One row, and no account.
    Pointer,
    /// In place of an account that deleted itself after its key had been changed: the key that opened it may not open another.
    Retired,
    /// An order.
    Order(ObjectId),
    /// An authorization with its challenges.
    Authorization(ObjectId),
    /// The authorization of an identifier that later orders may use; the id is a hash of the identifier.
    Reusable(ObjectId),
    /// The newest certificate of certain names and a certain key; the id is a hash of these.
    Held(ObjectId),
    /// How often the account did something.
    Meter(Metered),
    /// In an object of certificate status: a certificate.
    Certificate(SerialNumber),
    /// In an object of certificate status: the OCSP response of a certificate.
    Response(SerialNumber, CertIdHash),
    /// In the object of a CRL: the newest one.
    Crl,
    /// In an object of certificate status: when a certificate is to be renewed.
    Renewal(SerialNumber),
    /// In an object of certificate status: how many certificates were given each slot of this row.
    Load(u32),
}

/// What a commit does to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes it, whether or not it is there.
    Put {
        /// Which row.
        key: Key,
        /// Its whole new body: JSON of a record (see [`super::record`]).
        body: String,
        /// When an alarm must look at it; nothing when no alarm needs to.
        due: Option<Timestamp>,
    },
    /// Deletes all rows; comes first.
    Clear,
    /// Deletes it. Only for what nobody needs any more: a deletion that is lost is made up for by the next alarm.
    Delete(Key),
}

/// Storage failed. Whether a commit that failed took effect is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageFault {
    /// Rows could not be read.
    #[error("rows could not be read")]
    Read,
    /// A commit failed, or its answer was lost.
    #[error("a commit failed")]
    Commit,
    /// A row holds what no version of this program has written.
    #[error("a stored record is of an unknown form")]
    UnknownForm,
}

/// Reading one account's rows. A read never changes anything.
pub trait Rows {
    /// The body of a row; nothing when there is none.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    fn read(&self, key: Key) -> Result<Option<String>, StorageFault>;

    /// Ids of orders, the newest first, at most `limit`; where `before` is given, those made before that one.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    fn orders(&self, before: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>, StorageFault>;

    /// The order whose certificate has this serial number.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    fn order_of(&self, serial: SerialNumber) -> Result<Option<ObjectId>, StorageFault>;

    /// Rows that are due at `now`, earliest first, at most `limit`.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Key>, StorageFault>;

    /// When the next row is due.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    fn next_due(&self) -> Result<Option<Timestamp>, StorageFault>;
}

/// Writing one account's rows: all changes or none.
pub trait Storage: Rows {
    /// Commits the changes together.
    ///
    /// # Errors
    /// [`StorageFault::Commit`]; they may have taken effect all the same.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageFault>;
}

/// Rows in memory: the whole port, for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    rows: BTreeMap<Key, (String, Option<Timestamp>)>,
    failing: Option<(usize, Failure)>,
    /// Commits so far, the failed ones included.
    pub commits: usize,
}

/// How a commit can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written.
    Lost,
    /// Everything is written, and the answer says that it failed.
    Kept,
}

impl Memory {
    /// Makes the commit of this number (the first is 0) fail.
    pub const fn fail_commit_number(&mut self, number: usize, failure: Failure) {
        self.failing = Some((number, failure));
    }
}

impl Memory {
    /// The keys of all rows.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.rows.keys().copied()
    }
}

impl Rows for Memory {
    fn read(&self, key: Key) -> Result<Option<String>, StorageFault> {
        Ok(self.rows.get(&key).map(|(body, _)| body.clone()))
    }

    fn orders(&self, before: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>, StorageFault> {
        let orders = self.rows.keys().rev().filter_map(|key| match key {
            Key::Order(id) if before.is_none_or(|before| *id < before) => Some(*id),
            _ => None,
        });
        Ok(orders.take(limit).collect())
    }

    fn order_of(&self, serial: SerialNumber) -> Result<Option<ObjectId>, StorageFault> {
        for (key, (body, _)) in &self.rows {
            if let Key::Order(id) = key {
                let order: OrderRecord =
                    serde_json::from_slice(body.as_bytes()).map_err(|_| StorageFault::UnknownForm)?;
                if matches!(&order.state, OrderState::Valid(issued) if issued.serial == serial) {
                    return Ok(Some(*id));
                }
            }
        }
        Ok(None)
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Key>, StorageFault> {
        let mut due: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(key, (_, due))| due.filter(|due| *due <= now).map(|due| (due, *key)))
            .collect();
        due.sort_unstable();
        Ok(due.into_iter().take(limit).map(|(_, key)| key).collect())
    }

    fn next_due(&self) -> Result<Option<Timestamp>, StorageFault> {
        Ok(self.rows.values().filter_map(|(_, due)| *due).min())
    }
}

impl Storage for Memory {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageFault> {
        let failure = self.failing.filter(|(number, _)| *number == self.commits).map(|(_, failure)| failure);
        self.commits = self.commits.saturating_add(1);
        if failure != Some(Failure::Lost) {
            for change in changes {
                match change {
                    Change::Put { key, body, due } => drop(self.rows.insert(*key, (body.clone(), *due))),
                    Change::Clear => self.rows.clear(),
                    Change::Delete(key) => drop(self.rows.remove(key)),
                }
            }
        }
        failure.map_or(Ok(()), |_| Err(StorageFault::Commit))
    }
}
