//! The Journal object: what one signer's journal was like, so that a signer that was restored from an older copy, or whose journal
//! was cut, is noticed before it is asked for anything. One object for each signer; every isolate asks it now and then. Its alarm
//! also reconciles the journal with the orders (see [`super::reconciliation`]).
//!
//! **Why nothing is forgotten.** The signer is asked without anything being held; what its answer means is decided on the row as
//! it is then, and from there to the commit there is no await. The longest checkpoint stays.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shared::{checkpoint::BrokenJournal, timestamp::Timestamp};
use worker::{
    DurableObject, Env, Method, Request, RequestInit, Response, SqlStorage, SqlStorageValue, State, console_error,
    durable_object,
};

use super::{
    absorbed,
    alarm::ring_by,
    environment::{self, Environment},
    flight::Successive,
    reconciliation,
    rollover::HOST,
    signer,
    timeout::within,
};
use crate::{acme::pool::config::SignerConfig, status::journal::JournalRecord};

/// The binding of the objects' namespace.
const BINDING: &str = "JOURNAL";

/// Seconds for which a comparison counts, in the object and in an isolate.
const FRESH: u64 = 20;

/// So long an alarm may reconcile: the guard ends what takes longer, and the next one goes on.
const RECONCILING: Duration = Duration::from_secs(15);

/// After so many seconds what is left is gone on with.
const SOON: u64 = 5;

/// Why a signer is not asked. The words are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// It has lost records.
    #[error("it is not asked any more: {0}")]
    Broken(BrokenJournal),
    /// The object or the signer does not answer.
    #[error("its journal cannot be compared: {0}")]
    Unknown(String),
}

/// What the object is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    /// The binding of the signer.
    signer: String,
    /// True: what was found some seconds ago does not count.
    anew: bool,
}

thread_local! {
    /// What the isolate knows, by binding; nothing of a signer that did not answer since.
    static KNOWN: RefCell<BTreeMap<String, Option<JournalRecord>>> = RefCell::default();
}

/// Finds a signer's journal to continue what it was, now or some seconds ago.
///
/// # Errors
/// When it does not, or when nobody can say.
pub(super) async fn admit(env: &Env, signer: &SignerConfig) -> Result<(), NotAdmitted> {
    let known = KNOWN.with_borrow(|known| known.get(&signer.binding).cloned());
    let anew = known == Some(None);
    let record = match known.flatten() {
        Some(record) if is_fresh(&record, environment::now()) => record,
        _ => {
            let asked = ask(env, &Question { signer: signer.binding.clone(), anew }).await;
            let record = asked.map_err(|error| NotAdmitted::Unknown(error.to_string()))?;
            KNOWN.with_borrow_mut(|known| known.insert(signer.binding.clone(), Some(record.clone())));
            record
        }
    };
    record.broken.map_or(Ok(()), |broken| Err(NotAdmitted::Broken(broken)))
}

/// A signer did not answer: it may come back with another journal, which is compared anew before the next question.
pub(super) fn forget(signer: &SignerConfig) {
    KNOWN.with_borrow_mut(|known| known.insert(signer.binding.clone(), None));
}

/// The signers whose journals this isolate knows to be broken, for diagnostics.
pub(super) fn broken() -> Vec<String> {
    KNOWN.with_borrow(|known| {
        known.values().flatten().filter(|record| record.broken.is_some()).map(|record| record.signer.clone()).collect()
    })
}

const fn is_fresh(record: &JournalRecord, now: Timestamp) -> bool {
    now.since(record.compared) < FRESH
}

/// Asks the object, in one hop.
async fn ask(env: &Env, question: &Question) -> worker::Result<JournalRecord> {
    let mut response = send(env, &question.signer, HOST, serde_json::to_string(question)?).await?;
    match response.status_code() {
        200 => Ok(serde_json::from_slice(&response.bytes().await?)?),
        _ => Err(worker::Error::RustError(response.text().await?)),
    }
}

/// One request to the object of a signer.
pub(super) async fn send(env: &Env, signer: &str, url: &str, body: String) -> worker::Result<Response> {
    let environment = Environment::of(env).map_err(failed)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let object = format!("{}/{signer}", environment.config.deployment);
    let stub = env.durable_object(BINDING)?.get_by_name(&object)?;
    stub.fetch_with_request(Request::new_with_init(url, &init)?).await
}

/// The journal of one signer.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct Journal {
    pub(super) state: State,
    pub(super) env: Env,
    /// Until then the signer is taken not to know the verb `records`.
    pub(super) silent_until: Cell<Option<Timestamp>>,
    /// True when this incarnation has set the alarm.
    armed: Cell<bool>,
    comparisons: Successive<Result<JournalRecord, String>>,
    /// The row, with the time of the last comparison, which alone is not worth a write.
    latest: RefCell<Option<JournalRecord>>,
}

