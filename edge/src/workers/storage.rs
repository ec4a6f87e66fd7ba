//! The core's storage port on the SQLite of one account's object: one table of records, one statement for each commit.
//!
//! Nothing is written before the first commit, tables included: a stranger's request to an account that is not there
//! persists nothing. The schema only ever grows: the version before must be able to run on it.

use std::{cell::Cell, rc::Rc};

use serde_json::json;
use shared::{base64url, jwk::Thumbprint, timestamp::Timestamp};
use worker::{SqlStorage, SqlStorageValue, console_error};

use crate::acme::{
    object_id::ObjectId,
    route::AccountId,
    storage::{Change, Key, Rows, Storage, StorageFault},
};

/// `about` has one row: the schema's version and whose object this is, which an alarm cannot know otherwise.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS record (
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    due INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_due ON record (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS about (version INTEGER NOT NULL, account TEXT NOT NULL);
";

/// The version of [`SCHEMA`].
const VERSION: i64 = 1;

/// The rows of one account.
#[derive(Clone, Debug)]
pub(super) struct SqlRows {
    sql: SqlStorage,
    account: AccountId,
    /// True when the tables are known to be there. Shared by all of one incarnation.
    exists: Rc<Cell<bool>>,
}

impl SqlRows {
    /// Opens the rows of an account. `exists` belongs to the incarnation, and begins as false.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    pub(super) fn open(sql: SqlStorage, account: AccountId, exists: Rc<Cell<bool>>) -> Result<Self, StorageFault> {
        if !exists.get() {
            exists.set(has_tables(&sql)?);
        }
        Ok(Self { sql, account, exists })
    }

    /// Whose object this is, as the first commit wrote it; nothing when there never was a commit.
    ///
    /// # Errors
    /// [`StorageFault::Read`], and [`StorageFault::UnknownForm`] when the row is not ours.
    pub(super) fn owner(sql: &SqlStorage) -> Result<Option<AccountId>, StorageFault> {
        if !has_tables(sql)? {
            return Ok(None);
        }
        let Some(text) = first_text(sql, "SELECT account FROM about", Vec::new())? else { return Ok(None) };
        let bytes = base64url::decode_array::<32>(&text).map_err(|_| StorageFault::UnknownForm)?;
        Ok(Some(AccountId(Thumbprint(bytes))))
    }

    fn create_tables(&self) -> worker::Result<()> {
        self.sql.exec(SCHEMA, None)?;
        self.sql.exec(
            "INSERT INTO about (version, account) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM about)",
            vec![VERSION.into(), self.account.to_string().into()],
        )?;
        Ok(())
    }
}

impl Rows for SqlRows {
    fn read(&self, key: Key) -> Result<Option<String>, StorageFault> {
        if !self.exists.get() {
            return Ok(None);
        }
        let (kind, id) = columns(key);
        first_text(&self.sql, "SELECT body FROM record WHERE kind = ? AND id = ?", vec![kind.into(), id.into()])
    }

    fn orders(&self, before: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>, StorageFault> {
        if !self.exists.get() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // Ids are hexadecimal text that sorts by the time of creation; "g" is behind them all.
        let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
        let statement = "SELECT id FROM record WHERE kind = 1 AND id < ? ORDER BY id DESC LIMIT ?";
        let rows = self.sql.exec(statement, vec![before.into(), limit.into()]).map_err(unreadable)?;
        rows.raw()
            .map(|row| match row.map_err(unreadable)?.as_slice() {
                [SqlStorageValue::String(id)] => id.parse().map_err(|_| StorageFault::UnknownForm),
                _ => Err(StorageFault::UnknownForm),
            })
            .collect()
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Key>, StorageFault> {
        if !self.exists.get() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = "SELECT kind, id FROM record WHERE due <= ? ORDER BY due LIMIT ?";
        let rows = self.sql.exec(statement, vec![seconds(now), limit.into()]).map_err(unreadable)?;
        rows.raw().map(|row| key(&row.map_err(unreadable)?).ok_or(StorageFault::UnknownForm)).collect()
    }

    fn next_due(&self) -> Result<Option<Timestamp>, StorageFault> {
        if !self.exists.get() {
            return Ok(None);
        }
        let statement = "SELECT due FROM record WHERE due IS NOT NULL ORDER BY due LIMIT 1";
        let mut rows = self.sql.exec(statement, None).map_err(unreadable)?.raw();
        match rows.next().transpose().map_err(unreadable)?.as_deref() {
            None => Ok(None),
            Some([SqlStorageValue::Integer(due)]) => {
                Ok(Some(Timestamp::from_seconds(u64::try_from(*due).unwrap_or_default())))
            }
            Some(_) => Err(StorageFault::UnknownForm),
        }
    }
}

impl Storage for SqlRows {
    /// One statement writes all rows, so all are written or none; it is on disk before any answer leaves the object.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageFault> {
        if changes.is_empty() {
            return Ok(());
        }
        let failed = |error: worker::Error| {
            console_error!("commit: {error}");
            StorageFault::Commit
        };
        if !self.exists.get() {
            self.create_tables().map_err(failed)?;
            self.exists.set(true);
        }
        let rows = changes.iter().map(|change| {
            let (kind, id) = columns(change.key);
            json!([kind, id, change.due.map(Timestamp::seconds), change.body])
        });
        let rows = serde_json::Value::from_iter(rows).to_string();
        let statement = "INSERT OR REPLACE INTO record (kind, id, due, body)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)";
        self.sql.exec(statement, vec![rows.into()]).map(drop).map_err(failed)
    }
}

/// Stored: never give one of these numbers another meaning.
fn columns(key: Key) -> (i64, String) {
    match key {
        Key::Account => (0, String::new()),
        Key::Order(id) => (1, id.to_string()),
        Key::Authorization(id) => (2, id.to_string()),
        Key::Pointer => (3, String::new()),
        Key::Reusable(id) => (4, id.to_string()),
    }
}

fn key(row: &[SqlStorageValue]) -> Option<Key> {
    match row {
        [SqlStorageValue::Integer(0), SqlStorageValue::String(_)] => Some(Key::Account),
        [SqlStorageValue::Integer(1), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Order),
        [SqlStorageValue::Integer(2), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Authorization),
        [SqlStorageValue::Integer(3), SqlStorageValue::String(_)] => Some(Key::Pointer),
        [SqlStorageValue::Integer(4), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Reusable),
        _ => None,
    }
}

fn has_tables(sql: &SqlStorage) -> Result<bool, StorageFault> {
    first_text(sql, "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'about'", Vec::new())
        .map(|name| name.is_some())
}

fn first_text(
    sql: &SqlStorage,
    statement: &str,
    bindings: Vec<SqlStorageValue>,
) -> Result<Option<String>, StorageFault> {
    let mut rows = sql.exec(statement, bindings).map_err(unreadable)?.raw();
    match rows.next().transpose().map_err(unreadable)?.map(|row| row.into_iter().next()) {
        None => Ok(None),
        Some(Some(SqlStorageValue::String(text))) => Ok(Some(text)),
        Some(_) => Err(StorageFault::UnknownForm),
    }
}

fn seconds(at: Timestamp) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(at.seconds()).unwrap_or(i64::MAX))
}

fn unreadable(error: worker::Error) -> StorageFault {
    console_error!("read: {error}");
    StorageFault::Read
}
