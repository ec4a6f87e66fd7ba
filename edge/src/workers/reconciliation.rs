//! Reconciliation of one signer's journal with the orders, by the alarm of its [`Journal`] object and never on the way of an answer:
//! every certificate that the journal names is judged once (see [`crate::status::case`]), and what nobody has is revoked.
//!
//! **Why nothing is skipped.** Accounts' objects and the signer are asked without anything being held. From there to the commit
//! there is no await: the cursor moves in the same commit as the cases that it leaves behind, and only from where it was asked.

use std::time::Duration;

use futures_util::future::join_all;
use shared::signing::{DisownRequest, RecordsReply, RecordsRequest, RevokeReply, Revoked, SignedRecord};
use worker::{Delay, Env, Method, Request, RequestInit, SqlStorageValue, console_error};

use super::{
    environment::{self, Environment},
    journal::{Journal, failed},
    rollover,
    signer::{self, Unreachable},
    status,
};
use crate::{
    acme::{kept::Kept, pool::config::SignerConfig, problem::Problem},
    status::{
        case::{Case, CaseState, Judged, Rules, Undelivered, Whose},
        metrics::Report,
        reconciliation::{Reconciliation, Tally},
        revocation,
    },
};

/// The URL by which the object of a journal is asked what it has found.
pub(super) const REPORT: &str = "https://report.objects/";
/// The URL by which a status object is told of a certificate that was revoked because nobody has it.
pub(super) const DISOWNED: &str = "https://disowned.objects/";

/// Answers of a signer that one alarm takes in at most; the next one goes on.
const ROUNDS: usize = 20;

/// Cases that one alarm looks at again at most, and certificates that it has revoked.
const BATCH: u32 = 100;
const DISOWNS: usize = 10;

/// Accounts whose certificates are judged between two commits: what an alarm that is cut short has judged stays judged.
const PART: usize = 8;

/// Accounts' objects that are asked at the same time.
const WIDTH: usize = 4;

/// After each part so many times what it took is left to those who wait for certificates, but no longer than this, in milliseconds: after
/// a burst accounts' objects are asked by the hundred, some of them woken for it.
const REST: (u64, u64) = (3, 250);

/// Cases in one report; one with more says that it does not have them all.
const REPORTED: u32 = 10_000;

/// Seconds for which a signer is left alone that does not know the verb.
const SILENCE: u64 = 3600;

impl Journal {
    /// Looks at what is new in a journal of this length, and again at what is due. False when there is more.
    pub(super) async fn reconcile(
        &self,
        signer: &SignerConfig,
        length: u64,
        environment: &Environment,
    ) -> worker::Result<bool> {
        let mut before = self.begun(length)?;
        let is_silent = || self.silent_until.get().is_some_and(|until| environment::now() < until);
        let mut rounds = 0;
        while before.cursor < length && rounds < ROUNDS && !is_silent() {
            rounds = rounds.saturating_add(1);
            let asked = signer::records(&self.env, signer, RecordsRequest { from: before.cursor }).await;
            let (certificates, next) = match asked {
                Ok(RecordsReply::Records { certificates, next, .. }) if next > before.cursor => (certificates, next),
                Ok(RecordsReply::Records { .. }) => break,
                Ok(RecordsReply::Refused(refused)) => return Err(failed(format!("records: {refused:?}"))),
                Err(Unreachable::NotAReply { status: 404 }) => {
                    console_error!("{} does not know the verb records: no reconciliation", signer.binding);
                    self.silent_until.set(Some(environment::now().plus(SILENCE)));
                    break;
                }
                Err(error) => return Err(failed(error)),
            };
            // Another alarm that was faster sees to the rest.
            let Some(after) = self.take_in(certificates, before, next, environment).await? else { return Ok(true) };
            before = after;
        }
        self.look_again(signer, &before, environment).await?;
        Ok(before.cursor >= length || is_silent())
    }

