//! The Account object: runs the steps of one account on its rows, and nothing else.
//!
//! **Why it is atomic.** The platform runs at most one incarnation of the object, and within it one piece of code at a time,
//! from await to await. Between the last await of a request and its commit there is none: the step reads its rows,
//! decides, and one statement writes all of its changes. Whatever was let in before (while a nonce shard was asked, say)
//! is therefore seen. The platform holds each answer back until what was written before it is on disk, so nobody is told
//! of what a crash could take away. An effect starts only after the commit of its intent; when it is lost with the
//! incarnation, the alarm that was set with that commit starts it again.
//!
//! No borrow of a cell is held across an await: another request of the same object would trap.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use shared::{
    jws::Verified,
    signed_der::{Proved, SignedDer},
};
use worker::{DurableObject, Env, Request, Response, State, Stub, console_error, console_log, durable_object};

use super::{
    absorbed,
    alarm::Alarm,
    environment::{self, Environment},
    external_account, forward, meter, nonce_shard, pool, renewal,
    reply::{self, Answer},
    rollover,
    signed_request::SignedRequest,
    status,
    storage::{Known, Schema, SqlRows},
    timeout::within,
    webcrypto::{self, ImportedKey},
};
use crate::acme::{
    absorb, account,
    authentication::key_of,
    authorization,
    caa_check::CaaSubject,
    entropy::Entropy,
    finalize,
    key_change::KeyChange,
    nonce::{AccountNonce, BadNonce, Nonce, Redeemed, Window},
    order,
    problem::Problem,
    rate_limit,
    record::{AccountRecord, Record as _},
    revoke,
    route::{AccountId, Resource, Route},
    step::{self, Admission, Context, Effect, Reply},
    storage::{Change, Key, Storage as _, StorageFault},
};

/// The binding of the objects' namespace.
const BINDING: &str = "ACCOUNT";

/// The object of an account.
///
/// # Errors
/// When the deployment has no such binding.
pub(super) fn stub(env: &Env, environment: &Environment, account: AccountId) -> worker::Result<Stub> {
    env.durable_object(BINDING)?.get_by_name(&format!("{}/{account}", environment.config.deployment))
}

/// One account.
#[durable_object(alarm)]
#[derive(Debug)]
pub struct Account {
    incarnation: Rc<Incarnation>,
}

/// What one incarnation of the object has in memory. All of it may be lost at any time.
#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) state: State,
    pub(super) env: Env,
    known: Rc<Known>,
    /// Nonces that this incarnation minted; made with the first.
    window: RefCell<Option<Window>>,
    /// Rows whose effect is under way.
    pub(super) running: RefCell<BTreeSet<Key>>,
    pub(super) alarm: Alarm,
    /// The key that the platform verified with last.
    key: RefCell<Option<ImportedKey>>,
    /// Keys that the account is being rolled over to.
    pub(super) rolling: RefCell<BTreeSet<AccountId>>,
    /// The platform's place that the account's last request came in at, where the front tells it.
    pub(super) colo: RefCell<Option<String>>,
}

impl DurableObject for Account {
    fn new(state: State, env: Env) -> Self {
        let incarnation = Incarnation {
            state,
            env,
            known: Rc::default(),
            window: RefCell::default(),
            running: RefCell::default(),
            alarm: Alarm::default(),
            key: RefCell::default(),
            rolling: RefCell::default(),
            colo: RefCell::default(),
        };
        Self { incarnation: Rc::new(incarnation) }
    }

    /// A signed request as the front got it, with the same path and the same bytes.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let environment = match Environment::of(&self.incarnation.env) {
            Ok(environment) => environment,
            Err(error) => return reply::unconfigured(&error),
        };
        let body = forward::asked(&mut request).await?;
        let client = client_address(&request);
        if let Some(colo) = request.headers().get(COLO).ok().flatten() {
            self.incarnation.colo.replace(Some(colo));
        }
        if request.inner().url() == rollover::HOST {
            return self.incarnation.answer_object(&body, &environment).await;
        }
        let parsed = environment.urls.parse(&request.path()).map_err(|_| Problem::NotFound);
        match parsed.and_then(|route| SignedRequest::parse(route, &body, &environment)) {
            Ok(request) => self.incarnation.answer(request, client, &environment).await,
            Err(problem) => Answer::from(problem).send(&environment, environment.mint_nonce().ok(), 1),
        }
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let environment =
            Environment::of(&self.incarnation.env).map_err(|error| worker::Error::RustError(error.to_string()))?;
        self.incarnation
            .ring(&environment)
            .await
            .map_err(|problem| worker::Error::RustError(format!("{problem:?}")))?;
        Response::empty()
    }
}

