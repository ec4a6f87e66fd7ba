//! The core's storage port on the SQLite of one object: one table of records, one statement for each commit.
//!
//! Nothing is written before the first commit, tables included: a stranger's request to an account that is not there
//! persists nothing. The schema only ever grows: the version before must be able to run on it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use serde_json::json;
use shared::{base64url, jwk::Thumbprint, ocsp::CertIdHash, serial::SerialNumber, timestamp::Timestamp};
use worker::{SqlStorage, SqlStorageValue, console_error};

use crate::acme::{
    object_id::ObjectId,
    rate_limit::Metered,
    route::AccountId,
    storage::{Change, Key, Rows, Storage, StorageFault},
};

/// The schema's versions, each with what it adds to the one before. `about` has one row: the version, and whose object this is,
/// which an alarm cannot know otherwise.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE IF NOT EXISTS record (
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    due INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS record_due ON record (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS about (version INTEGER NOT NULL, account TEXT NOT NULL);
",
    // Orders by their certificates' serial numbers. The database keeps it, whichever version of this program writes.
    "
CREATE INDEX IF NOT EXISTS record_serial ON record (body ->> '$.state.valid.serial') WHERE kind = 1;
",
];

/// What the tables are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Schema {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// There are none: nothing was ever written.
    Absent,
    /// Of this version; a later one than ours only has more.
    Version(usize),
}

/// Rows that an incarnation remembers: an account, and what its client polls.
const REMEMBERED: usize = 3;

/// The longest row that is remembered, in bytes.
const MAX_REMEMBERED: usize = 8 * 1024;

/// What one incarnation knows of its rows without asking: it alone writes them.
#[derive(Debug, Default)]
pub(super) struct Known {
    schema: Cell<Schema>,
    /// The rows that were read or written last, the latest at the end; none that a commit may have changed otherwise.
    bodies: RefCell<VecDeque<(Key, String)>>,
    /// No row is due before; nothing when nobody has looked.
    not_due_before: Cell<Option<Timestamp>>,
}

impl Known {
    /// Everything is being deleted.
    pub(super) fn forget(&self, schema: Schema) {
        self.schema.set(schema);
        self.bodies.borrow_mut().clear();
        self.not_due_before.set(None);
    }

    fn body(&self, key: Key) -> Option<String> {
        let mut bodies = self.bodies.borrow_mut();
        let (key, body) = bodies.iter().position(|(known, _)| *known == key).and_then(|at| bodies.remove(at))?;
        bodies.push_back((key, body.clone()));
        Some(body)
    }

    fn remember(&self, key: Key, body: &str) {
        let mut bodies = self.bodies.borrow_mut();
        bodies.retain(|(known, _)| *known != key);
        if body.len() <= MAX_REMEMBERED {
            if bodies.len() >= REMEMBERED {
                bodies.pop_front();
            }
            bodies.push_back((key, body.to_owned()));
        }
    }

    /// Forgets what a commit changes, before it does: it may fail.
    fn prepare(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put { key, due, .. } => {
                    self.bodies.borrow_mut().retain(|(known, _)| known != key);
                    let earlier = |known: Timestamp| due.map_or(known, |due| known.min(due));
                    self.not_due_before.set(self.not_due_before.get().map(earlier));
                }
                Change::Delete(key) => self.bodies.borrow_mut().retain(|(known, _)| known != key),
                Change::Clear => self.bodies.borrow_mut().clear(),
            }
        }
    }

    /// What a commit has written; it deletes last.
    fn learn(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Put { key, body, .. } = change {
                self.remember(*key, body);
            }
        }
        self.bodies.borrow_mut().retain(|(known, _)| !changes.contains(&Change::Delete(*known)));
    }
}

/// The rows of one object.
#[derive(Clone, Debug)]
pub(super) struct SqlRows {
    sql: SqlStorage,
    owner: String,
    /// Shared by all of one incarnation.
    known: Rc<Known>,
}

impl SqlRows {
    /// Opens the rows of an object: an account's id, or the name of whatever else owns them. `known` belongs to the incarnation, and
    /// begins with nothing.
    ///
    /// # Errors
    /// [`StorageFault::Read`].
    pub(super) fn open(sql: SqlStorage, owner: String, known: Rc<Known>) -> Result<Self, StorageFault> {
        if known.schema.get() == Schema::Unknown {
            known.schema.set(schema_of(&sql)?);
        }
        Ok(Self { sql, owner, known })
    }