    /// Judges the certificates of one answer, behind which the journal goes on with the record `next`; nothing when another alarm was faster.
    async fn take_in(
        &self,
        certificates: Vec<SignedRecord>,
        mut before: Reconciliation,
        next: u64,
        environment: &Environment,
    ) -> worker::Result<Option<Reconciliation>> {
        let now = environment::now();
        let cases: Vec<_> = certificates.into_iter().map(|signed| Case::new(signed, now)).collect();
        let mut left = cases.as_slice();
        loop {
            let (part, more) = split(left, environment);
            let next = more.first().map_or(next, |first| first.signed.index);
            let began = environment::millis();
            let Some(after) = self.take_in_part(part, &before, next, environment).await? else { return Ok(None) };
            before = after;
            if more.is_empty() {
                return Ok(Some(before));
            }
            left = more;
            rest(began).await;
        }
    }

    async fn take_in_part(
        &self,
        cases: &[Case],
        before: &Reconciliation,
        next: u64,
        environment: &Environment,
    ) -> worker::Result<Option<Reconciliation>> {
        let kept = self.ask(cases, environment).await;
        // From here to the commit no await.
        let mut after = self.begun(next)?;
        if after.cursor != before.cursor {
            return Ok(None);
        }
        let rules = rules(environment, after.from);
        for (case, kept) in cases.iter().zip(kept) {
            after.tally.seen(&case.signed.profile);
            self.judge(case, kept, &rules, &mut after.tally, false)?;
        }
        after.cursor = next;
        self.store(&after)?;
        Ok(Some(after))
    }

    /// Sees to the cases that are due.
    async fn look_again(
        &self,
        signer: &SignerConfig,
        before: &Reconciliation,
        environment: &Environment,
    ) -> worker::Result<()> {
        let (undelivered, undecided): (Vec<_>, Vec<_>) =
            self.due()?.into_iter().partition(|case| matches!(case.state, CaseState::Undelivered(_)));
        let rules = rules(environment, before.from);
        let mut left = undecided.as_slice();
        while !left.is_empty() {
            let (part, more) = split(left, environment);
            left = more;
            let began = environment::millis();
            let kept = self.ask(part, environment).await;
            // From here to the commit no await.
            let mut after = self.begun(before.from)?;
            for (case, kept) in part.iter().zip(kept) {
                self.judge(case, kept, &rules, &mut after.tally, true)?;
            }
            self.store(&after)?;
            rest(began).await;
        }
        let (due, over): (Vec<_>, Vec<_>) = undelivered.into_iter().partition(Case::is_due);
        for case in over {
            self.forget(&case)?;
        }
        for case in due.into_iter().take(DISOWNS) {
            self.disown(case, signer, &rules, environment).await?;
        }
        Ok(())
    }

    /// Has a certificate revoked that nobody has. Its status object knows before it counts as revoked.
    async fn disown(
        &self,
        case: Case,
        signer: &SignerConfig,
        rules: &Rules<'_>,
        environment: &Environment,
    ) -> worker::Result<()> {
        let serial = case.signed.serial;
        let mut answer = signer::disown(&self.env, signer, DisownRequest { serial }).await.ok();
        if let Some(RevokeReply::Revoked(revoked)) = &answer
            && let Err(error) = tell_status(&self.env, environment, revoked).await
        {
            console_error!("{}: {serial} is revoked, and its status object does not know: {error}", signer.binding);
            answer = None;
        }
        let (case, again) = case.disowned(answer.as_ref(), rules, environment::now());
        // From here to the commit no await.
        let mut after = self.begun(rules.from)?;
        if let CaseState::Undelivered(Undelivered { revocation, .. }) = case.state {
            console_error!("{}: {serial} that nobody has: {revocation:?}", signer.binding);
            after.tally.disowned(revocation);
        }
        self.keep(&case, again.seconds())?;
        self.store(&after)
    }

