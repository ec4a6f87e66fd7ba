//! Key rollover (RFC 8555 §7.3.5): an account gets another key, by a request that both keys have signed.
//!
//! Two objects take part. The account stays where it is: in the object that its first key names. The object that the new key
//! names is given a pointer to it, so that newAccount with the new key finds the account, and no second account can be opened
//! with that key. The pointer is reserved first and means nothing until the account has the key: a reservation that was left
//! behind by a crash is seen through, and can be taken by whoever asks next.

use serde::Deserialize;
use shared::{
    json,
    jwk::Jwk,
    jws::{Flattened, KeyReference, Unverified, Verified},
};

use super::{
    account,
    external_account::HeldGrant,
    nonce::Redeemed,
    problem::Problem,
    record::{AccountRecord, PointerRecord, Record, RetiredRecord},
    route::{AccountId, Resource, Route},
    step::{Context, Step, acting_account},
    storage::{Change, Key, Rows},
};

/// A rollover that both keys have signed, checked against the account as it was.
#[derive(Debug)]
pub struct KeyChange {
    request: Verified,
    new_key: Jwk,
}

/// What the object of a new key answers to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The pointer is written, or was there before.
    Reserved,
    /// The key is this account's, or may be: ask it.
    Held(AccountId),
}

impl KeyChange {
    /// Checks the outer and the inner JWS of RFC 8555 §7.3.5, all of its MUSTs but that the new key is unknown.
    ///
    /// # Errors
    /// `malformed`, `unauthorized`, `badPublicKey`, `badSignatureAlgorithm`.
    pub fn check(rows: &dyn Rows, request: Verified, _nonce: Redeemed, context: &Context<'_>) -> Result<Self, Problem> {
        if request.header().url != context.urls.of(Route::KeyChange) {
            return Err(Problem::url_mismatch(context.urls.of(Route::KeyChange), &request.header().url));
        }
        let account = acting_account(rows, &request)?;
        let inner = Unverified::parse(request.payload())?;
        let KeyReference::Jwk(new_key) = &inner.header().key else { return Err(Problem::WrongKeyMember("jwk")) };
        let new_key = Jwk::clone(new_key);
        if inner.header().url != request.header().url {
            return Err(Problem::url_mismatch(request.header().url.clone(), &inner.header().url));
        }
        if inner.header().nonce.is_some() {
            return Err(Problem::Payload("an inner JWS without a nonce"));
        }
        let inner = inner.verify(&new_key)?;
        const EXPECTED: &str = "an inner JWS over a keyChange object with \"account\" and \"oldKey\"";
        let asked: KeyChangeObject = json::object(inner.payload()).map_err(|fault| Problem::Member(EXPECTED, fault))?;
        if asked.account != context.urls.resource(context.account, Resource::Account) {
            return Err(Problem::Unauthorized("The inner \"account\" is not the account of the outer \"kid\"."));
        }
        if asked.old_key != account.key {
            return Err(Problem::Unauthorized("\"oldKey\" is not the account's key."));
        }
        if new_key == account.key {
            return Err(Problem::Payload("an inner JWS by a key that is not the account's already"));
        }
        Ok(Self { request, new_key })
    }

    /// The object that the new key names: where the reservation goes.
    #[must_use]
    pub fn new_home(&self) -> AccountId {
        AccountId(self.new_key.thumbprint())
    }

    /// What the client sent: the evidence of both keys.
    #[must_use]
    pub const fn request(&self) -> &Flattened {
        self.request.flattened()
    }

    /// Gives the account its new key, once the reservation is there, and the signer's grant for it, where it is bound. The account is read again: it may have changed while the
    /// other object was asked.
    ///
    /// # Errors
    /// `unauthorized`; 409 with `Location` when the key is another account's.
    pub fn commit(
        self,
        rows: &dyn Rows,
        reservation: Reservation,
        grant: Option<HeldGrant>,
        context: &Context<'_>,
    ) -> Result<Step, Problem> {
        let account = acting_account(rows, &self.request)?;
        match reservation {
            // An account may go back to its first key, whose object is its own home.
            Reservation::Reserved => {}
            Reservation::Held(holder) if holder == context.account => {}
            Reservation::Held(holder) => {
                return Err(Problem::KeyInUse(context.urls.resource(holder, Resource::Account)));
            }
        }
        let account = AccountRecord { key: self.new_key, ..account }.with_grant(grant);
        let reply = account::reply(200, &account, context)?;
        Ok(Step { changes: vec![account::put(&account, context)?], effect: None, reply })
    }
}

/// In the object of a new key: may `home` have this key? Writes the pointer where nothing speaks against it.
///
/// # Errors
/// When rows cannot be read.
pub fn reserve(rows: &dyn Rows, home: AccountId, context: &Context<'_>) -> Result<(Reservation, Vec<Change>), Problem> {
    if AccountRecord::load(rows, Key::Account)?.is_some() || RetiredRecord::load(rows, Key::Retired)?.is_some() {
        return Ok((Reservation::Held(context.account), Vec::new()));
    }
    match PointerRecord::load(rows, Key::Pointer)? {
        Some(pointer) if pointer.home == home => Ok((Reservation::Reserved, Vec::new())),
        Some(pointer) => Ok((Reservation::Held(pointer.home), Vec::new())),
        None => {
            let pointer = PointerRecord { home };
            Ok((Reservation::Reserved, vec![pointer.put(Key::Pointer, None)?]))
        }
    }
}

/// The pointer to `home` in place of one whose account says that it has not the key.
///
/// # Errors
/// Never: a pointer can be serialized.
pub fn take_over(home: AccountId) -> Result<Change, Problem> {
    Ok(PointerRecord { home }.put(Key::Pointer, None)?)
}

/// RFC 8555 §7.3.5.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChangeObject {
    account: String,
    old_key: Jwk,
}