    /// A time before which no row is due, as far as that is known without looking.
    pub(super) fn not_due_before(&self) -> Option<Timestamp> {
        self.known.not_due_before.get()
    }

    /// Whose object an account's is, as the first commit wrote it; nothing when there never was a commit.
    ///
    /// # Errors
    /// [`StorageFault::Read`], and [`StorageFault::UnknownForm`] when the row is not ours.
    pub(super) fn owner(sql: &SqlStorage) -> Result<Option<AccountId>, StorageFault> {
        if schema_of(sql)? == Schema::Absent {
            return Ok(None);
        }
        let Some(text) = first_text(sql, "SELECT account FROM about", Vec::new())? else { return Ok(None) };
        let bytes = base64url::decode_array::<32>(&text).map_err(|_| StorageFault::UnknownForm)?;
        Ok(Some(AccountId(Thumbprint(bytes))))
    }

    /// Makes the tables, or adds to them what this version has and they have not.
    fn migrate(&self) -> worker::Result<()> {
        let from = match self.known.schema.get() {
            Schema::Version(version) => version,
            Schema::Absent | Schema::Unknown => 0,
        };
        if from >= MIGRATIONS.len() {
            return Ok(());
        }
        for statements in MIGRATIONS.iter().skip(from) {
            self.sql.exec(statements, None)?;
        }
        let version = SqlStorageValue::Integer(i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX));
        self.sql.exec(
            "INSERT INTO about (version, account) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM about)",
            vec![version.clone(), self.owner.as_str().into()],
        )?;
        self.sql.exec("UPDATE about SET version = ?1 WHERE version < ?1", vec![version])?;
        self.known.schema.set(Schema::Version(MIGRATIONS.len()));
        Ok(())
    }
}

impl Rows for SqlRows {
    fn read(&self, key: Key) -> Result<Option<String>, StorageFault> {
        if self.known.schema.get() == Schema::Absent {
            return Ok(None);
        }
        if let Some(body) = self.known.body(key) {
            return Ok(Some(body));
        }
        let (kind, id) = columns(key);
        let statement = "SELECT body FROM record WHERE kind = ? AND id = ?";
        let body = first_text(&self.sql, statement, vec![kind.into(), id.into()])?;
        body.iter().for_each(|body| self.known.remember(key, body));
        Ok(body)
    }