impl DurableObject for Journal {
    fn new(state: State, env: Env) -> Self {
        Self {
            state,
            env,
            silent_until: Cell::default(),
            armed: Cell::default(),
            comparisons: Successive::default(),
            latest: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let body = request.bytes().await?;
        match request.inner().url().as_str() {
            reconciliation::REPORT => return Response::from_json(&self.report()?),
            absorbed::ABSORBED => return self.absorb(serde_json::from_slice(&body)?),
            _ => {}
        }
        let Question { signer, anew } = serde_json::from_slice(&body)?;
        if !self.armed.get() {
            self.arm().await?;
        }
        match self.present(signer, anew).await {
            Ok(record) => Response::from_json(&record),
            Err(error) => Response::error(error, 502),
        }
    }

    /// Compares though nobody has asked, and reconciles.
    async fn alarm(&self) -> worker::Result<Response> {
        self.armed.set(false);
        let Some(record) = self.known()? else { return Response::empty() };
        let environment = self.environment()?;
        // A signer that was taken out of the configuration is left alone.
        let Some(signer) = environment.config.signers.iter().find(|signer| signer.binding == record.signer) else {
            return Response::empty();
        };
        // First: a signer that does not answer takes as long as the guard gives.
        self.arm().await?;
        match self.present(record.signer, true).await {
            Ok(JournalRecord { broken: None, checkpoint, .. }) => {
                match within(RECONCILING, self.reconcile(signer, checkpoint.length, &environment)).await {
                    Some(Ok(true)) => {}
                    Some(Ok(false)) | None => self.arm_in(SOON).await?,
                    Some(Err(error)) => console_error!("{}: reconciliation: {error}", signer.binding),
                }
            }
            Ok(_) => {}
            Err(error) => console_error!("{}: {error}", signer.binding),
        }
        Response::empty()
    }
}

impl Journal {
    async fn arm(&self) -> worker::Result<()> {
        self.arm_in(u64::MAX).await
    }

    /// Rings after the usual time, but not later than after so many seconds.
    async fn arm_in(&self, most: u64) -> worker::Result<()> {
        let every = self.environment()?.config.reconciliation.interval_seconds.min(most);
        ring_by(&self.state, environment::now().plus(every)).await?;
        self.armed.set(true);
        Ok(())
    }

    /// What is known of the journal now; the signer is asked anew, unless it was just now and that is enough. However many want to know,
    /// a signer that hangs has one question at a time.
    async fn present(&self, signer: String, anew: bool) -> Result<JournalRecord, String> {
        // Only this incarnation's own comparisons count: what restarted the object may have restored the signer.
        let latest = self.latest.borrow().clone();
        if let Some(record) = latest.filter(|record| !anew && is_fresh(record, environment::now())) {
            return Ok(record);
        }
        let comparison = async { self.compare(signer).await.map_err(|error| error.to_string()) };
        self.comparisons.join(comparison).await.unwrap_or_else(|| Err("the comparison has ended".to_owned()))
    }

    /// Asks the signer.
    async fn compare(&self, signer: String) -> worker::Result<JournalRecord> {
        let asked = self.known()?.unwrap_or_else(|| JournalRecord::new(signer));
        let environment = self.environment()?;
        let config = environment.config.signers.iter().find(|config| config.binding == asked.signer);
        let config = config.ok_or_else(|| failed("the configuration has no such signer"))?;
        let reply = signer::journal(&self.env, config, asked.question()).await.map_err(failed)?;
        // From here to the commit no await.
        let before = self.known()?;
        let latest = before.clone().unwrap_or_else(|| asked.clone());
        let record = latest.compared(&asked.checkpoint, reply, environment::now()).map_err(failed)?;
        if let Some(broken) = &record.broken {
            console_error!("{}: {broken}. It is not asked any more (docs/journal.md).", record.signer);
        }
        if before.is_none() {
            // Nothing was asked of the signer yet: what its journal has is none of ours.
            self.begun(record.checkpoint.length)?;
        }
        if before.is_none_or(|before| before.checkpoint != record.checkpoint || before.broken != record.broken) {
            store(&self.state.storage().sql(), &record)?;
        }
        self.latest.replace(Some(record.clone()));
        Ok(record)
    }

    pub(super) fn known(&self) -> worker::Result<Option<JournalRecord>> {
        match &*self.latest.borrow() {
            Some(record) => Ok(Some(record.clone())),
            None => load(&self.state.storage().sql()),
        }
    }

    fn environment(&self) -> worker::Result<std::rc::Rc<Environment>> {
        Environment::of(&self.env).map_err(failed)
    }
}

fn load(sql: &SqlStorage) -> worker::Result<Option<JournalRecord>> {
    sql.exec("CREATE TABLE IF NOT EXISTS journal (one INTEGER PRIMARY KEY, body TEXT NOT NULL)", None)?;
    let mut rows = sql.exec("SELECT body FROM journal", None)?.raw();
    match rows.next().transpose()?.as_deref() {
        Some([SqlStorageValue::String(body)]) => Ok(Some(serde_json::from_str(body)?)),
        _ => Ok(None),
    }
}

fn store(sql: &SqlStorage, record: &JournalRecord) -> worker::Result<()> {
    let body = serde_json::to_string(record)?;
    sql.exec("INSERT OR REPLACE INTO journal (one, body) VALUES (1, ?)", vec![body.into()])?;
    Ok(())
}

pub(super) fn failed(error: impl std::fmt::Display) -> worker::Error {
    worker::Error::RustError(error.to_string())
}
