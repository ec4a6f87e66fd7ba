//! Whose request is it: which account a JWS speaks for, and the key it must verify under (RFC 8555 §6.2).

use shared::{
    jwk::Jwk,
    jws::{KeyReference, ProtectedHeader, Unverified},
    revocation::Revocation,
    serial::SerialNumber,
};

use super::{
    problem::Problem,
    record::{AccountRecord, Record},
    route::{AccountId, Route, Urls},
    storage::{Key, Rows},
};

/// Whose object answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// This account's.
    Account(AccountId),
    /// The one that knows the status of the certificate with this number: a revocation without an account.
    Status(SerialNumber),
}

impl Home {
    /// The account, if it is one.
    #[must_use]
    pub const fn account(self) -> Option<AccountId> {
        match self {
            Self::Account(account) => Some(account),
            Self::Status(_) => None,
        }
    }
}

/// Where a request must be answered; found without any look-up, so that the edge can go there in one hop.
///
/// # Errors
/// As [`account_of`]; when a revocation without an account carries no certificate.
pub fn home_of(route: Route, request: &Unverified, urls: &Urls) -> Result<Home, Problem> {
    match (route, &request.header().key) {
        (Route::RevokeCertificate, KeyReference::Jwk(_)) => {
            Ok(Home::Status(Revocation::parse(request.payload())?.leaf.serial))
        }
        _ => account_of(route, request.header(), urls).map(Home::Account),
    }
}

/// The account that must answer this request.
///
/// # Errors
/// When the header has the wrong one of `jwk` and `kid` for this resource, or a `kid` that is no account here or not the
/// owner of the resource.
pub fn account_of(route: Route, header: &ProtectedHeader, urls: &Urls) -> Result<AccountId, Problem> {
    match (route, &header.key) {
        (Route::NewAccount, KeyReference::Jwk(jwk)) => Ok(AccountId(jwk.thumbprint())),
        (Route::NewAccount, KeyReference::Kid(_)) => Err(Problem::WrongKeyMember("jwk")),
        (_, KeyReference::Jwk(_)) => Err(Problem::WrongKeyMember("kid")),
        (route, KeyReference::Kid(kid)) => {
            let account = urls.parse_kid(kid).map_err(|_| Problem::UnknownKid(kid.clone()))?;
            match route {
                Route::Of(owner, _) if owner != account => Err(Problem::Unauthorized(
                    "The resource of this URL belongs to another account than \"kid\" names.",
                )),
                _ => Ok(account),
            }
        }
    }
}

/// Checks the query of the request's URL, which is a part of the URL that must be signed (RFC 8555 §6.4). A signed URL
/// with a query is compared with its route's, which has none, after the signature.
///
/// # Errors
/// When the request's URL has a query that the header's `url` does not have.
pub fn check_query(route: Route, header: &ProtectedHeader, query: Option<&str>, urls: &Urls) -> Result<(), Problem> {
    let Some(query) = query else { return Ok(()) };
    let expected = format!("{}?{query}", urls.of(route));
    if header.url == expected { Ok(()) } else { Err(Problem::url_mismatch(expected, &header.url)) }
}

/// The key that the request must verify under: the one that it carries for newAccount, the stored one for everything else.
///
/// # Errors
/// As [`account_of`], and when there is no such account.
pub fn key_of(
    route: Route,
    request: &Unverified,
    account: AccountId,
    urls: &Urls,
    rows: &dyn Rows,
) -> Result<Jwk, Problem> {
    if account_of(route, request.header(), urls)? != account {
        return Err(Problem::Unauthorized("This resource belongs to another account."));
    }
    Ok(match &request.header().key {
        KeyReference::Jwk(jwk) => Jwk::clone(jwk),
        KeyReference::Kid(_) => AccountRecord::load(rows, Key::Account)?.ok_or(Problem::AccountDoesNotExist)?.key,
    })
}
