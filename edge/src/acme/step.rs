//! One request, one step: a pure function of what is stored, the request, the time and fresh entropy. It returns changes for
//! one commit, at most one effect to start after the commit, and the reply. What an effect came back with is an [`Event`],
//! which goes through the same door.

use std::net::IpAddr;

use serde::{Serialize, de::DeserializeOwned};
use shared::{
    json,
    jws::Verified,
    signed_der::Proved,
    signing::{IssueReply, IssueRequest},
    timestamp::Timestamp,
};

use super::{
    account, authorization,
    caa_check::{CaaCheck, CaaFindings, CaaSubject},
    certificate,
    config::Config,
    directory::Directory,
    entropy::Entropy,
    external_account::{Binding, HeldGrant},
    finalize,
    nonce::Redeemed,
    object_id::ObjectId,
    order, orders,
    perspective::Sighting,
    placement,
    pool::Outlook,
    probe::{Probe, ProbeOutcome},
    problem::Problem,
    record::{AccountRecord, AccountStatus, Record},
    route::{AccountId, Resource, Route, Urls},
    scope::Scope,
    storage::{Change, Key, Rows},
    terms,
};
use crate::status::renewal::Placement;

/// What a step may look at besides the rows and the request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The deployment.
    pub config: &'a Config,
    /// What the account may ask for: the open scope until the account is loaded.
    pub scope: &'a Scope,
    /// Its URLs.
    pub urls: &'a Urls,
    /// The account whose object runs the step.
    pub account: AccountId,
    /// The time.
    pub now: Timestamp,
    /// Fresh for this step.
    pub entropy: &'a Entropy,
    /// The address that the request came from, where the deployment knows it.
    pub client: Option<IpAddr>,
    /// What is known of signers, where that is asked for.
    pub outlook: Option<Outlook<'a>>,
    /// Signatures that the platform has found to be valid; all others are computed here.
    pub proved: &'a Proved,
}

impl Context<'_> {
    /// The same with the account's own scope.
    #[must_use]
    pub fn of(&self, account: &AccountRecord) -> Self {
        Self { scope: self.config.scopes.of(account), ..*self }
    }
}

/// What a request had to show elsewhere before its step may run.
#[derive(Debug)]
pub struct Admission {
    /// Its nonce is spent.
    pub nonce: Redeemed,
    /// The binding that a newAccount request brought, verified.
    pub binding: Option<Binding>,
    /// A newer grant for the account of a finalize request.
    pub grant: Option<HeldGrant>,
    /// The order whose certificate a finalize request may be given, and that there is no reason to renew.
    pub held: Option<ObjectId>,
}

/// What a request leads to.
#[derive(Debug)]
pub struct Step {
    /// To be committed together, before anything else happens.
    pub changes: Vec<Change>,
    /// To be started after the commit.
    pub effect: Option<Effect>,
    /// To be sent after the commit.
    pub reply: Reply,
}

/// What an event leads to: as a [`Step`], with nobody to reply to.
#[derive(Debug, Default)]
pub struct Settled {
    /// To be committed together, before anything else happens.
    pub changes: Vec<Change>,
    /// To be started after the commit.
    pub effect: Option<Effect>,
    /// True: nothing is left to keep; in place of a commit the whole object is to be deleted.
    pub ends: bool,
    /// For the operator's log.
    pub log: Option<String>,
}

/// Work outside of the object. Idempotent: alarms start it again until an event settles it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Look at a challenge.
    Probe(Probe),
    /// Look CAA records up.
    CheckCaa(CaaCheck),
    /// Ask a signer for the certificate of an order.
    Sign(Box<Sign>),
    /// Have the certificate of an order given a window for its renewal. Nobody waits for it.
    Place(ObjectId, Placement),
}

/// A question to a signer.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The order that waits.
    pub order: ObjectId,
    /// The binding of the signer that the order is leased to.
    pub signer: String,
    /// True: whether it is signed, and else not to sign it; in place of the certificate.
    pub settle: bool,
    /// What to ask; the same for the same order every time, but for its deadline and its lease.
    pub request: IssueRequest,
}

