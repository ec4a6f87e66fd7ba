//! What the isolate knows of all signers' issuers. It asks when it must, and not more often than [`PAUSE`].

use std::{cell::RefCell, time::Duration};

use shared::timestamp::Timestamp;
use worker::{Delay, Env, console_error};

use super::{
    environment::{self, Environment},
    signer,
};
use crate::{acme::problem::Problem, status::issuers::Issuers};

/// Seconds between two rounds of questions: a stranger can show us certificates of nobody.
const PAUSE: u64 = 30;

/// Seconds after which a client may ask again, when no signer could be asked.
const RETRY: u64 = 10;

/// So long, and so often, a round of another request is waited for.
const WAIT: Duration = Duration::from_millis(20);
const WAITS: u32 = 100;

#[derive(Debug, Default)]
struct Known {
    issuers: Issuers,
    asked: Option<Timestamp>,
    /// True when the last round had an answer of every signer.
    complete: bool,
    /// True during a round.
    asking: bool,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// A signer that may have what is looked for cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreached;

/// The binding of the signer that issued this certificate.
///
/// # Errors
/// [`Problem::NotOurCertificate`]; [`Problem::SignerUnreachable`] when a signer that may have issued it cannot be asked.
pub(super) async fn signer_of(env: &Env, environment: &Environment, certificate: &[u8]) -> Result<String, Problem> {
    match known(env, environment, |issuers| issuers.signer_of(certificate).map(str::to_owned)).await {
        Ok(Some(signer)) => Ok(signer),
        Ok(None) => Err(Problem::NotOurCertificate),
        Err(Unreached) => Err(Problem::SignerUnreachable(RETRY)),
    }
}

/// What `find` finds among the issuers; nothing when all signers were asked and none has it.
///
/// # Errors
/// [`Unreached`].
pub(super) async fn known<T>(
    env: &Env,
    environment: &Environment,
    find: impl Fn(&Issuers) -> Option<T>,
) -> Result<Option<T>, Unreached> {
    let found = || KNOWN.with_borrow(|known| find(&known.issuers));
    if let Some(found) = found() {
        return Ok(Some(found));
    }
    let now = environment::now();
    if KNOWN.with_borrow(|known| known.asked.is_none_or(|asked| now.since(asked) >= PAUSE)) {
        KNOWN.with_borrow_mut(|known| (known.asked, known.asking) = (Some(now), true));
        ask(env, environment).await;
    }
    // Somebody else's round: no request may wait for another one's, but for the time it may.
    for _ in 0..WAITS {
        if !KNOWN.with_borrow(|known| known.asking) {
            break;
        }
        Delay::from(WAIT).await;
    }
    match found() {
        Some(found) => Ok(Some(found)),
        None if KNOWN.with_borrow(|known| known.complete) => Ok(None),
        None => Err(Unreached),
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
    KNOWN.with_borrow_mut(|known| (known.complete, known.asking) = (complete, false));
}
