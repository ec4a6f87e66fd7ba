//! The Status object: what became of the certificates whose serial numbers begin with one byte. It carries out revocations, keeps
//! OCSP responses, and, under names of its own, CRLs.
//!
//! **Why it is atomic.** As an account's object (see [`super::account`]): no await lies between reading the rows and the commit.
//! While a signer is asked, others may be let in; what its answer means is decided on the rows as they are then.

use std::{cell::Cell, rc::Rc};

use serde::{Deserialize, Serialize};
use shared::{jws::KeyReference, serial::SerialNumber, signing::RevokeReply, timestamp::Timestamp};
use worker::{DurableObject, Env, Method, Request, RequestInit, Response, State, Stub, console_error, durable_object};

use super::{
    alarm::Alarm,
    crl,
    environment::{self, Environment},
    flight::Flights,
    forward, issuers, nonce_shard, ocsp_responder, reconciliation, renewal,
    reply::{self, Answer},
    rollover::HOST,
    signed_request::SignedRequest,
    signer,
    storage::{Known, SqlRows},
    webcrypto,
};
use crate::{
    acme::{
        authentication::Home,
        nonce::{BadNonce, Nonce},
        problem::Problem,
        renewal_info::CertificateId,
        revoke::{self, RevocationOrder},
        route::AccountId,
        step::Reply,
        storage::{Change, Key, Rows as _, Storage as _},
    },
    status::{
        news::Announcement,
        renewal as renewals,
        revocation::{self, Ask, Due, Outcome, Revoking},
    },
};

/// The binding of the objects' namespace.
pub(super) const BINDING: &str = "STATUS";

/// Rows that one alarm sees to at most; the next one sees to the rest.
const BATCH: usize = 20;

/// The object that knows a certificate.
///
/// # Errors
/// When the deployment has no such binding.
pub(super) fn stub(env: &Env, environment: &Environment, serial: SerialNumber) -> worker::Result<Stub> {
    env.durable_object(BINDING)?.get_by_name(&format!("{}/{}", environment.config.deployment, shard(serial)))
}

/// Has a certificate revoked, in one hop, for a client that has the right to it.
///
/// # Errors
/// As the object answers.
pub(super) async fn revoke(env: &Env, environment: &Environment, order: &RevocationOrder) -> Result<Reply, Problem> {
    let failed = |error: worker::Error| {
        console_error!("status of {}: {error}", order.serial);
        Problem::Internal("a status object cannot be asked")
    };
    let body = serde_json::to_string(order).map_err(|error| failed(error.into()))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let request = Request::new_with_init(HOST, &init).map_err(failed)?;
    let stub = stub(env, environment, order.serial).map_err(failed)?;
    let bytes = stub.fetch_with_request(request).await.map_err(failed)?.bytes().await.map_err(failed)?;
    serde_json::from_slice::<Verdict>(&bytes).map_err(|error| failed(error.into()))?.into()
}

/// What the object answers to an account's object.
#[derive(Debug, Serialize, Deserialize)]
enum Verdict {
    Revoked,
    AlreadyRevoked(Timestamp),
    NotOurs,
    Pending(u64),
    Unreachable(u64),
    Failed,
}

impl From<Result<(), Problem>> for Verdict {
    fn from(result: Result<(), Problem>) -> Self {
        match result {
            Ok(()) => Self::Revoked,
            Err(Problem::AlreadyRevoked(at)) => Self::AlreadyRevoked(at),
            Err(Problem::NotOurCertificate) => Self::NotOurs,
            Err(Problem::RevocationPending(seconds)) => Self::Pending(seconds),
            Err(Problem::SignerUnreachable(seconds)) => Self::Unreachable(seconds),
            Err(problem) => {
                console_error!("{problem:?}");
                Self::Failed
            }
        }
    }
}

impl From<Verdict> for Result<Reply, Problem> {
    fn from(verdict: Verdict) -> Self {
        Err(match verdict {
            Verdict::Revoked => return Ok(Reply::empty(200)),
            Verdict::AlreadyRevoked(at) => Problem::AlreadyRevoked(at),
            Verdict::NotOurs => Problem::NotOurCertificate,
            Verdict::Pending(seconds) => Problem::RevocationPending(seconds),
            Verdict::Unreachable(seconds) => Problem::SignerUnreachable(seconds),
            Verdict::Failed => Problem::Internal("a status object failed"),
        })
    }
}