/// What an effect came back with.
#[derive(Debug)]
pub enum Event {
    /// A probe ended that the account's object ran alone.
    Probed(Probe, ProbeOutcome),
    /// A probe ended that was run from several places.
    ProbedFrom(Probe, Vec<Sighting>),
    /// CAA records were looked up.
    CaaChecked(CaaSubject, CaaFindings),
    /// A signer answered, or could not be reached; then the words are for the log.
    Signed(ObjectId, Result<IssueReply, String>),
    /// The certificate of an order has a window; false: its status object could not be asked.
    Placed(ObjectId, bool),
    /// An alarm found the row due.
    Due(Key),
}

/// An answer without its nonce and index link, which every answer gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// URL for `Location`.
    pub location: Option<String>,
    /// URL for `Link: …;rel="up"` (RFC 8555 §7.5.1).
    pub up: Option<String>,
    /// URL for `Link: …;rel="next"` (RFC 8555 §7.1.2.1).
    pub next: Option<String>,
    /// URLs for `Link: …;rel="alternate"` (RFC 8555 §7.4.2).
    pub alternates: Vec<String>,
    /// Whole seconds for `Retry-After`.
    pub retry_after: Option<u64>,
    /// Media type and text.
    pub body: Body,
}

/// The body of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// `application/json`.
    Json(String),
    /// `application/pem-certificate-chain` (RFC 8555 §9.1).
    PemChain(String),
    /// Nothing.
    Empty,
}

/// Runs a request that is authentic and whose nonce is spent.
///
/// # Errors
/// The problem to answer with; nothing is to be committed then.
pub fn step(
    rows: &dyn Rows,
    route: Route,
    request: Verified,
    admission: Admission,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    if request.header().url != context.urls.of(route) {
        return Err(Problem::url_mismatch(context.urls.of(route), &request.header().url));
    }
    if route == Route::NewAccount {
        return account::create(rows, request, admission.binding, context);
    }
    let account = acting_account(rows, &request)?;
    let context = &context.of(&account);
    match route {
        Route::Directory => {
            require_post_as_get(&request)?;
            let directory = Directory::new(context.config, context.urls).to_json()?;
            Ok(Step::read(Reply::new(200, Body::Json(directory))))
        }
        Route::NewNonce => {
            require_post_as_get(&request)?;
            Ok(Step::read(Reply::empty(204)))
        }
        Route::NewOrder | Route::NewAuthorization if !terms::agreed(&account, context.config) => {
            Err(terms::refusal(context))
        }
        Route::NewOrder => order::create(rows, &request, context),
        Route::NewAuthorization => authorization::create(rows, &request, context),
        Route::Of(_, Resource::Account) => account::read_or_update(account, &request, context),
        Route::Of(_, Resource::Orders(before)) => orders::read(rows, before, &request, context),
        Route::Of(_, Resource::Order(id)) => order::read(rows, id, &request, context),
        Route::Of(_, Resource::Finalize(id)) => finalize::finalize(rows, account, id, request, admission, context),
        Route::Of(_, Resource::Certificate(id, alternate)) => certificate::read(rows, id, alternate, &request, context),
        Route::Of(_, Resource::Authorization(id)) => authorization::read_or_deactivate(rows, id, &request, context),
        Route::Of(_, Resource::Challenge(id, kind)) => authorization::respond(rows, id, kind, &request, context),
        _ => Err(Problem::NotFound),
    }
}

/// The account as it is now, if the request may still act for it: the signature was checked before the nonce was spent, and
/// the key or the status may have changed in between.
///
/// # Errors
/// `accountDoesNotExist`, `unauthorized`.
pub fn acting_account(rows: &dyn Rows, request: &Verified) -> Result<AccountRecord, Problem> {
    let account = AccountRecord::load(rows, Key::Account)?.ok_or(Problem::AccountDoesNotExist)?;
    if request.signer() != account.key.thumbprint() {
        return Err(Problem::Unauthorized("The account has another key now."));
    }
    if account.status == AccountStatus::Deactivated {
        return Err(Problem::Deactivated);
    }
    Ok(account)
}

