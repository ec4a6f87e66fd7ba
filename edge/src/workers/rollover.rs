//! Key rollover between two objects (RFC 8555 §7.3.5): what they say to each other, and the parts that each of them runs.
//!
//! **Why a key never has two accounts.** A key's object is the only place where an account of that key can be opened, and it
//! asks before it opens one: as long as it holds a pointer, the account that the pointer names says whether it has the key.
//! That account answers yes from the moment in which it asks for the reservation ([`Incarnation::rolling`]), not only from its
//! commit. If its incarnation ends in between, it never commits, and the pointer means nothing.

use serde::{Deserialize, Serialize};
use shared::serial::SerialNumber;
use worker::{Env, Method, Request, RequestInit, Response, console_error};

use super::{
    account::{self, Incarnation, context},
    environment::{self, Environment},
    external_account,
};
use crate::acme::{
    account as acme_account,
    external_account::HeldGrant,
    kept::{Kept, kept},
    key_change::{self, KeyChange, Reservation},
    object_id::ObjectId,
    problem::Problem,
    record::{AccountRecord, AccountStatus, PointerRecord, Record},
    route::{AccountId, Resource},
    step::{Body, Reply, Step},
    storage::{Key, StorageFault},
    terms,
};

/// The host of URLs by which objects ask each other. The front never forwards one: it asks for paths under another host.
pub(super) const HOST: &str = "https://objects/";

/// What one account's object may ask another. `of` is the object that is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) enum Question {
    /// May this account have your key?
    Reserve {
        /// The object that is asked: the one that the new key names.
        of: AccountId,
        /// The account that wants the key.
        home: AccountId,
    },
    /// A person agrees to the terms of service for your account.
    Agree {
        /// The object that is asked.
        of: AccountId,
    },
    /// Do your orders have these certificates?
    Kept {
        /// The object that is asked.
        of: AccountId,
        /// Orders, each with the serial number of a certificate that was signed for it.
        orders: Vec<(ObjectId, SerialNumber)>,
    },
    /// Is this your account's key, or about to be?
    Find {
        /// The object that is asked: the one that a pointer names.
        of: AccountId,
        /// The key's thumbprint.
        key: AccountId,
    },
}

/// The answer to [`Question::Reserve`].
#[derive(Debug, Serialize, Deserialize)]
enum Reserved {
    /// The pointer is there.
    Yes,
    /// The key is this account's.
    Held(AccountId),
}

/// The answer to [`Question::Find`].
#[derive(Debug, Serialize, Deserialize)]
enum Found {
    /// It is: the account object in JSON.
    Account(String),
    /// It is the key of an account that was deactivated.
    Deactivated,
    /// It may be in a moment: a rollover to it is under way.
    Soon,
    /// It is not.
    No,
}

impl Incarnation {
    /// Runs a rollover whose outer signature is checked and whose nonce is spent: one more hop, to the new key's object.
    ///
    /// # Errors
    /// As [`KeyChange::check`] and [`KeyChange::commit`], and when the other object cannot be asked.
    pub(super) async fn change_key(
        &self,
        change: KeyChange,
        environment: &Environment,
        account: AccountId,
    ) -> Result<Step, Problem> {
        let new_home = change.new_home();
        if new_home != account {
            self.rolling.borrow_mut().insert(new_home);
        }
        let prepared = self.prepare_change(&change, environment, account).await;
        self.rolling.borrow_mut().remove(&new_home);
        let (reservation, grant) = prepared?;
        // From here to the commit no await.
        let entropy = environment::entropy()?;
        change.commit(&self.rows(account)?, reservation, grant, &context(environment, account, &entropy))
    }

    /// The reservation of the new key, then what a signer gives it. A signer is asked last: what it gives the new key, it
    /// takes from the old one.
    async fn prepare_change(
        &self,
        change: &KeyChange,
        environment: &Environment,
        account: AccountId,
    ) -> Result<(Reservation, Option<HeldGrant>), Problem> {
        let new_home = change.new_home();
        let reservation = if new_home == account {
            Reservation::Held(account)
        } else {
            match ask(&self.env, environment, new_home, &Question::Reserve { of: new_home, home: account }).await? {
                Reserved::Yes => Reservation::Reserved,
                Reserved::Held(holder) => Reservation::Held(holder),
            }
        };
        let grant = match reservation {
            Reservation::Held(holder) if holder != account => None,
            _ => match AccountRecord::load(&self.rows(account)?, Key::Account)? {
                Some(record) => external_account::follow(&self.env, environment, &record, change).await?,
                None => None,
            },
        };
        Ok((reservation, grant))
    }

    /// newAccount in the object of a key that an account was rolled over to: that account. Nothing when there is no such
    /// account (any more), so that the key may open one of its own.
    ///
    /// # Errors
    /// `unauthorized` when the account is deactivated; when the other object cannot be asked.
    pub(super) async fn follow_pointer(
        &self,
        environment: &Environment,
        account: AccountId,
    ) -> Result<Option<Reply>, Problem> {
        let rows = self.rows(account)?;
        if AccountRecord::load(&rows, Key::Account)?.is_some() {
            return Ok(None);
        }
        let Some(PointerRecord { home }) = PointerRecord::load(&rows, Key::Pointer)? else { return Ok(None) };
        match ask(&self.env, environment, home, &Question::Find { of: home, key: account }).await? {
            Found::No => Ok(None),
            Found::Soon => Err(Problem::Internal("a rollover to this key is under way")),
            Found::Deactivated => Err(Problem::Deactivated),
            Found::Account(json) => {
                let location = Some(environment.urls.resource(home, Resource::Account));
                let body = Body::Json(json);
                Ok(Some(Reply { location, ..Reply::new(200, body) }))
            }
        }
    }