    /// What accounts' objects say of each of these, each object asked once; nothing of those that cannot be asked.
    async fn ask(&self, cases: &[Case], environment: &Environment) -> Vec<Option<Kept>> {
        let now = environment::now();
        let mut found = vec![None; cases.len()];
        // Few enough that a list will do: a map of these would be one more in the module.
        let mut accounts: Vec<(_, Vec<_>)> = Vec::new();
        for ((place, case), found) in cases.iter().enumerate().zip(&mut found) {
            match case.whose(&environment.urls, now) {
                Whose::Known(kept) => *found = Some(kept),
                Whose::Order(account, order) => {
                    let asked = (place, (order, case.signed.serial));
                    match accounts.iter_mut().find(|(other, _)| *other == account) {
                        Some((_, orders)) => orders.push(asked),
                        None => accounts.push((account, vec![asked])),
                    }
                }
            }
        }
        for some in accounts.chunks(WIDTH) {
            let answers = join_all(some.iter().map(|(account, orders)| {
                let orders = orders.iter().map(|(_, order)| *order).collect();
                rollover::ask_kept(&self.env, environment, *account, orders)
            }));
            for ((_, orders), answer) in some.iter().zip(answers.await) {
                for ((place, _), kept) in orders.iter().zip(answer.unwrap_or_default()) {
                    found.iter_mut().skip(*place).take(1).for_each(|found| *found = Some(kept));
                }
            }
        }
        found
    }

    fn judge(
        &self,
        case: &Case,
        kept: Option<Kept>,
        rules: &Rules<'_>,
        tally: &mut Tally,
        is_stored: bool,
    ) -> worker::Result<()> {
        let judged = case.clone().judged(kept, rules, environment::now());
        tally.judged(&judged);
        match judged {
            Judged::Open(case, again) => {
                if let CaseState::Undelivered(_) = case.state {
                    let SignedRecord { order, serial, index, .. } = &case.signed;
                    console_error!("nobody has the certificate {serial} of {order} (journal index {index})");
                }
                self.keep(&case, again.seconds())
            }
            Judged::Delivered(_) | Judged::Past if is_stored => self.forget(case),
            Judged::Delivered(_) | Judged::Past => Ok(()),
        }
    }

    /// What operators see.
    pub(super) fn report(&self) -> worker::Result<Report> {
        self.migrate()?;
        let statement = "SELECT body FROM reconciliation_case ORDER BY due LIMIT ?";
        let mut cases = self.cases(statement, REPORTED.saturating_add(1))?;
        let room = usize::try_from(REPORTED).unwrap_or(usize::MAX);
        let more = cases.len() > room;
        cases.truncate(room);
        Ok(Report { journal: self.known()?, reconciliation: self.stored()?, absorbed: self.absorbed()?, cases, more })
    }

    /// Where reconciliation is; it begins with a journal of this length.
    pub(super) fn begun(&self, length: u64) -> worker::Result<Reconciliation> {
        self.migrate()?;
        let stored = self.stored()?;
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let new = Reconciliation::new(length);
        self.store(&new)?;
        Ok(new)
    }

    fn stored(&self) -> worker::Result<Option<Reconciliation>> {
        self.first(1)?.map(|body| Ok(serde_json::from_slice(body.as_bytes())?)).transpose()
    }

    fn store(&self, reconciliation: &Reconciliation) -> worker::Result<()> {
        self.put(1, &serde_json::to_string(reconciliation)?)
    }

    fn due(&self) -> worker::Result<Vec<Case>> {
        let now = environment::now().seconds();
        let statement = format!("SELECT body FROM reconciliation_case WHERE due <= {now} ORDER BY due LIMIT ?");
        self.cases(&statement, BATCH)
    }

    fn cases(&self, statement: &str, limit: u32) -> worker::Result<Vec<Case>> {
        let rows = self.state.storage().sql().exec(statement, vec![SqlStorageValue::Integer(limit.into())])?.raw();
        rows.map(|row| match row?.as_slice() {
            [SqlStorageValue::String(body)] => Ok(serde_json::from_slice(body.as_bytes())?),
            _ => Err(failed("a case is of an unknown form")),
        })
        .collect()
    }

