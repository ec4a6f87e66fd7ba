//! Asks a signer: one request through the binding that presents our client certificate (see [`shared::signing`]). What an
//! answer means for an order is [`crate::acme::finalize`]'s to say.

use std::time::Duration;

use shared::signing::{ISSUE_PATH, IssueReply, IssueRequest};
use worker::{Env, Headers, Method, RequestInit, RequestRedirect};

use super::{body, timeout::within};
use crate::acme::config::SignerConfig;

/// So long an answer is waited for. A signer that works answers `queued` long before; the same question is asked again
/// later.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest answer, in bytes: a chain of a few certificates.
const MAX_ANSWER: usize = 256 * 1024;

/// No answer of the protocol came, so nothing is known about the order. The words are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
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
    #[error("no answer in {} seconds", TIMEOUT.as_secs())]
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
    within(TIMEOUT, ask(env, signer, request)).await.unwrap_or(Err(Unreachable::Timeout))
}

async fn ask(env: &Env, signer: &SignerConfig, request: &IssueRequest) -> Result<IssueReply, Unreachable> {
    let binding = env.service(&signer.binding).map_err(|_| Unreachable::NoBinding(signer.binding.clone()))?;
    let text = serde_json::to_string(request).map_err(|error| Unreachable::Unwritable(error.to_string()))?;
    let headers = Headers::new();
    for name in ["content-type", "accept"] {
        headers.set(name, "application/json").map_err(|error| Unreachable::Unwritable(error.to_string()))?;
    }
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_body(Some(text.into()))
        .with_redirect(RequestRedirect::Manual);
    let url = format!("{}{ISSUE_PATH}", signer.url);
    let response = binding.fetch(url, Some(init)).await.map_err(|error| Unreachable::NoAnswer(error.to_string()))?;
    let status = response.status_code();
    let bytes = body::of_response(response, MAX_ANSWER).await.map_err(|_| Unreachable::NotAReply { status })?;
    serde_json::from_slice(&bytes).map_err(|_| Unreachable::NotAReply { status })
}