    fn orders(&self, before: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>, StorageFault> {
        if self.known.schema.get() == Schema::Absent {
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

    fn order_of(&self, serial: SerialNumber) -> Result<Option<ObjectId>, StorageFault> {
        if self.known.schema.get() == Schema::Absent {
            return Ok(None);
        }
        let statement = "SELECT id FROM record WHERE kind = 1 AND body ->> '$.state.valid.serial' = ?";
        let id = first_text(&self.sql, statement, vec![serial.to_string().into()])?;
        id.map(|id| id.parse().map_err(|_| StorageFault::UnknownForm)).transpose()
    }

    fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Key>, StorageFault> {
        if self.known.schema.get() == Schema::Absent {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = "SELECT kind, id FROM record WHERE due <= ? ORDER BY due LIMIT ?";
        let rows = self.sql.exec(statement, vec![seconds(now), limit.into()]).map_err(unreadable)?;
        rows.raw().map(|row| key(&row.map_err(unreadable)?).ok_or(StorageFault::UnknownForm)).collect()
    }

    fn next_due(&self) -> Result<Option<Timestamp>, StorageFault> {
        if self.known.schema.get() == Schema::Absent {
            return Ok(None);
        }
        let statement = "SELECT due FROM record WHERE due IS NOT NULL ORDER BY due LIMIT 1";
        let mut rows = self.sql.exec(statement, None).map_err(unreadable)?.raw();
        let next = match rows.next().transpose().map_err(unreadable)?.as_deref() {
            None => None,
            Some([SqlStorageValue::Integer(due)]) => {
                Some(Timestamp::from_seconds(u64::try_from(*due).unwrap_or_default()))
            }
            Some(_) => return Err(StorageFault::UnknownForm),
        };
        self.known.not_due_before.set(next);
        Ok(next)
    }
}

impl Storage for SqlRows {
    /// One statement writes all rows, so all are written or none; they are on disk before any answer leaves the object. A
    /// second one deletes what nobody needs.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageFault> {
        if changes.is_empty() {
            return Ok(());
        }
        let failed = |error: worker::Error| {
            console_error!("commit: {error}");
            StorageFault::Commit
        };
        self.known.prepare(changes);
        self.migrate().map_err(failed)?;
        let (mut written, mut deleted) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Clear => drop(self.sql.exec("DELETE FROM record", None).map_err(failed)?),
                Change::Put { key, body, due } => {
                    let (kind, id) = columns(*key);
                    written.push(json!([kind, id, due.map(Timestamp::seconds), body]));
                }
                Change::Delete(key) => {
                    let (kind, id) = columns(*key);
                    deleted.push(json!([kind, id]));
                }
            }
        }
        let write = "INSERT OR REPLACE INTO record (kind, id, due, body)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)";
        let delete = "DELETE FROM record WHERE (kind, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
        for (statement, rows) in [(write, written), (delete, deleted)] {
            if !rows.is_empty() {
                let rows = serde_json::Value::Array(rows).to_string();
                self.sql.exec(statement, vec![rows.into()]).map_err(failed)?;
            }
        }
        self.known.learn(changes);
        Ok(())
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
        Key::Certificate(serial) => (5, serial.to_string()),
        Key::Response(serial, CertIdHash::Sha1) => (8, serial.to_string()),
        Key::Response(serial, CertIdHash::Sha256) => (9, serial.to_string()),
        Key::Crl => (10, String::new()),
        Key::Renewal(serial) => (20, serial.to_string()),
        Key::Load(number) => (21, number.to_string()),
        Key::Held(id) => (22, id.to_string()),
        Key::Retired => (6, String::new()),
        Key::Meter(Metered::Orders) => (7, "orders".to_owned()),
        Key::Meter(Metered::Failures) => (7, "failures".to_owned()),
        Key::Meter(Metered::KeyChanges) => (7, "key-changes".to_owned()),
    }
}

fn key(row: &[SqlStorageValue]) -> Option<Key> {
    match row {
        [SqlStorageValue::Integer(0), SqlStorageValue::String(_)] => Some(Key::Account),
        [SqlStorageValue::Integer(1), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Order),
        [SqlStorageValue::Integer(2), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Authorization),
        [SqlStorageValue::Integer(3), SqlStorageValue::String(_)] => Some(Key::Pointer),
        [SqlStorageValue::Integer(4), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Reusable),
        [SqlStorageValue::Integer(5), SqlStorageValue::String(serial)] => serial.parse().ok().map(Key::Certificate),
        [SqlStorageValue::Integer(6), SqlStorageValue::String(_)] => Some(Key::Retired),
        [SqlStorageValue::Integer(7), SqlStorageValue::String(metered)] => match metered.as_str() {
            "orders" => Some(Key::Meter(Metered::Orders)),
            "failures" => Some(Key::Meter(Metered::Failures)),
            "key-changes" => Some(Key::Meter(Metered::KeyChanges)),
            _ => None,
        },
        [SqlStorageValue::Integer(8), SqlStorageValue::String(serial)] => {
            serial.parse().ok().map(|serial| Key::Response(serial, CertIdHash::Sha1))
        }
        [SqlStorageValue::Integer(9), SqlStorageValue::String(serial)] => {
            serial.parse().ok().map(|serial| Key::Response(serial, CertIdHash::Sha256))
        }
        [SqlStorageValue::Integer(10), SqlStorageValue::String(_)] => Some(Key::Crl),
        [SqlStorageValue::Integer(20), SqlStorageValue::String(serial)] => serial.parse().ok().map(Key::Renewal),
        [SqlStorageValue::Integer(21), SqlStorageValue::String(number)] => number.parse().ok().map(Key::Load),
        [SqlStorageValue::Integer(22), SqlStorageValue::String(id)] => id.parse().ok().map(Key::Held),
        _ => None,
    }
}

fn schema_of(sql: &SqlStorage) -> Result<Schema, StorageFault> {
    let table = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'about'";
    if first_text(sql, table, Vec::new())?.is_none() {
        return Ok(Schema::Absent);
    }
    let mut rows = sql.exec("SELECT version FROM about", None).map_err(unreadable)?.raw();
    match rows.next().transpose().map_err(unreadable)?.as_deref() {
        Some([SqlStorageValue::Integer(version)]) => {
            usize::try_from(*version).map(Schema::Version).map_err(|_| StorageFault::UnknownForm)
        }
        // The table was made, its row was not: the first commit failed.
        None => Ok(Schema::Absent),
        Some(_) => Err(StorageFault::UnknownForm),
    }
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