    fn keep(&self, case: &Case, due: u64) -> worker::Result<()> {
        let due = SqlStorageValue::Integer(i64::try_from(due).unwrap_or(i64::MAX));
        let row = vec![case.signed.serial.to_string().into(), due, serde_json::to_string(case)?.into()];
        let statement = "INSERT OR REPLACE INTO reconciliation_case (serial, due, body) VALUES (?, ?, ?)";
        self.state.storage().sql().exec(statement, row).map(drop)
    }

    fn forget(&self, case: &Case) -> worker::Result<()> {
        let serial = vec![case.signed.serial.to_string().into()];
        self.state.storage().sql().exec("DELETE FROM reconciliation_case WHERE serial = ?", serial).map(drop)
    }

    pub(super) fn first(&self, row: i64) -> worker::Result<Option<String>> {
        let row = vec![SqlStorageValue::Integer(row)];
        let mut rows = self.state.storage().sql().exec("SELECT body FROM reconciliation WHERE one = ?", row)?.raw();
        match rows.next().transpose()?.as_deref() {
            Some([SqlStorageValue::String(body)]) => Ok(Some(body.clone())),
            _ => Ok(None),
        }
    }

    pub(super) fn put(&self, row: i64, body: &str) -> worker::Result<()> {
        let row = vec![SqlStorageValue::Integer(row), body.into()];
        self.state
            .storage()
            .sql()
            .exec("INSERT OR REPLACE INTO reconciliation (one, body) VALUES (?, ?)", row)
            .map(drop)
    }

    pub(super) fn migrate(&self) -> worker::Result<()> {
        let tables = "
CREATE TABLE IF NOT EXISTS reconciliation (one INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reconciliation_case (serial TEXT PRIMARY KEY, due INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reconciliation_due ON reconciliation_case (due);
";
        self.state.storage().sql().exec(tables, None).map(drop)
    }
}

/// The certificates that are judged before the next commit, and the rest.
fn split<'a>(cases: &'a [Case], environment: &Environment) -> (&'a [Case], &'a [Case]) {
    let (now, mut accounts) = (environment::now(), Vec::new());
    let fits = |case: &&Case| match case.whose(&environment.urls, now) {
        Whose::Known(_) => true,
        Whose::Order(account, _) => {
            if !accounts.contains(&account) {
                accounts.push(account);
            }
            accounts.len() <= PART
        }
    };
    let length = cases.iter().take_while(fits).count();
    cases.split_at_checked(length).unwrap_or((cases, &[]))
}

/// Leaves the time to others for a while after something that began then.
async fn rest(began: u64) {
    let (times, most) = REST;
    let took = environment::millis().saturating_sub(began);
    Delay::from(Duration::from_millis(took.saturating_mul(times).min(most))).await;
}

fn rules(environment: &Environment, from: u64) -> Rules<'_> {
    let config = &environment.config;
    Rules { config: &config.reconciliation, lifetimes: &config.lifetimes, urls: &environment.urls, from }
}

async fn tell_status(env: &Env, environment: &Environment, revoked: &Revoked) -> worker::Result<()> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(serde_json::to_string(revoked)?.into()));
    let request = Request::new_with_init(DISOWNED, &init)?;
    let answer = status::stub(env, environment, revoked.serial)?.fetch_with_request(request).await?;
    if answer.status_code() == 200 { Ok(()) } else { Err(failed(answer.status_code())) }
}

impl status::Incarnation {
    /// A signer has revoked a certificate that nobody has.
    pub(super) async fn disowned(&self, revoked: Revoked, environment: &Environment) -> Result<(), Problem> {
        // No await before the commit.
        let (now, status) = (environment::now(), &environment.config.status);
        let due = now.plus(status.memory_seconds.saturating_add(1));
        let changes = revocation::disowned(&self.rows()?, revoked, status.purge.is_some(), (now, due))?;
        self.commit(&changes)?;
        self.alarm.arm(&self.state, &self.rows()?, now).await;
        Ok(())
    }
}
