//! Answers as the platform sends them: the headers that every answer has, and the media types of each body.

use worker::{Headers, Response, ResponseBuilder, console_error};

use super::{
    environment::{BadEnvironment, Environment},
    journal,
};
use crate::acme::{
    problem::{Problem, ProblemDocument},
    step::{Body, Reply},
};

/// The headers of answers that scripts of other origins may read (RFC 8555 §6.1). Nothing depends on cookies here: a
/// request is signed by a key that the script has, or may be sent by anybody.
const EXPOSED: &str = "Replay-Nonce, Location, Link, Retry-After";

/// Seconds for which a browser may remember what a script of another origin may send.
const PREFLIGHT_SECONDS: &str = "86400";

/// An answer without what every answer has.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    /// False for pages for people, which scripts of other origins have no business with.
    cross_origin: bool,
}

impl Answer {
    /// Nothing but a status.
    pub(super) const fn empty(status: u16) -> Self {
        Self { status, body: Vec::new(), headers: Vec::new(), cross_origin: true }
    }

    /// The answer to OPTIONS: the methods of a resource, and what a script of another origin may send to it.
    pub(super) fn options(methods: &str) -> Self {
        Self::empty(204)
            .with("Allow", methods)
            .with("Access-Control-Allow-Methods", methods)
            .with("Access-Control-Allow-Headers", "Content-Type")
            .with("Access-Control-Max-Age", PREFLIGHT_SECONDS)
    }

    /// The same, not for scripts of other origins.
    pub(super) const fn for_people(mut self) -> Self {
        self.cross_origin = false;
        self
    }

    /// Content with status 200.
    pub(super) fn content(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(200) }.with("Content-Type", media_type)
    }

    /// The same with a body.
    pub(super) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// The same with a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends it: with a fresh nonce (RFC 8555 §6.5), the link to the directory (§7.1) and, for diagnostics, the number of
    /// object calls that it took and the signers whose journals are broken. No cache may keep it, because a nonce is in it.
    ///
    /// # Errors
    /// Never for the headers that are made here.
    pub(super) fn send(self, environment: &Environment, nonce: Option<String>, hops: u32) -> worker::Result<Response> {
        let index = format!("<{}>;rel=\"index\"", environment.urls.directory());
        let hops = environment.config.diagnostics.then(|| hops.to_string());
        let answer = if self.cross_origin {
            self.with("Access-Control-Allow-Origin", "*").with("Access-Control-Expose-Headers", EXPOSED)
        } else {
            self
        };
        let answer = answer.with("Link", index).with("Cache-Control", "no-store");
        let answer = nonce.into_iter().fold(answer, |answer, nonce| answer.with("Replay-Nonce", nonce));
        let answer = hops.into_iter().fold(answer, |answer, hops| answer.with("Colophon-Hops", hops));
        let broken = if environment.config.diagnostics { journal::broken() } else { Vec::new() };
        broken.into_iter().fold(answer, |answer, signer| answer.with("Colophon-Broken-Journal", signer)).build()
    }

    /// Sends it to those who check certificates: with nothing in it that is for one client, so that caches may keep it.
    ///
    /// # Errors
    /// Never for the headers that are made here.
    pub(super) fn send_to_all(self, environment: &Environment, hops: u32) -> worker::Result<Response> {
        let hops = environment.config.diagnostics.then(|| hops.to_string());
        hops.into_iter().fold(self, |answer, hops| answer.with("Colophon-Hops", hops)).build()
    }

    fn build(self) -> worker::Result<Response> {
        let headers = Headers::new();
        // `Link` comes more than once.
        self.headers.iter().try_for_each(|(name, value)| headers.append(name, value))?;
        let response = ResponseBuilder::new().with_status(self.status).with_headers(headers);
        Ok(if self.body.is_empty() { response.empty() } else { response.fixed(self.body) })
    }

    /// A problem document (RFC 7807).
    fn problem(status: u16, document: &ProblemDocument) -> Self {
        let body = serde_json::to_vec(document).unwrap_or_default();
        Self { status, ..Self::content("application/problem+json", body) }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let (media_type, text) = match reply.body {
            Body::Json(text) => ("application/json", text),
            Body::PemChain(text) => ("application/pem-certificate-chain", text),
            Body::Empty => return Self::empty(reply.status),
        };
        let mut answer = Self { status: reply.status, ..Self::content(media_type, text) };
        if let Some(url) = reply.location {
            answer = answer.with("Location", url);
        }
        if let Some(url) = reply.up {
            answer = answer.with("Link", format!("<{url}>;rel=\"up\""));
        }
        if let Some(url) = reply.next {
            answer = answer.with("Link", format!("<{url}>;rel=\"next\""));
        }
        for url in reply.alternates {
            answer = answer.with("Link", format!("<{url}>;rel=\"alternate\""));
        }
        if let Some(seconds) = reply.retry_after {
            answer = answer.with("Retry-After", seconds.to_string());
        }
        answer
    }
}

impl From<Problem> for Answer {
    /// What is only for the log goes there.
    fn from(problem: Problem) -> Self {
        if let Some(words) = problem.log() {
            console_error!("{words}");
        }
        let answer = Self::problem(problem.status(), &problem.document());
        let retry_after = problem.retry_after().map(|seconds| seconds.to_string());
        let answer = retry_after.into_iter().fold(answer, |answer, seconds| answer.with("Retry-After", seconds));
        let terms = problem.terms().map(|url| format!("<{url}>;rel=\"terms-of-service\""));
        let answer = terms.into_iter().fold(answer, |answer, link| answer.with("Link", link));
        match &problem {
            Problem::MethodNotAllowed(methods) => answer.with("Allow", *methods),
            _ => problem.location().into_iter().fold(answer, |answer, url| answer.with("Location", url)),
        }
    }
}

/// The answer of a deployment that cannot serve: it names the key or the secret that is wrong.
///
/// # Errors
/// Never for the headers that are made here.
pub(super) fn unconfigured(error: &BadEnvironment) -> worker::Result<Response> {
    let document =
        ProblemDocument::new("serverInternal", Some(500), format!("The deployment's configuration: {error}."));
    let answer = Answer::problem(500, &document).with("Cache-Control", "no-store");
    answer.with("Access-Control-Allow-Origin", "*").build()
}
