//! The OCSP responder: requests at the front, and the responses of one certificate in its status object. A response that the
//! isolate remembers costs no hop, any other one; a signer is asked only where the object has none that is good.

use std::{cell::RefCell, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{
    chain::Issuer,
    ocsp::{CertIdHash, Failure},
    serial::SerialNumber,
    signing::{OcspRequest, Urgency},
};
use worker::{Env, Method, Request, RequestInit, console_error};

use super::{
    body,
    environment::{self, Environment},
    front_status, issuers,
    reply::Answer,
    signer,
    status::{self, Incarnation},
    timeout::within,
};
use crate::{
    acme::{problem::Problem, storage::Storage as _},
    status::{
        cache_tag,
        document::Document,
        exchange::{self, Question},
        memory::DocumentMemory,
        response::{self, Ask, Look, Outcome},
        route::StatusRoute,
    },
};

/// The URL of a question to the object.
pub(super) const URL: &str = "https://ocsp.objects/";

/// So long a client waits for a signer.
const WAIT: Duration = Duration::from_secs(20);

/// Seconds after which a client may ask again, when nobody says how long it takes.
const RETRY: u64 = 5;

thread_local! {
    static MEMORY: RefCell<DocumentMemory<Question>> = RefCell::default();
}

/// What the object answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// A response.
    Response(Document),
    /// Not now: in so many seconds.
    Later(u64),
    /// Nobody knows the certificate.
    Unknown,
}

/// Which question is under way, and whether somebody waits for it.
pub(super) type Flight = (SerialNumber, CertIdHash, bool);

/// An OCSP request (RFC 6960 §A.1), and the number of hops that it took.
pub(super) async fn answer(
    route: &StatusRoute,
    request: &mut Request,
    env: &Env,
    environment: &Environment,
) -> (Answer, u32) {
    let bytes = match route {
        StatusRoute::OcspGet(path) => exchange::request_of_path(path),
        _ if !is_ocsp(request) => return (Answer::empty(415).with("Cache-Control", "no-store"), 0),
        _ => body::of_request(request, exchange::MAX_REQUEST).await.map_err(|_| Failure::MalformedRequest),
    };
    let questions = bytes.and_then(|bytes| exchange::questions(&bytes, environment.config.status.nonce));
    let questions = match questions {
        Ok(questions) => questions,
        Err(failure) => return (failed(failure, None), 0),
    };
    let now = environment::now();
    let remembered = |question| MEMORY.with_borrow(|memory| memory.find(question, now).cloned());
    if let [question] = questions.as_slice()
        && let Some(document) = remembered(question)
    {
        return (sent(&document, question, request, environment), 0);
    }
    let Some(question) = ours(&questions, env, environment).await else {
        return (failed(Failure::Unauthorized, None), 0);
    };
    if let Some(document) = remembered(&question) {
        return (sent(&document, &question, request, environment), 0);
    }
    let answer = match ask_object(env, environment, &question).await {
        Ok(Told::Response(document)) => {
            let seconds = environment.config.status.memory_seconds;
            let answer = sent(&document, &question, request, environment);
            MEMORY.with_borrow_mut(|memory| memory.keep(question, document, environment::now(), seconds));
            answer
        }
        Ok(Told::Later(seconds)) => failed(Failure::TryLater, Some(seconds)),
        Ok(Told::Unknown) => failed(Failure::Unauthorized, None),
        Err(error) => {
            console_error!("status of {}: {error}", question.serial);
            failed(Failure::InternalError, None)
        }
    };
    (answer, 1)
}

fn sent(document: &Document, question: &Question, request: &Request, environment: &Environment) -> Answer {
    front_status::document(document, cache_tag::of_responses(question.serial), request, environment)
}

/// The first certificate of an issuer that is known. Where signers cannot be asked who they are, the object may still have a
/// response: the first one then.
async fn ours(questions: &[Question], env: &Env, environment: &Environment) -> Option<Question> {
    let named = |issuers: &crate::status::issuers::Issuers| {
        questions.iter().find(|question| issuers.named(question.hash, &question.issuer()).is_some()).cloned()
    };
    match issuers::known(env, environment, named).await {
        Ok(question) => question,
        Err(issuers::Unreached) => questions.first().cloned(),
    }
}

async fn ask_object(env: &Env, environment: &Environment, question: &Question) -> worker::Result<Told> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(serde_json::to_string(question)?.into()));
    let request = Request::new_with_init(URL, &init)?;
    let bytes = status::stub(env, environment, question.serial)?.fetch_with_request(request).await?.bytes().await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// An error that nobody signs, and no cache keeps (RFC 5019 §6).
