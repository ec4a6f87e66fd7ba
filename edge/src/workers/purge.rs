//! Purges the platform's caches by tags: the API of the zone, with a token that nothing writes anywhere.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use worker::{Fetch, Headers, Method, Request, RequestInit, RequestRedirect, console_error};

use super::{body, environment::Environment, timeout::within};
use crate::status::config::PurgeConfig;

/// So long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What the API says.
#[derive(Debug, Deserialize)]
struct Purged {
    success: bool,
}

/// True when no cache of the zone has answers with these tags any more: at most 100 of them. Why not is for the log.
pub(super) async fn by_tags(environment: &Environment, tags: &[String]) -> bool {
    let Some(config) = &environment.config.status.purge else { return true };
    match within(TIMEOUT, call(config, environment.purge_token.as_deref().unwrap_or_default(), tags)).await {
        Some(Ok((_, true))) => true,
        Some(Ok((status, false))) => {
            console_error!("caches are not purged: status {status}");
            false
        }
        Some(Err(error)) => {
            console_error!("caches are not purged: {error}");
            false
        }
        None => {
            console_error!("caches are not purged: no answer in {} seconds", TIMEOUT.as_secs());
            false
        }
    }
}

async fn call(config: &PurgeConfig, token: &str, tags: &[String]) -> worker::Result<(u16, bool)> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    headers.set("authorization", &format!("Bearer {token}"))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_body(Some(json!({ "tags": tags }).to_string().into()))
        .with_redirect(RequestRedirect::Manual);
    let url = format!("{}/zones/{}/purge_cache", config.api, config.zone);
    let response = Fetch::Request(Request::new_with_init(&url, &init)?).send().await?;
    let status = response.status_code();
    let bytes = body::of_response(response, MAX_ANSWER).await.unwrap_or_default();
    let success = serde_json::from_slice::<Purged>(&bytes).is_ok_and(|purged| purged.success);
    Ok((status, status == 200 && success))
}
