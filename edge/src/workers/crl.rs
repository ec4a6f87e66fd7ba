//! CRLs: at the front, and in one object for each part of an issuer's certificates.

use std::{cell::RefCell, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};
use shared::{
    chain::Issuer,
    pointers::{CrlShard, IssuerId},
    signing::CrlRequest,
    timestamp::Timestamp,
};
use worker::{Env, Method, Request, RequestInit, Response, Stub, console_error};

use super::{
    environment::{self, Environment},
    front_status, issuers, purge,
    reply::Answer,
    signer,
    status::{BINDING, Incarnation},
    timeout::within,
};
use crate::{
    acme::{problem::Problem, storage::Storage as _},
    status::{
        cache_tag,
        crl::{self, Look, Outcome, Times},
        document::Document,
        issuers::Issuers,
        memory::DocumentMemory,
    },
};

/// The URL of a call to the object.
pub(super) const URL: &str = "https://crl.objects/";

/// So long a client waits for a signer.
const WAIT: Duration = Duration::from_secs(10);

thread_local! {
    static MEMORY: RefCell<DocumentMemory<(IssuerId, CrlShard)>> = RefCell::default();
}

/// What is asked of the object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Call {
    /// The newest CRL.
    Tell(CrlRequest),
    /// A certificate of this part was revoked then.
    Revoked(CrlRequest, Timestamp),
}

/// What the object answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// The newest one that can be had.
    Crl(Document),
    /// None that is good, now.
    Later,
    /// There is none.
    Unknown,
}

/// A request for a CRL, and the number of hops that it took.
pub(super) async fn answer(
    of: (IssuerId, CrlShard),
    request: &Request,
    env: &Env,
    environment: &Environment,
) -> (Answer, u32) {
    let remembered = MEMORY.with_borrow(|memory| memory.find(&of, environment::now()).cloned());
    if let Some(document) = remembered {
        return (front_status::document(&document, cache_tag::of_crl(of.0, of.1), request, environment), 0);
    }
    let (issuer, shard) = of;
    // A stranger's numbers wake no object. Parts of earlier certificates are among those that a signer names.
    let known = |issuers: &Issuers| issuers.by_id(issuer)?.shards.contains(&shard).then_some(());
    match issuers::known(env, environment, known).await {
        Ok(Some(())) | Err(issuers::Unreached) => {}
        Ok(None) => return (front_status::none(404), 0),
    }
    let answer = match call(env, environment, &Call::Tell(CrlRequest { issuer, shard })).await {
        Ok(Told::Crl(document)) => {
            let seconds = environment.config.status.crl_memory_seconds;
            let answer = front_status::document(&document, cache_tag::of_crl(issuer, shard), request, environment);
            MEMORY.with_borrow_mut(|memory| memory.keep(of, document, environment::now(), seconds));
            answer
        }
        Ok(Told::Later) => front_status::later(),
        Ok(Told::Unknown) => front_status::none(404),
        Err(error) => {
            console_error!("CRL {issuer} {shard}: {error}");
            front_status::later()
        }
    };
    (answer, 1)
}

/// Tells the CRLs that a certificate of this issuer belongs to that it was revoked; true when all of them know.
pub(super) async fn revoked(env: &Env, environment: &Environment, parts: Vec<CrlRequest>, at: Timestamp) -> bool {
    let mut all = true;
    for part in parts {
        let call_of = Call::Revoked(part, at);
        if let Err(error) = call(env, environment, &call_of).await {
            console_error!("{call_of:?}: {error}");
            all = false;
        }
    }
    all
}

fn stub(env: &Env, environment: &Environment, CrlRequest { issuer, shard }: &CrlRequest) -> worker::Result<Stub> {
    env.durable_object(BINDING)?.get_by_name(&format!("{}/crl/{issuer}/{shard}", environment.config.deployment))
}

async fn call(env: &Env, environment: &Environment, call: &Call) -> worker::Result<Told> {
    let (Call::Tell(request) | Call::Revoked(request, _)) = call;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(serde_json::to_string(call)?.into()));
    let stub = stub(env, environment, request)?;
    let bytes = stub.fetch_with_request(Request::new_with_init(URL, &init)?).await?.bytes().await?;
    Ok(serde_json::from_slice(&bytes)?)
}

impl Incarnation {
    /// A call.
    pub(super) async fn answer_crl(
        self: &Rc<Self>,
        call: Call,
        environment: &Rc<Environment>,
    ) -> worker::Result<Response> {
        let told = match call {
            Call::Tell(request) => self.tell_crl(request, environment).await,
            Call::Revoked(request, at) => self.crl_is_old(request, at, environment).await,
        };
        Response::from_json(&told.unwrap_or_else(|problem| {
            console_error!("{problem:?}");
            Told::Later
        }))
    }

