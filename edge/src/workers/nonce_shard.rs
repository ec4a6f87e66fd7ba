//! The NonceShard object: remembers the nonces of newNonce that were spent, until they expire.
//!
//! **Why a nonce is redeemed at most once in the world.** A nonce names its shard, so all attempts to spend it meet in one
//! object, of which the platform runs at most one incarnation. There, one INSERT under a primary key decides: of two
//! attempts one finds the row. No await lies between that statement and the verdict. The platform holds the answer back
//! until the row is on disk, so a crash after the answer cannot forget it; a crash before it leaves a spent nonce that
//! nobody was told of, which costs the client one retry. Rows are deleted only after their nonce has expired, when the
//! edge refuses it anyway; both sides read the same platform's clock, and rows stay [`MARGIN`] longer.

use std::cell::Cell;

use serde::Deserialize;
use shared::{base64url, timestamp::Timestamp};
use worker::{
    DurableObject, Env, Request, Response, SqlStorage, SqlStorageValue, State, console_error, durable_object,
};

use super::{
    alarm::ring_by,
    environment::{self, Environment},
};
use crate::acme::{nonce::EdgeNonce, problem::Problem};

/// The binding of the objects' namespace.
const BINDING: &str = "NONCE_SHARD";

/// Seconds that a row outlives its nonce.
const MARGIN: u64 = 60;

/// Seconds between two sweeps at least.
const SWEEP: u64 = 60;

/// Spends a nonce of the edge, in one hop: true when this is the first time.
///
/// # Errors
/// When the shard cannot be asked; then the nonce may be spent.
pub(super) async fn redeem(environment: &Environment, env: &Env, nonce: EdgeNonce) -> Result<bool, Problem> {
    let failed = |error: worker::Error| {
        console_error!("nonce shard {}: {error}", nonce.shard);
        Problem::Internal("a nonce shard cannot be asked")
    };
    let name = format!("{}/{}", environment.config.deployment, nonce.shard);
    let stub = env.durable_object(BINDING).and_then(|namespace| namespace.get_by_name(&name)).map_err(failed)?;
    let url = format!("https://nonce-shard/{}/{}", base64url::encode(&nonce.random), nonce.expires.seconds());
    match stub.fetch_with_str(&url).await.map_err(failed)?.status_code() {
        200 => Ok(true),
        409 => Ok(false),
        _ => Err(Problem::Internal("a nonce shard failed")),
    }
}

/// One shard of the spent nonces.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct NonceShard {
    state: State,
    /// True once this incarnation has made the table.
    exists: Cell<bool>,
    /// True while this incarnation knows of an alarm that will sweep.
    armed: Cell<bool>,
}

/// A row of the question when the next nonce expires.
#[derive(Deserialize)]
struct Next {
    expires: Option<f64>,
}

impl DurableObject for NonceShard {
    fn new(state: State, _env: Env) -> Self {
        Self { state, exists: Cell::new(false), armed: Cell::new(false) }
    }

    /// `/{nonce}/{expires}`: 200 when it was not spent before, 409 when it was.
    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let path = request.path();
        let Some((random, expires)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return Response::error("", 400);
        };
        let (Ok(random), Ok(expires)) = (base64url::decode(random), expires.parse::<u64>()) else {
            return Response::error("", 400);
        };
        let sql = self.state.storage().sql();
        if !self.exists.get() {
            create(&sql)?;
            self.exists.set(true);
        }
        let first_time = insert(&sql, random, expires)?;
        if !self.armed.get() {
            self.schedule(&sql).await?;
        }
        Ok(Response::empty()?.with_status(if first_time { 200 } else { 409 }))
    }

    /// Forgets what has expired.
    async fn alarm(&self) -> worker::Result<Response> {
        let sql = self.state.storage().sql();
        create(&sql)?;
        let expired = environment::now().minus(MARGIN).seconds();
        sql.exec("DELETE FROM spent WHERE expires < ?", vec![integer(expired)])?;
        self.schedule(&sql).await?;
        Response::empty()
    }
}

impl NonceShard {
    /// Sets the alarm for the next row that can be forgotten, if there is a row.
    async fn schedule(&self, sql: &SqlStorage) -> worker::Result<()> {
        let next = sql.exec("SELECT MIN(expires) AS expires FROM spent", None)?.to_array::<Next>()?;
        self.armed.set(false);
        let Some(expires) = next.first().and_then(|row| row.expires) else { return Ok(()) };
        // A time that was written as u64: seconds since the epoch are far below 2^53.
        let expires = Timestamp::from_seconds(expires as u64);
        let at = expires.plus(MARGIN).max(environment::now().plus(SWEEP));
        ring_by(&self.state, at).await?;
        self.armed.set(true);
        Ok(())
    }
}

fn create(sql: &SqlStorage) -> worker::Result<()> {
    let statement = "CREATE TABLE IF NOT EXISTS spent (nonce BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID";
    sql.exec(statement, None).map(drop)
}

/// True when the row is new.
fn insert(sql: &SqlStorage, nonce: Vec<u8>, expires: u64) -> worker::Result<bool> {
    let statement = "INSERT INTO spent (nonce, expires) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING expires";
    let rows = sql.exec(statement, vec![SqlStorageValue::Blob(nonce), integer(expires)])?;
    Ok(rows.raw().next().transpose()?.is_some())
}

fn integer(value: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}
