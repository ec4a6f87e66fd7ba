//! The Meter object: how often one address opened accounts, or the accounts of one external account binding ordered and failed.
//! Asked only where such a limit is configured; forgets itself when it says nothing any more.
//!
//! **Why nothing is counted twice or lost.** One object for each name; no await lies between reading the meters and writing them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{base64url, timestamp::Timestamp};
use worker::{
    DurableObject, Env, Method, Request, RequestInit, Response, SqlStorage, SqlStorageValue, State, console_error,
    durable_object,
};

use super::{
    alarm::scheduled,
    environment::{self, Environment},
    rollover::HOST,
};
use crate::acme::{
    problem::Problem,
    rate_limit::{Meter as Count, MeterName, MeterQuestion, Rate, UsedUp},
};

/// The binding of the objects' namespace.
const BINDING: &str = "METER";

/// The meters of one object.
const TAKEN: &str = "taken";
const FAILED: &str = "failed";

/// What the object is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    take: Option<Rate>,
    failures: Option<Rate>,
    /// True: counts a failure instead of asking about them, as the version before did.
    failed: bool,
    /// True: counts a failure, unless the rate is used up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reserves: bool,
    /// True: takes back a failure that was counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refunds: bool,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
enum Verdict {
    Fine,
    TakenUp(u64),
    FailedUp(u64),
}

/// Asks a meter, in one hop.
///
/// # Errors
/// `rateLimited`; when the meter cannot be asked.
pub(super) async fn ask(env: &Env, environment: &Environment, question: MeterQuestion) -> Result<(), Problem> {
    let MeterQuestion { name, take, failures, reserves } = question;
    let question = Question { take, failures, failed: false, reserves, refunds: false };
    let verdict = exchange(env, environment, &name, &question).await?;
    match (verdict, name) {
        (Verdict::Fine, _) => Ok(()),
        (Verdict::TakenUp(seconds), MeterName::Address(_)) => {
            Err(Problem::RateLimited("new accounts from this address", seconds))
        }
        (Verdict::TakenUp(seconds), MeterName::Binding(_)) => {
            Err(Problem::RateLimited("new orders of accounts with this external account binding", seconds))
        }
        (Verdict::FailedUp(seconds), _) => {
            Err(Problem::RateLimited("failed validations of accounts with this external account binding", seconds))
        }
    }
}

/// Takes back a failure that was counted for a validation that did not begin, or that succeeded.
pub(super) async fn refund_failure(env: &Env, environment: &Environment, name: &MeterName, rate: Rate) {
    let question = Question { take: None, failures: Some(rate), failed: false, reserves: false, refunds: true };
    if let Err(problem) = exchange(env, environment, name, &question).await {
        // One failure too many stays counted, until the rate has it back.
        console_error!("{problem:?}");
    }
}

async fn exchange(
    env: &Env,
    environment: &Environment,
    name: &MeterName,
    question: &Question,
) -> Result<Verdict, Problem> {
    let failed = |error: worker::Error| {
        console_error!("meter {name:?}: {error}");
        Problem::Internal("a meter cannot be asked")
    };
    // A hash, because a key id may be any text.
    let of = base64url::encode(&match name {
        MeterName::Address(address) => Sha256::digest(format!("address {address}")),
        MeterName::Binding(key_id) => Sha256::digest(format!("binding {key_id}")),
    });
    let body = serde_json::to_string(question).map_err(|error| failed(error.into()))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let request = Request::new_with_init(HOST, &init).map_err(failed)?;
    let object = format!("{}/{of}", environment.config.deployment);
    let stub = env.durable_object(BINDING).and_then(|namespace| namespace.get_by_name(&object)).map_err(failed)?;
    let bytes = stub.fetch_with_request(request).await.map_err(failed)?.bytes().await.map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}

/// The meters of one address or binding.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct Meter {
    state: State,
}

impl DurableObject for Meter {
    fn new(state: State, _env: Env) -> Self {
        Self { state }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let question: Question = serde_json::from_slice(&request.bytes().await?)?;
        let (verdict, forgettable) = answer(&self.state.storage().sql(), &question, environment::now())?;
        if let Some(forgettable) = forgettable {
            self.state.storage().set_alarm(scheduled(forgettable)).await?;
        }
        Response::from_json(&verdict)
    }

    /// Forgets everything once it says nothing any more.
    async fn alarm(&self) -> worker::Result<Response> {
        let sql = self.state.storage().sql();
        let until = load(&sql, TAKEN)?.max(load(&sql, FAILED)?).forgettable_at();
        if until > environment::now() {
            self.state.storage().set_alarm(scheduled(until)).await?;
        } else {
            self.state.storage().delete_all().await?;
        }
        Response::empty()
    }
}

/// The verdict, and until when what was written has a meaning.
fn answer(sql: &SqlStorage, question: &Question, now: Timestamp) -> worker::Result<(Verdict, Option<Timestamp>)> {
    sql.exec("CREATE TABLE IF NOT EXISTS meter (name TEXT PRIMARY KEY, until INTEGER NOT NULL)", None)?;
    if let Some(rate) = question.failures {
        let meter = load(sql, FAILED)?;
        if question.refunds {
            return store(sql, FAILED, meter.refund(rate)).map(|until| (Verdict::Fine, Some(until)));
        }
        if question.reserves {
            return match meter.take(rate, now) {
                Ok(meter) => store(sql, FAILED, meter).map(|until| (Verdict::Fine, Some(until))),
                Err(UsedUp(seconds)) => Ok((Verdict::FailedUp(seconds), None)),
            };
        }
        if question.failed {
            return store(sql, FAILED, meter.charge(rate, now)).map(|until| (Verdict::Fine, Some(until)));
        }
        if let Err(UsedUp(seconds)) = meter.check(rate, now) {
            return Ok((Verdict::FailedUp(seconds), None));
        }
    }
    let Some(rate) = question.take else { return Ok((Verdict::Fine, None)) };
    match load(sql, TAKEN)?.take(rate, now) {
        Ok(meter) => store(sql, TAKEN, meter).map(|until| (Verdict::Fine, Some(until))),
        Err(UsedUp(seconds)) => Ok((Verdict::TakenUp(seconds), None)),
    }
}

fn load(sql: &SqlStorage, name: &str) -> worker::Result<Count> {
    let mut rows = sql.exec("SELECT until FROM meter WHERE name = ?", vec![name.into()])?.raw();
    Ok(match rows.next().transpose()?.as_deref() {
        Some([SqlStorageValue::Integer(until)]) => Count::from_milliseconds(u64::try_from(*until).unwrap_or_default()),
        _ => Count::default(),
    })
}

fn store(sql: &SqlStorage, name: &str, meter: Count) -> worker::Result<Timestamp> {
    let until = SqlStorageValue::Integer(i64::try_from(meter.milliseconds()).unwrap_or(i64::MAX));
    sql.exec("INSERT OR REPLACE INTO meter (name, until) VALUES (?, ?)", vec![name.into(), until])?;
    Ok(meter.forgettable_at())
}
