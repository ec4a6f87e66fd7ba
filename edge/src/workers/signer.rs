//! Asks a signer: one request through the binding that presents our client certificate (see [`shared::signing`]). What an
//! answer means for an order is [`crate::acme::finalize`]'s to say.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use shared::checkpoint::{JOURNAL_PATH, JournalReply, JournalRequest};
use shared::grant::{BIND_PATH, BindReply, BindRequest};
use shared::signing::{
    CRL_PATH, CrlReply, CrlRequest, DISOWN_PATH, DisownRequest, ISSUE_PATH, IssueReply, IssueRequest, OCSP_PATH,
    OcspReply, OcspRequest, RECORDS_PATH, REVOKE_PATH, RecordsReply, RecordsRequest, RevokeReply, RevokeRequest,
    SETTLE_PATH, STATUS_PATH, Status,
};
use shared::timestamp::Timestamp;
use worker::{Env, Headers, Method, RequestInit, RequestRedirect};

use super::{body, environment, journal, timeout::within};
use crate::acme::pool::config::SignerConfig;

/// So long an answer is waited for. A signer that works answers `queued` long before; the same question is asked again
/// later.
const TIMEOUT: Duration = Duration::from_secs(60);

/// So long an answer about an order is waited for that may go to another signer. One that works answers `queued` before.
const LEASED: Duration = Duration::from_secs(13);

/// So long an answer is waited for that a client waits for too, who can be told to ask again, or when another signer can be asked: well
/// within the guard's limit (main.mjs).
const WAITED_FOR: Duration = LEASED;

/// So long a signer is waited for that is to show its journal: twice that is less than anybody waits for whom it is admitted.
const COMPARING: Duration = Duration::from_secs(5);

/// So long a signer is waited for that is to settle an order.
const SETTLING: Duration = Duration::from_secs(8);

/// The largest answer, in bytes: a chain of a few certificates.
const MAX_ANSWER: usize = 256 * 1024;

/// No answer of the protocol came, so nothing is known about the order. The words are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    /// Its journal does not continue what it was, or cannot be compared.
    #[error(transparent)]
    NotAdmitted(#[from] journal::NotAdmitted),
    /// The deployment has no such binding.
    #[error("no service binding {0}")]
    NoBinding(String),
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Unwritable(String),
    /// No connection, no handshake, or it broke off.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// Nothing within the time.
    #[error("no answer in time")]
    Timeout,
    /// Something answered that is no signer of this version.
    #[error("status {status} and a body that is no answer of the protocol")]
    NotAReply {
        /// The HTTP status.
        status: u16,
    },
}

/// Asks for an order's certificate. Asking again is harmless: the same request gets the same bytes. The status of the
/// answer says nothing that its body does not.
pub(super) async fn issue(env: &Env, signer: &SignerConfig, request: &IssueRequest) -> Result<IssueReply, Unreachable> {
    let left = |lease: Timestamp| LEASED.min(Duration::from_secs(lease.since(environment::now()).max(1)));
    let limit = request.lease.map_or(TIMEOUT, left);
    ask_within(limit, env, signer, ISSUE_PATH, Some(request)).await
}

/// Asks whether an order is signed, and else not to sign it under its lease. Asking again is harmless.
pub(super) async fn settle(
    env: &Env,
    signer: &SignerConfig,
    request: &IssueRequest,
) -> Result<IssueReply, Unreachable> {
    ask_within(SETTLING, env, signer, SETTLE_PATH, Some(request)).await
}

/// Asks for a grant. Asking again is harmless: an account is counted once.
pub(super) async fn bind(env: &Env, signer: &SignerConfig, request: &BindRequest) -> Result<BindReply, Unreachable> {
    ask_within(WAITED_FOR, env, signer, BIND_PATH, Some(request)).await
}

/// Asks for a revocation. Asking again is harmless: the first one stays.
pub(super) async fn revoke(
    env: &Env,
    signer: &SignerConfig,
    request: &RevokeRequest,
) -> Result<RevokeReply, Unreachable> {
    ask_within(WAITED_FOR, env, signer, REVOKE_PATH, Some(request)).await
}

/// Asks for an OCSP response.
pub(super) async fn ocsp(env: &Env, signer: &SignerConfig, request: &OcspRequest) -> Result<OcspReply, Unreachable> {
    ask(env, signer, OCSP_PATH, Some(request)).await
}

/// Asks for the newest CRL.
pub(super) async fn crl(env: &Env, signer: &SignerConfig, request: &CrlRequest) -> Result<CrlReply, Unreachable> {
    ask(env, signer, CRL_PATH, Some(request)).await
}