/// Takes in what an effect came back with, or that a row is due.
///
/// # Errors
/// When rows cannot be read; the row stays due.
pub fn settle(rows: &dyn Rows, event: Event, context: &Context<'_>) -> Result<Settled, Problem> {
    let account = AccountRecord::load(rows, Key::Account)?;
    let context = &account.map_or(*context, |account| context.of(&account));
    match event {
        Event::Probed(probe, outcome) => authorization::probed(rows, &probe, &[Sighting::at_home(outcome)], context),
        Event::ProbedFrom(probe, sightings) => authorization::probed(rows, &probe, &sightings, context),
        Event::CaaChecked(CaaSubject::Authorization(id, challenge), findings) => {
            authorization::caa_checked(rows, id, challenge, &findings, context)
        }
        Event::CaaChecked(CaaSubject::Order(id), findings) => finalize::caa_checked(rows, id, &findings, context),
        Event::Signed(order, answer) => finalize::signed(rows, order, answer, context),
        Event::Placed(order, true) => placement::placed(rows, order, context),
        Event::Placed(_, false) => Ok(Settled::default()),
        Event::Due(Key::Account) => account::due(rows, context),
        Event::Due(Key::Order(id)) => order::due(rows, id, context),
        Event::Due(Key::Authorization(id)) => authorization::due(rows, id, context),
        // A meter is due when it says nothing any more, and what is held when its order is deleted.
        Event::Due(key @ (Key::Meter(_) | Key::Held(_))) => Ok(Settled::changes(vec![Change::Delete(key)])),
        Event::Due(
            Key::Pointer
            | Key::Retired
            | Key::Reusable(_)
            | Key::Certificate(_)
            | Key::Response(..)
            | Key::Crl
            | Key::Renewal(_)
            | Key::Load(_),
        ) => Ok(Settled::default()),
    }
}

impl Settled {
    /// Changes alone.
    #[must_use]
    pub const fn changes(changes: Vec<Change>) -> Self {
        Self { changes, effect: None, ends: false, log: None }
    }
}

impl Step {
    /// Nothing but a reply: a read.
    #[must_use]
    pub const fn read(reply: Reply) -> Self {
        Self { changes: Vec::new(), effect: None, reply }
    }
}

impl Reply {
    /// A JSON object.
    ///
    /// # Errors
    /// Never for the views of this crate, whose serialization cannot fail.
    pub fn json(status: u16, view: &impl Serialize) -> Result<Self, Problem> {
        let text = serde_json::to_string(view).map_err(|_| Problem::Internal("a view cannot be serialized"))?;
        Ok(Self::new(status, Body::Json(text)))
    }

    /// Nothing but a status and a body.
    #[must_use]
    pub const fn new(status: u16, body: Body) -> Self {
        Self { status, location: None, up: None, next: None, alternates: Vec::new(), retry_after: None, body }
    }

    /// Nothing but the status.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self::new(status, Body::Empty)
    }

    /// The same with a `Location`.
    #[must_use]
    pub fn at(self, location: String) -> Self {
        Self { location: Some(location), ..self }
    }

    /// The same with a `Retry-After`, if there is one.
    #[must_use]
    pub fn retry_after(self, seconds: Option<u64>) -> Self {
        Self { retry_after: seconds, ..self }
    }
}

/// A payload that must be JSON of this type.
///
/// # Errors
/// A problem that says what is expected.
pub fn payload<T: DeserializeOwned>(request: &Verified, expected: &'static str) -> Result<T, Problem> {
    json::object(request.payload()).map_err(|fault| Problem::Member(expected, fault))
}

/// Refuses everything but a POST-as-GET (RFC 8555 §6.3).
///
/// # Errors
/// When the payload is not empty.
pub fn require_post_as_get(request: &Verified) -> Result<(), Problem> {
    if request.payload().is_empty() {
        Ok(())
    } else {
        Err(Problem::Payload("empty: this resource is only read (POST-as-GET)"))
    }
}