impl Incarnation {
    async fn answer(
        self: &Rc<Self>,
        request: SignedRequest,
        client: Option<IpAddr>,
        environment: &Rc<Environment>,
    ) -> worker::Result<Response> {
        let Some(account) = request.home.account() else {
            return Answer::from(Problem::NotFound).send(environment, environment.mint_nonce().ok(), 1);
        };
        // The front's call of this object is the first.
        let (hops, route) = (Cell::new(1), request.route);
        let reply = self.run(request, account, client, environment, &hops).await;
        // A nonce of this object is good for requests of this account. After a key change, and for a key of another object's account,
        // the client's next request may be for another object: a nonce of the edge is good for all.
        let own = environment.urls.resource(account, Resource::Account);
        let is_own = match route {
            Route::KeyChange => false,
            Route::NewAccount => reply.as_ref().is_ok_and(|reply| reply.location.as_ref() == Some(&own)),
            _ => true,
        };
        let nonce = if is_own { self.mint_nonce(environment, account) } else { environment.mint_nonce() }.ok();
        reply.map_or_else(Answer::from, Answer::from).send(environment, nonce, hops.get())
    }

    /// Signature, nonce, limits outside: in this order (RFC 8555 §6). A failure that a meter counted for a validation
    /// that did not begin after all is given back.
    async fn run(
        self: &Rc<Self>,
        request: SignedRequest,
        account: AccountId,
        client: Option<IpAddr>,
        environment: &Rc<Environment>,
        hops: &Cell<u32>,
    ) -> Result<Reply, Problem> {
        let SignedRequest { route, nonce, jws, .. } = request;
        let rows = self.rows(account)?;
        let key = key_of(route, &jws, account, &environment.urls, &rows)?;
        let kept = self.key.borrow().clone();
        let verified = webcrypto::verify(jws, &key, kept, |key| drop(self.key.replace(Some(key)))).await?;
        let redeemed = match nonce {
            Nonce::Account(nonce) => self.redeem(nonce),
            Nonce::Edge(nonce) => {
                hops.set(2);
                nonce.redeemed(nonce_shard::redeem(environment, &self.env, nonce).await?)
            }
        };
        let redeemed = redeemed.map_err(|BadNonce| Problem::BadNonce)?;
        if route == Route::NewAccount
            && let Some(reply) = self.follow_pointer(environment, account).await?
        {
            return Ok(reply);
        }
        let begins = match route {
            Route::NewAccount => account::opens(&rows, &verified)?,
            _ => authorization::begins(&rows, route, &verified, environment::now())?,
        };
        let mut reserved = None;
        if let Some(question) = rate_limit::question(&rows, route, begins, client, &environment.config)? {
            hops.set(hops.get().saturating_add(1));
            reserved = question.failures.filter(|_| question.reserves).map(|rate| (question.name.clone(), rate));
            meter::ask(&self.env, environment, question).await?;
        }
        let began = Cell::new(false);
        let admitted = Admitted { route, verified, redeemed, client };
        let reply = self.perform(admitted, account, environment, hops, &began).await;
        if let Some((name, rate)) = reserved.filter(|_| !began.get()) {
            meter::refund_failure(&self.env, environment, &name, rate).await;
        }
        reply
    }

