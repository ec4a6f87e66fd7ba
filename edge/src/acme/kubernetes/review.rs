//! TokenReview of `authentication.k8s.io/v1`: the API server says whether a token is good now, which no key set can: its pod
//! and its service account still exist.

use serde_json::{Value, json};
use shared::kubernetes::token::Unverified;

use super::refusal::Refusal;

/// Where the API server takes it.
pub const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The request's body. It holds the token: it is sent, and never written anywhere.
#[must_use]
pub fn request(token: &str, audience: &str) -> String {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    })
    .to_string()
}

/// Checks the answer: authenticated, for our audience, and the same workload as the token's claims say. An API server that
/// does not know about audiences leaves them out, and has not checked ours then.
///
/// # Errors
/// [`Refusal::ApiAnswer`], [`Refusal::NotAuthenticated`], [`Refusal::ReviewAudience`], [`Refusal::ReviewUser`].
pub fn check(answer: &[u8], token: &Unverified<'_>, audience: &str) -> Result<(), Refusal> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| Refusal::ApiAnswer)?;
    let at = |path: &str| answer.pointer(path);
    if at("/apiVersion") != Some(&json!("authentication.k8s.io/v1")) || at("/kind") != Some(&json!("TokenReview")) {
        return Err(Refusal::ApiAnswer);
    }
    let error = at("/status/error").and_then(Value::as_str).unwrap_or_default();
    if at("/status/authenticated") != Some(&Value::Bool(true)) || !error.is_empty() {
        return Err(Refusal::NotAuthenticated);
    }
    let audiences = at("/status/audiences").and_then(Value::as_array).ok_or(Refusal::ReviewAudience)?;
    if !audiences.iter().any(|confirmed| confirmed.as_str() == Some(audience)) {
        return Err(Refusal::ReviewAudience);
    }
    let workload = token.workload();
    let is = |path: &str, wanted: &str| at(path).and_then(Value::as_str) == Some(wanted);
    let extra = |name: &str, wanted: &str| {
        let values = at("/status/user/extra").and_then(|extra| extra.get(name)).and_then(Value::as_array);
        values.is_some_and(|values| matches!(values.as_slice(), [Value::String(only)] if only == wanted))
    };
    let same = is("/status/user/username", token.user_name())
        && is("/status/user/uid", token.service_account_uid())
        && extra("authentication.kubernetes.io/pod-name", &workload.pod)
        && extra("authentication.kubernetes.io/pod-uid", token.pod_uid());
    if same { Ok(()) } else { Err(Refusal::ReviewUser) }
}
