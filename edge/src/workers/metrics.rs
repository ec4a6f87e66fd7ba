//! `/metrics` of the edge, for whoever has the secret `METRICS_TOKEN`: the objects of all signers' journals are asked, one hop each, at
//! the same time. Nothing is stored.

use futures_util::future::join_all;
use subtle::ConstantTimeEq as _;
use worker::{Env, Method, Request, Response, console_error};

use super::{
    environment::Environment, front::method, front_status::none, journal, pool, reconciliation, reply::Answer,
};
use crate::status::metrics::{self, Report, Signer};

/// The path of the metrics.
pub(super) const PATH: &str = "/metrics";
/// The path of the certificates that nobody has.
pub(super) const UNDELIVERED: &str = "/metrics/undelivered";

/// A request to one of the paths. Without the secret there are none.
pub(super) async fn serve(request: &Request, env: &Env, environment: &Environment) -> worker::Result<Response> {
    let Some(token) = &environment.metrics_token else { return none(404).send_to_all(environment, 0) };
    let given = request.headers().get("authorization").ok().flatten().unwrap_or_default();
    let given = given.strip_prefix("Bearer ").unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(token.as_bytes())) || !super::front::is_encrypted(request) {
        return none(401).with("WWW-Authenticate", "Bearer").send_to_all(environment, 0);
    }
    if method(request) != Some(Method::Get) {
        return none(405).with("Allow", "GET").send_to_all(environment, 0);
    }
    let reports = join_all(environment.config.signers.iter().map(|signer| report(env, &signer.binding))).await;
    let known = |binding| {
        pool::with_outlook(environment, None, |outlook| {
            outlook.map(|outlook| (outlook.answers(binding), outlook.expected_wait(binding)))
        })
    };
    let signers: Vec<_> = environment
        .config
        .signers
        .iter()
        .zip(reports)
        .map(|(signer, report)| Signer { binding: &signer.binding, report, known: known(&signer.binding) })
        .collect();
    let hops = u32::try_from(signers.len()).unwrap_or(u32::MAX);
    let answer = if request.path() == UNDELIVERED {
        match metrics::undelivered(&signers) {
            Ok(list) => Answer::content("application/json", serde_json::to_vec(&list)?),
            Err(why) => Answer::empty(503).with("Content-Type", "text/plain").with_body(format!("{why}\n").into()),
        }
    } else {
        Answer::content("text/plain; version=0.0.4; charset=utf-8", metrics::text(&signers))
    };
    answer.with("Cache-Control", "no-store").send_to_all(environment, hops)
}

async fn report(env: &Env, signer: &str) -> Option<Report> {
    let asked = async {
        let mut answer = journal::send(env, signer, reconciliation::REPORT, String::new()).await?;
        match answer.status_code() {
            200 => Ok(serde_json::from_slice(&answer.bytes().await?)?),
            status => Err(journal::failed(status)),
        }
    };
    asked.await.inspect_err(|error: &worker::Error| console_error!("{signer}: {error}")).ok()
}