/// Asks what the signer is and has.
pub(super) async fn status(env: &Env, signer: &SignerConfig) -> Result<Status, Unreachable> {
    whatever_its_journal(env, signer, STATUS_PATH, None::<&()>).await
}

/// Asks for the journal's head at a length, and now.
pub(super) async fn journal(
    env: &Env,
    signer: &SignerConfig,
    request: JournalRequest,
) -> Result<JournalReply, Unreachable> {
    let answer = whatever_its_journal(env, signer, JOURNAL_PATH, Some(&request));
    within(COMPARING, answer).await.unwrap_or(Err(Unreachable::Timeout))
}

/// Asks what was signed for this edge. The journal's own object asks, which has just compared it.
pub(super) async fn records(
    env: &Env,
    signer: &SignerConfig,
    request: RecordsRequest,
) -> Result<RecordsReply, Unreachable> {
    whatever_its_journal(env, signer, RECORDS_PATH, Some(&request)).await
}

/// Asks for the revocation of what nobody has. Asking again is harmless: the first one stays.
pub(super) async fn disown(
    env: &Env,
    signer: &SignerConfig,
    request: DisownRequest,
) -> Result<RevokeReply, Unreachable> {
    whatever_its_journal(env, signer, DISOWN_PATH, Some(&request)).await
}

/// Asks a signer whose journal continues what it was.
async fn ask<T: DeserializeOwned>(
    env: &Env,
    signer: &SignerConfig,
    path: &str,
    request: Option<&impl Serialize>,
) -> Result<T, Unreachable> {
    ask_within(TIMEOUT, env, signer, path, request).await
}

/// The same, for those who wait so long and no longer.
async fn ask_within<T: DeserializeOwned>(
    limit: Duration,
    env: &Env,
    signer: &SignerConfig,
    path: &str,
    request: Option<&impl Serialize>,
) -> Result<T, Unreachable> {
    let text = written(request)?;
    let answer = admitted(limit, env, signer, path, text).await.and_then(|answer| read(&answer));
    if !matches!(answer, Ok(_) | Err(Unreachable::NotAdmitted(_))) {
        journal::forget(signer);
    }
    answer
}

async fn whatever_its_journal<T: DeserializeOwned>(
    env: &Env,
    signer: &SignerConfig,
    path: &str,
    request: Option<&impl Serialize>,
) -> Result<T, Unreachable> {
    let answer = within(TIMEOUT, exchange(env, signer, path, written(request)?)).await;
    answer.unwrap_or(Err(Unreachable::Timeout)).and_then(|answer| read(&answer))
}

fn written(request: Option<&impl Serialize>) -> Result<Option<String>, Unreachable> {
    let unwritable = |error: serde_json::Error| Unreachable::Unwritable(error.to_string());
    request.map(serde_json::to_string).transpose().map_err(unwritable)
}

fn read<T: DeserializeOwned>((status, bytes): &(u16, Vec<u8>)) -> Result<T, Unreachable> {
    serde_json::from_slice(bytes).map_err(|_| Unreachable::NotAReply { status: *status })
}

async fn admitted(
    limit: Duration,
    env: &Env,
    signer: &SignerConfig,
    path: &str,
    text: Option<String>,
) -> Result<(u16, Vec<u8>), Unreachable> {
    let answer = async {
        journal::admit(env, signer).await?;
        exchange(env, signer, path, text).await
    };
    within(limit, answer).await.unwrap_or(Err(Unreachable::Timeout))
}

/// The status and the body of an answer. Knows no type, so that the module has this once and not for each verb.
async fn exchange(
    env: &Env,
    signer: &SignerConfig,
    path: &str,
    text: Option<String>,
) -> Result<(u16, Vec<u8>), Unreachable> {
    let binding = env.service(&signer.binding).map_err(|_| Unreachable::NoBinding(signer.binding.clone()))?;
    let headers = Headers::new();
    for name in ["content-type", "accept"] {
        headers.set(name, "application/json").map_err(|error| Unreachable::Unwritable(error.to_string()))?;
    }
    let mut init = RequestInit::new();
    init.with_method(if text.is_some() { Method::Post } else { Method::Get })
        .with_headers(headers)
        .with_body(text.map(Into::into))
        .with_redirect(RequestRedirect::Manual);
    let url = format!("{}{path}", signer.url);
    let response = binding.fetch(url, Some(init)).await.map_err(|error| Unreachable::NoAnswer(error.to_string()))?;
    let status = response.status_code();
    let bytes = body::of_response(response, MAX_ANSWER).await.map_err(|_| Unreachable::NotAReply { status })?;
    Ok((status, bytes))
}