    /// Step, commit, effect: in this order. `began` becomes true when a validation has begun.
    async fn perform(
        self: &Rc<Self>,
        admitted: Admitted,
        account: AccountId,
        environment: &Rc<Environment>,
        hops: &Cell<u32>,
        began: &Cell<bool>,
    ) -> Result<Reply, Problem> {
        let Admitted { route, verified, redeemed, client } = admitted;
        let rows = self.rows(account)?;
        let entropy = environment::entropy()?;
        if route == Route::RevokeCertificate {
            let order = revoke::by_account(&rows, verified, redeemed, &context(environment, account, &entropy))?;
            hops.set(hops.get().saturating_add(1));
            return status::revoke(&self.env, environment, &order).await;
        }
        let step = if route == Route::KeyChange {
            let context = context(environment, account, &entropy);
            let change = KeyChange::check(&rows, verified, redeemed, &context)?;
            // Counted before the new key's object is asked, which may leave a pointer there.
            self.commit(rows.clone(), &[rate_limit::key_change(&rows, &context)?])?;
            hops.set(hops.get().saturating_add(1));
            self.change_key(change, environment, account).await?
        } else {
            let mut admission = Admission { nonce: redeemed, binding: None, grant: None, held: None };
            if route == Route::NewAccount {
                let context = context(environment, account, &entropy);
                if let Some(claim) = account::binding_claim(&rows, &verified, &context)? {
                    admission.binding =
                        Some(external_account::bind(&self.env, environment, claim, verified.flattened()).await?);
                }
            }
            let mut proved = Proved::default();
            if let Route::Of(_, Resource::Finalize(_)) = route
                && let Some(record) = AccountRecord::load(&rows, Key::Account)?
            {
                admission.grant = external_account::renew(&self.env, environment, &record).await;
            }
            if let Route::Of(_, Resource::Finalize(id)) = route
                && let Some(csr) = finalize::csr_of(&verified)
            {
                if let Some(signed) = SignedDer::request(&csr) {
                    webcrypto::prove(&signed, &mut proved).await;
                }
                let context = context(environment, account, &entropy);
                if let Some(held) = absorb::candidate(&rows, id, &csr, &context)? {
                    hops.set(hops.get().saturating_add(1));
                    let early = renewal::is_early(&self.env, environment, held.certificate).await;
                    admission.held = early.then_some(held.order);
                }
            }
            let held = admission.held;
            let step = pool::with_outlook(environment, self.colo.borrow().as_deref(), |outlook| {
                let context = Context { proved: &proved, client, outlook, ..context(environment, account, &entropy) };
                step::step(&rows, route, verified, admission, &context)
            })?;
            if let (Some(order), None) = (held, &step.effect) {
                console_log!("absorbed: {account} was given the certificate of {order} again");
                if let Some(signer) = absorb::signer_of(&rows, order)? {
                    absorbed::count(&self.state, &self.env, signer);
                }
            }
            step
        };
        // Between the step and its commit no await.
        self.commit(rows.clone(), &step.changes)?;
        if !step.changes.is_empty() {
            self.alarm.arm(&self.state, &rows, environment::now()).await;
        }
        let Some(effect) = step.effect else { return Ok(step.reply) };
        // An effect without a change starts again what was lost.
        began.set(matches!(effect, Effect::Probe(_)) && !step.changes.is_empty());
        let order = match &effect {
            Effect::Sign(sign) => Some(sign.order),
            Effect::CheckCaa(check) => match check.subject {
                CaaSubject::Order(id) => Some(id),
                CaaSubject::Authorization(..) => None,
            },
            Effect::Probe(_) | Effect::Place(..) => None,
        };
        if let Effect::Sign(sign) = &effect {
            pool::chosen(environment, &sign.signer);
            pool::refresh(&self.state, &self.env, environment);
        }
        let ended = self.start(effect, environment, account);
        let Some(order) = order else { return Ok(step.reply) };
        // Most certificates are there within the time that a client is willing to wait.
        within(Duration::from_secs(environment.config.lifetimes.finalize_wait), ended).await;
        order::current(&rows, order, &context(environment, account, &entropy))
    }

    /// The account's rows as they are now.
    pub(super) fn rows(&self, account: AccountId) -> Result<SqlRows, StorageFault> {
        SqlRows::open(self.state.storage().sql(), account.to_string(), Rc::clone(&self.known))
    }

    /// Writes all changes or none.
    pub(super) fn commit(&self, mut rows: SqlRows, changes: &[Change]) -> Result<(), StorageFault> {
        rows.commit(changes)
    }

    /// Deletes everything that the object has stored, its alarm too: the platform then forgets the object.
    pub(super) async fn delete(&self) -> Result<(), StorageFault> {
        let failed = |error: worker::Error| {
            console_error!("delete: {error}");
            StorageFault::Commit
        };
        self.known.forget(Schema::Unknown);
        // The rows first: an alarm that rings on nothing is harmless, rows without one would stay for ever.
        self.state.storage().delete_all().await.map_err(failed)?;
        self.state.storage().delete_alarm().await.map_err(failed)?;
        self.known.forget(Schema::Absent);
        self.alarm.rang();
        Ok(())
    }

    fn redeem(&self, nonce: AccountNonce) -> Result<Redeemed, BadNonce> {
        self.window.borrow_mut().as_mut().map_or(Err(BadNonce), |window| window.redeem(nonce))
    }

    fn mint_nonce(&self, environment: &Environment, account: AccountId) -> Result<String, Problem> {
        let mut window = self.window.borrow_mut();
        let window = match &mut *window {
            Some(window) => window,
            none => none.insert(Window::new(environment::random()?)),
        };
        Ok(window.mint(&environment.nonce_secrets, account))
    }
}

/// A request that is authentic, whose nonce is spent, and that no meter outside refuses.
struct Admitted {
    route: Route,
    verified: Verified,
    redeemed: Redeemed,
    client: Option<IpAddr>,
}

/// The header in which the front says which address asks.
pub(super) const CLIENT: &str = "Colophon-Client";

/// The header in which the front says at which of the platform's places it is.
pub(super) const COLO: &str = "Colophon-Colo";

/// The client's address as the front read it.
fn client_address(request: &Request) -> Option<IpAddr> {
    request.headers().get(CLIENT).ok()??.parse().ok()
}

/// What a step may look at, now.
pub(super) fn context<'a>(environment: &'a Environment, account: AccountId, entropy: &'a Entropy) -> Context<'a> {
    static NOTHING: Proved = Proved::nothing();
    let (config, urls, now) = (&environment.config, &environment.urls, environment::now());
    Context {
        config,
        scope: &config.scopes.open,
        urls,
        account,
        now,
        entropy,
        client: None,
        outlook: None,
        proved: &NOTHING,
    }
}