    /// Answers another object.
    ///
    /// # Errors
    /// When the question is none of ours, or the answer cannot be found out.
    pub(super) async fn answer_object(&self, body: &[u8], environment: &Environment) -> worker::Result<Response> {
        let question = serde_json::from_slice(body)?;
        let answer = match question {
            Question::Reserve { of, home } => {
                self.reserve(of, home, environment).await.map(|answer| Response::from_json(&answer))
            }
            Question::Agree { of } => self.agree(of, environment).map(|()| Response::empty()),
            Question::Kept { of, orders } => {
                self.kept(of, &orders).map(|answer| Response::from_json(&answer)).map_err(Problem::from)
            }
            Question::Find { of, key } => self.find(of, key, environment).map(|answer| Response::from_json(&answer)),
        };
        answer.unwrap_or_else(|problem| {
            console_error!("{problem:?}");
            Response::error("", 500)
        })
    }

    async fn reserve(&self, of: AccountId, home: AccountId, environment: &Environment) -> Result<Reserved, Problem> {
        if let Some(PointerRecord { home: other }) = PointerRecord::load(&self.rows(of)?, Key::Pointer)?
            && other != home
            && let Found::No = ask(&self.env, environment, other, &Question::Find { of: other, key: of }).await?
        {
            let rows = self.rows(of)?;
            // Whoever reserved meanwhile was asked about by nobody yet.
            if PointerRecord::load(&rows, Key::Pointer)?.is_some_and(|pointer| pointer.home == other) {
                self.commit(rows, &[key_change::take_over(home)?])?;
            }
        }
        let rows = self.rows(of)?;
        let entropy = environment::entropy()?;
        let (reservation, changes) = key_change::reserve(&rows, home, &context(environment, of, &entropy))?;
        self.commit(rows, &changes)?;
        Ok(match reservation {
            Reservation::Reserved => Reserved::Yes,
            Reservation::Held(holder) => Reserved::Held(holder),
        })
    }

    fn agree(&self, of: AccountId, environment: &Environment) -> Result<(), Problem> {
        let entropy = environment::entropy()?;
        let rows = self.rows(of)?;
        let changes = terms::agree(&rows, &context(environment, of, &entropy))?;
        Ok(self.commit(rows, &changes)?)
    }

    fn kept(&self, of: AccountId, orders: &[(ObjectId, SerialNumber)]) -> Result<Vec<Kept>, StorageFault> {
        let (rows, now) = (self.rows(of)?, environment::now());
        orders.iter().map(|(order, serial)| kept(&rows, *order, *serial, now)).collect()
    }

    fn find(&self, of: AccountId, key: AccountId, environment: &Environment) -> Result<Found, Problem> {
        let record = AccountRecord::load(&self.rows(of)?, Key::Account)?;
        let entropy = environment::entropy()?;
        Ok(match record {
            Some(record) if record.key.thumbprint() == key.0 => {
                if record.status == AccountStatus::Deactivated {
                    return Ok(Found::Deactivated);
                }
                match acme_account::reply(200, &record, &context(environment, of, &entropy))?.body {
                    Body::Json(json) => Found::Account(json),
                    Body::PemChain(_) | Body::Empty => Found::No,
                }
            }
            _ if self.rolling.borrow().contains(&key) => Found::Soon,
            _ => Found::No,
        })
    }
}

/// Tells an account's object that a person agrees to the terms of service for it.
///
/// # Errors
/// When the object cannot be asked.
pub(super) async fn agree(env: &Env, environment: &Environment, account: AccountId) -> Result<(), Problem> {
    put(env, environment, account, &Question::Agree { of: account }).await.map(drop)
}

/// Asks an account's object about certificates of its orders, in one hop; the answers come in the same order.
///
/// # Errors
/// When the object cannot be asked.
pub(super) async fn ask_kept(
    env: &Env,
    environment: &Environment,
    of: AccountId,
    orders: Vec<(ObjectId, SerialNumber)>,
) -> Result<Vec<Kept>, Problem> {
    ask(env, environment, of, &Question::Kept { of, orders }).await
}

/// Asks another account's object: one hop.
async fn ask<T: for<'de> Deserialize<'de>>(
    env: &Env,
    environment: &Environment,
    of: AccountId,
    question: &Question,
) -> Result<T, Problem> {
    let failed = |error: worker::Error| {
        console_error!("account {of}: {error}");
        Problem::Internal("another account's object gives no answer")
    };
    let bytes = put(env, environment, of, question).await?.bytes().await.map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}

async fn put(env: &Env, environment: &Environment, of: AccountId, question: &Question) -> Result<Response, Problem> {
    let failed = |error: worker::Error| {
        console_error!("account {of}: {error}");
        Problem::Internal("another account's object cannot be asked")
    };
    let body = serde_json::to_string(question).map_err(|error| failed(error.into()))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let request = Request::new_with_init(HOST, &init).map_err(failed)?;
    let stub = account::stub(env, environment, of).map_err(failed)?;
    let response = stub.fetch_with_request(request).await.map_err(failed)?;
    if response.status_code() == 200 { Ok(response) } else { Err(Problem::Internal("another account's object failed")) }
}
