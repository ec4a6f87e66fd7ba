//! Effects of an account's object: started after the commit of their intent, run beside the requests, and taken in as
//! events through the same door. The alarm starts again what was lost.

use std::rc::Rc;

use futures_channel::oneshot;
use shared::{signed_der::Proved, signing::IssueReply};
use worker::console_error;

use super::{
    account::{Incarnation, context},
    caa,
    environment::{self, Environment},
    meter, perspective,
    pool::{self, Question},
    renewal,
    signer::{self, Unreachable},
    storage::SqlRows,
    webcrypto,
};
use crate::acme::{
    caa_check::CaaSubject,
    object_id::ObjectId,
    pool::Outcome,
    problem::Problem,
    rate_limit,
    record::{AuthorizationRecord, AuthorizationState, Record as _},
    route::AccountId,
    step::{self, Context, Effect, Event, Sign},
    storage::{Key, Rows as _},
};

/// Rows that one alarm sees to at most; the next one sees to the rest.
const BATCH: usize = 50;

impl Incarnation {
    /// Starts an effect beside the requests. What is returned ends when the effect, and all that follow from it, have
    /// been taken in; dropping it stops nothing.
    pub(super) fn start(
        self: &Rc<Self>,
        effect: Effect,
        environment: &Rc<Environment>,
        account: AccountId,
    ) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
        self.state.wait_until(async move {
            let rest = incarnation.drive(effect, &environment, account).await;
            // Nobody may be listening any more.
            let _ = end.send(());
            if let Some(effect) = rest {
                incarnation.drive(effect, &environment, account).await;
            }
        });
        ended
    }

    /// Does again what is due: the probe or the question to a signer whose outcome never came.
    ///
    /// # Errors
    /// When rows cannot be read; the platform calls again.
    pub(super) async fn ring(self: &Rc<Self>, environment: &Rc<Environment>) -> Result<(), Problem> {
        self.alarm.rang();
        // An object that never committed anything has nothing to do.
        let Some(account) = SqlRows::owner(&self.state.storage().sql())? else { return Ok(()) };
        let rows = self.rows(account)?;
        let now = environment::now();
        let mut left_over = false;
        for key in rows.due(now, BATCH)? {
            if self.running.borrow().contains(&key) {
                left_over = true;
                continue;
            }
            match self.settle(Event::Due(key), &Proved::nothing(), environment, account).await {
                Ok(Some(effect)) => drop(self.start(effect, environment, account)),
                Ok(None) => {}
                Err(problem) => {
                    console_error!("{key:?} is due: {problem:?}");
                    left_over = true;
                }
            }
        }
        // A row that stays due must not call again at once.
        let pause = if left_over { environment.config.lifetimes.redrive } else { 1 };
        self.alarm.arm(&self.state, &rows, now.plus(pause)).await;
        Ok(())
    }

    /// Runs an effect and what follows from it, one at a time for each row. What is returned follows too, and nobody waits for it.
    async fn drive(&self, first: Effect, environment: &Rc<Environment>, account: AccountId) -> Option<Effect> {
        let mut next = Some(first);
        while let Some(effect) = next.take() {
            let key = row_of(&effect);
            if !self.running.borrow_mut().insert(key) {
                return None;
            }
            let asked = question(&effect).map(|sign| sign.signer.clone());
            let event = self.run_effect(effect, environment).await;
            let unreached = matches!(&event, Event::Signed(_, Err(_)));
            let proved = match &event {
                Event::Signed(_, Ok(IssueReply::Issued(issued))) => {
                    webcrypto::prove_chain(&issued.chain, &environment.config.root).await
                }
                _ => Proved::nothing(),
            };
            let probed = match &event {
                Event::Probed(probe, _) | Event::ProbedFrom(probe, _) => Some(probe.authorization),
                Event::CaaChecked(CaaSubject::Authorization(id, _), _) => Some(*id),
                _ => None,
            };
            self.running.borrow_mut().remove(&key);
            // What is concluded already is not told, or given back, twice.
            let probed = probed.filter(|id| self.is_under_way(*id, account));
            match self.settle(event, &proved, environment, account).await {
                Ok(effect) => {
                    next = effect;
                    if let (Some(before), Some(sign)) = (asked, next.as_ref().and_then(question)) {
                        moved(&before, sign, unreached, environment);
                    }
                    if let Some(id) = probed {
                        self.report(id, environment, account).await;
                    }
                }
                // The row stays due.
                Err(problem) => console_error!("{key:?}: {problem:?}"),
            }
            match self.rows(account) {
                Ok(rows) => self.alarm.arm(&self.state, &rows, environment::now()).await,
                Err(fault) => console_error!("{key:?}: {fault}"),
            }
            if let Some(Effect::Place(..)) = next {
                return next;
            }
        }
        None
    }

    /// True while this validation is not concluded.
    fn is_under_way(&self, id: ObjectId, account: AccountId) -> bool {
        let record = self.rows(account).and_then(|rows| AuthorizationRecord::load(&rows, Key::Authorization(id)));
        matches!(record, Ok(Some(AuthorizationRecord { state: AuthorizationState::Processing(_), .. })))
    }

    /// The log hears which perspectives found no proof. A validation was counted as a failure of the account's binding
    /// when it began, where such a limit is set: one that succeeded is given back.
    async fn report(&self, id: ObjectId, environment: &Environment, account: AccountId) {
        let succeeded = || -> Result<_, Problem> {
            let rows = self.rows(account)?;
            let record = AuthorizationRecord::load(&rows, Key::Authorization(id))?;
            record.iter().for_each(perspective::log);
            match record.map(|record| record.state) {
                Some(AuthorizationState::Valid { .. }) => rate_limit::charged_binding(&rows, &environment.config),
                _ => Ok(None),
            }
        };
        match succeeded() {
            Ok(Some((name, rate))) => meter::refund_failure(&self.env, environment, &name, rate).await,
            Ok(None) => {}
            Err(problem) => console_error!("{problem:?}"),
        }
    }

    async fn run_effect(&self, effect: Effect, environment: &Rc<Environment>) -> Event {
        match effect {
            Effect::Probe(probe) => perspective::run(&self.env, environment, probe).await,
            Effect::CheckCaa(check) => {
                Event::CaaChecked(check.subject, caa::look_up(&check.names, &environment.config.validation).await)
            }
            Effect::Sign(sign) => Event::Signed(sign.order, self.ask_signer(&sign, environment).await),
            Effect::Place(order, placement) => {
                let placed = renewal::place(&self.env, environment, &placement).await;
                Event::Placed(order, placed.map_err(|error| console_error!("{}: {error}", placement.serial)).is_ok())
            }
        }
    }

    /// The log gets what the client does not: why there is no certificate.
    async fn ask_signer(&self, sign: &Sign, environment: &Rc<Environment>) -> Result<IssueReply, String> {
        let signer = environment.config.signers.iter().find(|signer| signer.binding == sign.signer);
        let question = Question::to(&sign.signer, environment);
        let answer = match signer {
            Some(signer) if sign.settle => signer::settle(&self.env, signer, &sign.request).await,
            Some(signer) => signer::issue(&self.env, signer, &sign.request).await,
            None => Err(Unreachable::NoBinding(sign.signer.clone())),
        };
        let answer = answer.map_err(|error| error.to_string());
        question.end(Outcome::of(&answer));
        pool::refresh(&self.state, &self.env, environment);
        match &answer {
            Ok(IssueReply::Refused(refused)) => {
                console_error!(
                    "{} refused {}: {:?}: {}",
                    sign.signer,
                    sign.request.order,
                    refused.reason,
                    refused.detail
                );
            }
            Err(words) => console_error!("{} for {}: {words}", sign.signer, sign.request.order),
            Ok(IssueReply::Issued(_) | IssueReply::Queued { .. } | IssueReply::Settled { .. }) => {}
        }
        answer
    }

    /// Takes an event in: no await from reading the rows to the commit.
    async fn settle(
        &self,
        event: Event,
        proved: &Proved,
        environment: &Environment,
        account: AccountId,
    ) -> Result<Option<Effect>, Problem> {
        let rows = self.rows(account)?;
        let entropy = environment::entropy()?;
        let settled = pool::with_outlook(environment, self.colo.borrow().as_deref(), |outlook| {
            step::settle(&rows, event, &Context { proved, outlook, ..context(environment, account, &entropy) })
        })?;
        if let Some(words) = settled.log {
            console_error!("{words}");
        }
        if settled.ends {
            self.delete().await?;
            return Ok(None);
        }
        self.commit(rows, &settled.changes)?;
        Ok(settled.effect)
    }
}

/// The question to a signer, if it is one.
fn question(effect: &Effect) -> Option<&Sign> {
    match effect {
        Effect::Sign(sign) => Some(sign),
        Effect::Probe(_) | Effect::CheckCaa(_) | Effect::Place(..) => None,
    }
}

/// Notes that an order goes to another signer. Only one that was settled has certainly not signed it.
fn moved(before: &str, sign: &Sign, unsettled: bool, environment: &Environment) {
    if before == sign.signer {
        return;
    }
    pool::chosen(environment, &sign.signer);
    if unsettled {
        console_error!(
            "{} goes to {}: {before} cannot be asked and its lease is over. If it has signed, nobody has that certificate.",
            sign.request.order,
            sign.signer
        );
    }
}

/// The row whose state waits for an effect.
fn row_of(effect: &Effect) -> Key {
    match effect {
        Effect::Probe(probe) => Key::Authorization(probe.authorization),
        Effect::CheckCaa(check) => match check.subject {
            CaaSubject::Authorization(id, _) => Key::Authorization(id),
            CaaSubject::Order(id) => Key::Order(id),
        },
        Effect::Sign(sign) => Key::Order(sign.order),
        Effect::Place(order, _) => Key::Order(*order),
    }
}
