//! The pool of signers of this isolate (see [`crate::acme::pool`]): everything that is asked of a signer here teaches it, and statuses
//! are asked for beside the requests that need a signer, never before their answers.

use std::{cell::RefCell, rc::Rc, time::Duration};

use shared::chain::IssuerChain;
use worker::{Env, State, console_error};

use super::{
    environment::{self, Environment, millis},
    signer,
    timeout::within,
};
use crate::acme::pool::{Outcome, Outlook, Pool};

/// So long a status is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

thread_local! {
    static POOL: RefCell<Option<Pool>> = const { RefCell::new(None) };
}

/// Does something with the pool as it is now and as it looks from this of the platform's places, at once.
pub(super) fn with_outlook<T>(
    environment: &Environment,
    colo: Option<&str>,
    then: impl FnOnce(Option<Outlook<'_>>) -> T,
) -> T {
    // One signer is no choice.
    if environment.config.signers.len() < 2 {
        return then(None);
    }
    learn(environment, |_| ());
    let now = millis();
    POOL.with_borrow(|pool| then(pool.as_ref().map(|pool| Outlook { pool, colo, now })))
}

/// A question about an order that is under way. It ends with this value, whatever becomes of its request.
#[derive(Debug)]
pub(super) struct Question {
    environment: Rc<Environment>,
    binding: String,
    outcome: Option<Outcome>,
}

impl Question {
    /// Begins.
    pub(super) fn to(binding: &str, environment: &Rc<Environment>) -> Self {
        learn(environment, |pool| pool.asked(binding));
        Self { environment: Rc::clone(environment), binding: binding.to_owned(), outcome: None }
    }

    /// Ends with this.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        learn(&self.environment, |pool| pool.answered(&self.binding, self.outcome, millis()));
    }
}

/// An order was given to this signer.
pub(super) fn chosen(environment: &Environment, binding: &str) {
    learn(environment, |pool| pool.chosen(binding, millis()));
}

/// Asks signers for their status, whose time has come. It goes on beside the request.
pub(super) fn refresh(state: &State, env: &Env, environment: &Rc<Environment>) {
    if environment.config.signers.len() < 2 {
        return;
    }
    for binding in learn(environment, |pool| pool.probe(millis())) {
        let (env, environment) = (env.clone(), Rc::clone(environment));
        state.wait_until(async move { probe(&env, &environment, &binding).await });
    }
}

async fn probe(env: &Env, environment: &Environment, binding: &str) {
    let Some(config) = environment.config.signers.iter().find(|signer| signer.binding == binding) else { return };
    let asked = millis();
    let answer = within(TIMEOUT, signer::status(env, config)).await;
    let words = match answer {
        Some(Ok(status)) => {
            let (root, at) = (&environment.config.root, environment::now());
            let ours = |chain: &[shared::base64url::Base64Url]| {
                let chain = IssuerChain::from_ders(chain.iter().map(|der| der.0.as_slice()));
                chain.is_ok_and(|chain| chain.verify_to(root, at).is_ok())
            };
            let took = millis().saturating_sub(asked);
            return learn(environment, |pool| pool.learned(binding, &status, ours, took, millis()));
        }
        Some(Err(error)) => error.to_string(),
        None => format!("no status in {} seconds", TIMEOUT.as_secs()),
    };
    console_error!("{binding}: {words}");
    learn(environment, |pool| pool.unreached(binding, millis()));
}

/// No await, and no call of anything here, within `what`.
fn learn<T>(environment: &Environment, what: impl FnOnce(&mut Pool) -> T) -> T {
    POOL.with_borrow_mut(|pool| what(pool.get_or_insert_with(|| Pool::new(&environment.config.signers))))
}
