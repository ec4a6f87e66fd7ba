//! Asks clusters about proofs of kubernetes-01: key sets, kept for some minutes in the isolate, and API servers. Only URLs of
//! the configuration are fetched, redirects are not followed, and the log never has a token.

use std::{cell::RefCell, collections::BTreeMap};

use shared::{
    kubernetes::keys::{KeySet, MAX_KEY_SET},
    timestamp::Timestamp,
};
use worker::{Env, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, console_error};

use super::{
    body,
    environment::{self, Environment},
};
use crate::acme::{
    kubernetes::{
        cluster::{Endpoint, Keys},
        judgement::{self, About, Seen},
        pods,
        presented::Proof,
        review,
    },
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome},
};

/// Seconds that a key set is used for.
const FRESH: u64 = 300;

/// Seconds after which a key set that lacks a key is fetched again: strangers must not make us fetch at their pace.
const PAUSE: u64 = 10;

/// The largest answer of an API server, in bytes.
const MAX_ANSWER: usize = 256 * 1024;

thread_local! {
    /// Key sets by their URLs, and when they were fetched.
    static KEY_SETS: RefCell<BTreeMap<String, (Timestamp, KeySet)>> = const { RefCell::new(BTreeMap::new()) };
}

/// Fetches what the judgement of the probe's proof needs; nothing when it is refused already.
pub(super) async fn look(probe: &Probe, environment: &Environment, env: &Env) -> ProbeOutcome {
    let clusters = &environment.config.scopes.named(&probe.scope).kubernetes;
    let mut seen = Seen::default();
    let Some(presented) = &probe.presented else { return Ok(Evidence::Kubernetes(seen)) };
    let Ok(question) = judgement::question(clusters, presented, &presented.digest, environment::now()) else {
        return Ok(Evidence::Kubernetes(seen));
    };
    let cluster = question.cluster;
    let request = match (&question.about, &presented.proof) {
        (About::Address(address), _) => Some((Method::Get, pods::path(*address), None)),
        (About::Token(token, audience), Proof::Token(text)) => {
            if let Some(Keys::At(endpoint)) = &cluster.keys {
                seen.keys = Some(key_set(endpoint, token.key_id(), env).await?);
            }
            let body = || Some(review::request(text.expose(), audience));
            cluster.token_review.then(|| (Method::Post, review::PATH.to_owned(), body()))
        }
        (About::Token(..), Proof::Address(_)) => None,
    };
    if let (Some((method, path, body)), Some(api)) = (request, &cluster.api) {
        let bearer = environment.bearer_tokens.of(&cluster.name).ok_or(ProbeFault::Cluster)?;
        let url = format!("{}{path}", api.url);
        let call = Call { method, url: &url, bearer: Some(bearer), body };
        seen.answer = Some(call.send(api, env, MAX_ANSWER).await?);
    }
    Ok(Evidence::Kubernetes(seen))
}

/// The key set of this URL, as it was some minutes ago at most; fetched again when it lacks the key.
async fn key_set(endpoint: &Endpoint, key_id: &str, env: &Env) -> Result<KeySet, ProbeFault> {
    let now = environment::now();
    let kept = KEY_SETS.with_borrow(|sets| sets.get(&endpoint.url).cloned());
    if let Some((at, keys)) = kept
        && now.since(at) < if keys.has(key_id) { FRESH } else { PAUSE }
    {
        return Ok(keys);
    }
    let call = Call { method: Method::Get, url: &endpoint.url, bearer: None, body: None };
    let bytes = call.send(endpoint, env, MAX_KEY_SET).await?;
    let keys = KeySet::parse(&bytes).map_err(|refusal| {
        console_error!("{}: {refusal}", endpoint.url);
        ProbeFault::Cluster
    })?;
    KEY_SETS.with_borrow_mut(|sets| sets.insert(endpoint.url.clone(), (now, keys.clone())));
    Ok(keys)
}

/// One request.
struct Call<'a> {
    method: Method,
    url: &'a str,
    bearer: Option<&'a str>,
    body: Option<String>,
}

impl Call<'_> {
    /// The body of an answer of success. The caller bounds the time.
    async fn send(self, endpoint: &Endpoint, env: &Env, limit: usize) -> Result<Vec<u8>, ProbeFault> {
        let place = self.url.split('?').next().unwrap_or_default().to_owned();
        let failed = |error: worker::Error| {
            console_error!("{place}: {error}");
            ProbeFault::Cluster
        };
        let headers = Headers::new();
        headers.set("accept", "application/json").map_err(failed)?;
        if self.body.is_some() {
            headers.set("content-type", "application/json").map_err(failed)?;
        }
        if let Some(bearer) = self.bearer {
            headers.set("authorization", &format!("Bearer {bearer}")).map_err(failed)?;
        }
        let mut init = RequestInit::new();
        init.with_method(self.method)
            .with_headers(headers)
            .with_body(self.body.map(Into::into))
            .with_redirect(RequestRedirect::Manual);
        let response = match &endpoint.binding {
            Some(binding) => env.service(binding).map_err(failed)?.fetch(self.url, Some(init)).await,
            None => Fetch::Request(Request::new_with_init(self.url, &init).map_err(failed)?).send().await,
        };
        let response = response.map_err(failed)?;
        if !matches!(response.status_code(), 200 | 201) {
            console_error!("{place}: status {}", response.status_code());
            return Err(ProbeFault::Cluster);
        }
        body::of_response(response, limit).await.map_err(|_| {
            console_error!("{place}: an answer that is too large, or broke off");
            ProbeFault::Cluster
        })
    }
}
