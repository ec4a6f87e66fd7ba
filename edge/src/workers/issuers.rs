//! What the isolate knows of all signers' issuers. It asks when it must, and not more often than [`PAUSE`].

use std::cell::RefCell;

use shared::timestamp::Timestamp;
use worker::{Env, console_error};

use super::{
    environment::{self, Environment},
    signer,
};
use crate::{acme::problem::Problem, status::issuers::Issuers};

/// Seconds between two rounds of questions: a stranger can show us certificates of nobody.
const PAUSE: u64 = 30;

/// Seconds after which a client may ask again, when no signer could be asked.
const RETRY: u64 = 10;

#[derive(Debug, Default)]
struct Known {
    issuers: Issuers,
    asked: Option<Timestamp>,
    /// True when the last round had an answer of every signer.
    complete: bool,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// The binding of the signer that issued this certificate.
///
/// # Errors
/// [`Problem::NotOurCertificate`]; [`Problem::SignerUnreachable`] when a signer that may have issued it cannot be asked.
pub(super) async fn signer_of(env: &Env, environment: &Environment, certificate: &[u8]) -> Result<String, Problem> {
    let now = environment::now();
    let find = || KNOWN.with_borrow(|known| known.issuers.signer_of(certificate).map(str::to_owned));
    if let Some(signer) = find() {
        return Ok(signer);
    }
    if KNOWN.with_borrow(|known| known.asked.is_none_or(|asked| now.since(asked) >= PAUSE)) {
        KNOWN.with_borrow_mut(|known| known.asked = Some(now));
        ask(env, environment).await;
    }
    match find() {
        Some(signer) => Ok(signer),
        None if KNOWN.with_borrow(|known| known.complete) => Err(Problem::NotOurCertificate),
        None => Err(Problem::SignerUnreachable(RETRY)),
    }
}

async fn ask(env: &Env, environment: &Environment) {
    let config = &environment.config;
    let mut complete = true;
    for signer in &config.signers {
        match signer::status(env, signer).await {
            Ok(status) => KNOWN.with_borrow_mut(|known| {
                known.issuers.learn(&signer.binding, &status, &config.root, environment::now());
            }),
            Err(error) => {
                console_error!("{}: {error}", signer.binding);
                complete = false;
            }
        }
    }
    KNOWN.with_borrow_mut(|known| known.complete = complete);
}