    async fn tell_crl(self: &Rc<Self>, request: CrlRequest, environment: &Rc<Environment>) -> Result<Told, Problem> {
        let look = crl::look(&self.rows()?, environment::now(), environment.config.status.crl_poll_seconds)?;
        let old = match look {
            Look::Fresh(document) => return Ok(Told::Crl(document)),
            Look::Old(document) => Some(document),
            Look::Missing => None,
        };
        let told = within(WAIT, self.fetch_crl(request, environment)).await.and_then(Result::ok);
        Ok(match (told, old) {
            (Some(Told::Crl(document)), _) => Told::Crl(document),
            (_, Some(document)) => Told::Crl(document),
            (Some(told), None) => told,
            (None, None) => Told::Later,
        })
    }

    async fn crl_is_old(
        self: &Rc<Self>,
        request: CrlRequest,
        at: Timestamp,
        environment: &Rc<Environment>,
    ) -> Result<Told, Problem> {
        let now = environment::now();
        let changes = crl::revoked(&self.rows()?, at, now.plus(environment.config.lifetimes.redrive))?;
        if !changes.is_empty() {
            self.rows()?.commit(&changes)?;
            self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
            drop(self.fetch_crl(request, environment));
        }
        Ok(Told::Later)
    }

    /// Has the newest one fetched, unless that is under way.
    fn fetch_crl(
        self: &Rc<Self>,
        request: CrlRequest,
        environment: &Rc<Environment>,
    ) -> futures_channel::oneshot::Receiver<Told> {
        let (landed, first) = self.crls.board(&());
        if first {
            let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
            self.state.wait_until(async move {
                let told = incarnation.ask_crl(&request, &environment).await.unwrap_or_else(|problem| {
                    console_error!("{problem:?}");
                    Told::Later
                });
                incarnation.crls.land(&(), &told);
            });
        }
        landed
    }

    /// Asks the signer, and takes its answer in.
    async fn ask_crl(&self, request: &CrlRequest, environment: &Environment) -> Result<Told, Problem> {
        let found = issuers::known(&self.env, environment, |issuers| {
            let known = issuers.by_id(request.issuer)?;
            Some((known.signer.clone(), known.chain.issuer().der().to_vec()))
        });
        let (binding, der) = match found.await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Told::Unknown),
            Err(issuers::Unreached) => return Ok(Told::Later),
        };
        let issuer = Issuer::from_der(&der).map_err(|_| Problem::Internal("an issuer cannot be read"))?;
        let signer = environment.config.signers.iter().find(|signer| signer.binding == binding);
        let reply = match signer {
            Some(signer) => signer::crl(&self.env, signer, request).await.map_err(|error| error.to_string()),
            None => Err("the configuration no longer has this signer".to_owned()),
        };
        // From here to the commit no await.
        let now = environment::now();
        let status = &environment.config.status;
        let purge = status.purge.as_ref().map(|_| now.plus(status.crl_memory_seconds.saturating_add(1)));
        let times = Times { now, next: now.plus(environment.config.lifetimes.redrive), purge };
        let (changes, outcome, words) = crl::answered(&self.rows()?, request, &issuer, reply, times)?;
        if let Some(words) = words {
            console_error!("{binding} for the CRL {} {}: {words}", request.issuer, request.shard);
        }
        self.rows()?.commit(&changes)?;
        self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
        Ok(match outcome {
            Outcome::Current(document) => Told::Crl(document),
            Outcome::Later => Told::Later,
            Outcome::Unknown => Told::Unknown,
        })
    }

    /// An alarm found that the CRL is due.
    pub(super) fn crl_is_due(self: &Rc<Self>, environment: &Rc<Environment>) -> Result<(), Problem> {
        let now = environment::now();
        let next = now.plus(environment.config.lifetimes.redrive);
        let status = &environment.config.status;
        let most = status.max_age_seconds.saturating_add(status.crl_memory_seconds);
        let (changes, due) = crl::due(&self.rows()?, now, next, most)?;
        self.commit(&changes)?;
        if let Some(request) = due.ask {
            drop(self.fetch_crl(request, environment));
        }
        if let Some(CrlRequest { issuer, shard }) = due.purge {
            let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
            self.state.wait_until(async move {
                if purge::by_tags(&environment, &[cache_tag::of_crl(issuer, shard)]).await
                    && let Err(problem) = incarnation.crl_is_purged(next)
                {
                    console_error!("{problem:?}");
                }
            });
        }
        Ok(())
    }

    fn crl_is_purged(&self, next: Timestamp) -> Result<(), Problem> {
        self.commit(&crl::purged(&self.rows()?, next)?)
    }
}