fn failed(failure: Failure, retry_after: Option<u64>) -> Answer {
    let answer = Answer::content("application/ocsp-response", failure.to_der()).with("Cache-Control", "no-store");
    retry_after.into_iter().fold(answer, |answer, seconds| answer.with("Retry-After", seconds.to_string()))
}

fn is_ocsp(request: &Request) -> bool {
    let value = request.headers().get("content-type").ok().flatten().unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(exchange::REQUEST_TYPE))
}

impl Incarnation {
    /// A question of the front.
    pub(super) async fn respond(
        self: &Rc<Self>,
        question: Question,
        environment: &Rc<Environment>,
    ) -> Result<Told, Problem> {
        let now = environment::now();
        let (changes, look) = response::look(&self.rows()?, &question, now, environment.config.status.popular())?;
        if !changes.is_empty() {
            self.rows()?.commit(&changes)?;
            self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
        }
        match look {
            Look::Fresh(document) => Ok(Told::Response(document)),
            Look::Aging(document) => {
                drop(self.fly(question, Urgency::Refresh, environment));
                Ok(Told::Response(document))
            }
            Look::Missing => {
                let landed = self.fly(question, Urgency::Missing, environment);
                Ok(within(WAIT, landed).await.and_then(Result::ok).unwrap_or(Told::Later(RETRY)))
            }
        }
    }

    /// Has a response signed, unless that is under way.
    pub(super) fn fly(
        self: &Rc<Self>,
        question: Question,
        urgency: Urgency,
        environment: &Rc<Environment>,
    ) -> futures_channel::oneshot::Receiver<Told> {
        let flight = (question.serial, question.hash, urgency == Urgency::Missing);
        let (landed, first) = self.responses.board(&flight);
        if first {
            let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
            self.state.wait_until(async move {
                let told = incarnation.sign(question, urgency, &environment).await.unwrap_or_else(|problem| {
                    console_error!("{problem:?}");
                    Told::Later(RETRY)
                });
                incarnation.responses.land(&flight, &told);
            });
        }
        landed
    }

    /// Asks the signer, and takes its answer in.
    async fn sign(&self, question: Question, urgency: Urgency, environment: &Environment) -> Result<Told, Problem> {
        let hashes = question.issuer();
        let named = |issuers: &crate::status::issuers::Issuers| {
            let known = issuers.named(question.hash, &hashes)?;
            Some((known.id, known.signer.clone(), known.chain.issuer().der().to_vec()))
        };
        let (issuer, binding, der) = match issuers::known(&self.env, environment, named).await {
            Ok(Some(known)) => known,
            Ok(None) => return Ok(Told::Unknown),
            Err(issuers::Unreached) => return Ok(Told::Later(RETRY)),
        };
        let certificate = Issuer::from_der(&der).map_err(|_| Problem::Internal("an issuer cannot be read"))?;
        let request = OcspRequest { issuer, serial: question.serial, hash: question.hash, urgency };
        let ask = Ask { question, request, signer: binding };
        let signer = environment.config.signers.iter().find(|signer| signer.binding == ask.signer);
        let reply = match signer {
            Some(signer) => signer::ocsp(&self.env, signer, &ask.request).await.map_err(|error| error.to_string()),
            None => Err("the configuration no longer has this signer".to_owned()),
        };
        // From here to the commit no await.
        let now = environment::now();
        let (changes, outcome, words) = response::answered(&self.rows()?, &ask, &certificate, reply, now)?;
        if let Some(words) = words {
            console_error!("{} for the status of {}: {words}", ask.signer, ask.question.serial);
        }
        self.rows()?.commit(&changes)?;
        self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
        Ok(match outcome {
            Outcome::Signed(document) => Told::Response(document),
            Outcome::Later(seconds) => Told::Later(seconds),
            Outcome::Unknown => Told::Unknown,
        })
    }

    /// An alarm found that a response is due.
    pub(super) fn response_is_due(
        self: &Rc<Self>,
        of: (SerialNumber, CertIdHash),
        environment: &Rc<Environment>,
    ) -> Result<(), Problem> {
        let now = environment::now();
        let next = now.plus(environment.config.lifetimes.redrive);
        let (changes, ask) = response::due(&self.rows()?, of, now, next)?;
        self.rows()?.commit(&changes)?;
        if let Some(Ask { question, request, .. }) = ask {
            drop(self.fly(question, request.urgency, environment));
        }
        Ok(())
    }
}

/// The body of an answer of the object.
pub(super) fn told(result: Result<Told, Problem>) -> worker::Result<worker::Response> {
    worker::Response::from_json(&result.unwrap_or_else(|problem| {
        console_error!("{problem:?}");
        Told::Later(RETRY)
    }))
}