/// What the platform is told when an object fails.
fn internal(problem: Problem) -> worker::Error {
    worker::Error::RustError(format!("{problem:?}"))
}

/// The first byte of the serial number.
fn shard(serial: SerialNumber) -> String {
    serial.to_string().chars().take(2).collect()
}

/// The certificates of one shard.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct Status {
    incarnation: Rc<Incarnation>,
}

#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) state: State,
    pub(super) env: Env,
    known: Rc<Known>,
    pub(super) alarm: Alarm,
    /// Questions for OCSP responses that are under way.
    pub(super) responses: Flights<ocsp_responder::Flight, ocsp_responder::Told>,
    /// The question for the CRL.
    pub(super) crls: Flights<(), crl::Told>,
}

impl DurableObject for Status {
    fn new(state: State, env: Env) -> Self {
        let incarnation = Incarnation {
            state,
            env,
            known: Rc::default(),
            alarm: Alarm::default(),
            responses: Flights::default(),
            crls: Flights::default(),
        };
        Self { incarnation: Rc::new(incarnation) }
    }

    /// A question for a response or for a CRL; or a revocation: as an account's object has found it to be right, or as the front got it, signed by the certificate's key.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let environment = match Environment::of(&self.incarnation.env) {
            Ok(environment) => environment,
            Err(error) => return reply::unconfigured(&error),
        };
        let body = forward::asked(&mut request).await?;
        let url = request.inner().url();
        if url == ocsp_responder::URL {
            let question = serde_json::from_slice(&body)?;
            return ocsp_responder::told(self.incarnation.respond(question, &environment).await);
        }
        if url == crl::URL {
            return self.incarnation.answer_crl(serde_json::from_slice(&body)?, &environment).await;
        }
        if url == HOST {
            let order = serde_json::from_slice(&body)?;
            return Response::from_json(&Verdict::from(self.incarnation.revoke(order, &environment).await));
        }
        if url == reconciliation::DISOWNED {
            self.incarnation.disowned(serde_json::from_slice(&body)?, &environment).await.map_err(internal)?;
            return Response::empty();
        }
        if url == renewal::URL {
            self.incarnation.place(serde_json::from_slice(&body)?, &environment).await.map_err(internal)?;
            return Response::empty();
        }
        if let Some(id) = CertificateId::of_path(&request.path()) {
            let answer = self.incarnation.renewal_info(id, &environment).unwrap_or_else(Answer::from);
            return answer.send(&environment, environment.mint_nonce().ok(), 1);
        }
        let hops = Cell::new(1);
        let reply = self.incarnation.answer(&request.path(), &body, &environment, &hops).await;
        let nonce = environment.mint_nonce().ok();
        reply.map_or_else(Answer::from, Answer::from).send(&environment, nonce, hops.get())
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let environment =
            Environment::of(&self.incarnation.env).map_err(|error| worker::Error::RustError(error.to_string()))?;
        self.incarnation.alarm.rang();
        let rows = self.incarnation.rows().map_err(internal)?;
        let mut news = Vec::new();
        for key in rows.due(environment::now(), BATCH).map_err(|fault| internal(fault.into()))? {
            match key {
                Key::Certificate(serial) => {
                    self.incarnation.revocation_is_due(serial, &environment).map(|told| news.extend(told))
                }
                Key::Response(serial, hash) => self.incarnation.response_is_due((serial, hash), &environment),
                Key::Crl => self.incarnation.crl_is_due(&environment),
                key => self.incarnation.commit(renewals::due(key).as_slice()),
            }
            .map_err(internal)?;
        }
        self.incarnation.tell(news, &environment);
        self.incarnation.alarm.arm(&self.incarnation.state, &rows, environment::now().plus(1)).await;
        Response::empty()
    }
}

impl Incarnation {
    /// A request that the front got, signed by the certificate's key: signature, nonce, right, in this order.
    async fn answer(
        self: &Rc<Self>,
        path: &str,
        body: &[u8],
        environment: &Rc<Environment>,
        hops: &Cell<u32>,
    ) -> Result<Reply, Problem> {
        let route = environment.urls.parse(path).map_err(|_| Problem::NotFound)?;
        let SignedRequest { home, nonce, jws, .. } = SignedRequest::parse(route, body, environment)?;
        let Home::Status(_) = home else { return Err(Problem::NotFound) };
        let KeyReference::Jwk(key) = jws.header().key.clone() else {
            return Err(Problem::WrongKeyMember("jwk"));
        };
        let verified = webcrypto::verify(jws, &key, None, drop).await?;
        let Nonce::Edge(nonce) = nonce else { return Err(Problem::BadNonce) };
        hops.set(2);
        let redeemed = nonce.redeemed(nonce_shard::redeem(environment, &self.env, nonce).await?);
        let redeemed = redeemed.map_err(|BadNonce| Problem::BadNonce)?;
        let entropy = environment::entropy()?;
        // There is no account here; nothing looks at one.
        let account = AccountId(key.thumbprint());
        let context = super::account::context(environment, account, &entropy);
        let order = revoke::by_certificate_key(verified, redeemed, &context)?;
        self.revoke(order, environment).await?;
        Ok(Reply::empty(200))
    }

    /// Intent, signer, confirmation: in this order.
    async fn revoke(self: &Rc<Self>, order: RevocationOrder, environment: &Rc<Environment>) -> Result<(), Problem> {
        let signer = match order.signer {
            Some(signer) => signer,
            None => issuers::signer_of(&self.env, environment, &order.certificate()?).await?,
        };
        let now = environment::now();
        let redrive = environment.config.lifetimes.redrive;
        let revoking = Revoking { request: order.request, signer, since: now };
        let (changes, ask) = revocation::begin(&self.rows()?, order.serial, revoking, now.plus(redrive))?;
        self.commit(&changes)?;
        self.alarm.arm(&self.state, &self.rows()?, now).await;
        match self.ask(&ask, environment).await? {
            Outcome::Revoked => Ok(()),
            Outcome::AlreadyRevoked(at) => Err(Problem::AlreadyRevoked(at)),
            Outcome::Later => Err(Problem::RevocationPending(redrive)),
            Outcome::Refused(problem) => Err(problem),
        }
    }

    /// Asks the signer, and takes its answer in.
    async fn ask(self: &Rc<Self>, ask: &Ask, environment: &Rc<Environment>) -> Result<Outcome, Problem> {
        let signer = environment.config.signers.iter().find(|signer| signer.binding == ask.revoking.signer);
        let answer = match signer {
            Some(signer) => {
                signer::revoke(&self.env, signer, &ask.revoking.request).await.map_err(|error| error.to_string())
            }
            None => Err("the configuration no longer has this signer".to_owned()),
        };
        match &answer {
            Ok(RevokeReply::Refused(refused)) => {
                console_error!("{} refused to revoke {}: {refused:?}", ask.revoking.signer, ask.serial);
            }
            Err(words) => console_error!("{} for {}: {words}", ask.revoking.signer, ask.serial),
            Ok(_) => {}
        }
        // From here to the commit no await.
        let (now, status) = (environment::now(), &environment.config.status);
        let due = now.plus(status.memory_seconds.saturating_add(1));
        let purges = status.purge.is_some();
        let (changes, outcome) = revocation::answered(&self.rows()?, ask, answer, purges, (now, due))?;
        self.commit(&changes)?;
        if outcome == Outcome::Revoked
            && let Some(news) = Announcement::stored(&self.rows()?, ask.serial)?
        {
            // Caches are purged when no isolate can give them again what was true before.
            self.tell(vec![Announcement { purge: false, ..news }], environment);
            self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
        }
        Ok(outcome)
    }

    /// An alarm found a revocation that no signer has confirmed, or one that others are to be told of.
    fn revocation_is_due(
        self: &Rc<Self>,
        serial: SerialNumber,
        environment: &Rc<Environment>,
    ) -> Result<Option<Announcement>, Problem> {
        let next = environment::now().plus(environment.config.lifetimes.redrive);
        let (changes, due) = revocation::due(&self.rows()?, serial, next)?;
        self.commit(&changes)?;
        match due {
            Due::Nothing => Ok(None),
            Due::Tell(announcement) => Ok(Some(announcement)),
            Due::Ask(ask) => {
                let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
                self.state.wait_until(async move {
                    if let Err(problem) = incarnation.ask(&ask, &environment).await {
                        console_error!("revocation of {}: {problem:?}", ask.serial);
                    }
                });
                Ok(None)
            }
        }
    }

    pub(super) fn rows(&self) -> Result<SqlRows, Problem> {
        Ok(SqlRows::open(self.state.storage().sql(), BINDING.to_owned(), Rc::clone(&self.known))?)
    }

    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), Problem> {
        Ok(self.rows()?.commit(changes)?)
    }
}
