//! Routes: what a path means, and the URLs that clients are given. Every URL of an account carries the account's id and a
//! MAC, so an id that this deployment did not give is refused before any object is woken.

use std::{fmt, num::NonZeroU16};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use shared::{
    base64url::{self, Base64Url, NotBase64Url},
    jwk::Thumbprint,
    signing::FINALIZE_SUFFIX,
};
use subtle::ConstantTimeEq;

use super::{challenge::ChallengeType, object_id::ObjectId};

/// What a path asks for (RFC 8555 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`: a page for people.
    Page,
    /// `/root.pem`.
    RootPem,
    /// `/root.der`.
    RootDer,
    /// RFC 8555 §7.1.1.
    Directory,
    /// RFC 8555 §7.2.
    NewNonce,
    /// RFC 8555 §7.3.
    NewAccount,
    /// RFC 8555 §7.4. The account is named by the request's `kid`.
    NewOrder,
    /// RFC 8555 §7.4.1. The account is named by the request's `kid`.
    NewAuthorization,
    /// RFC 8555 §7.3.5. The account is named by the request's `kid`.
    KeyChange,
    /// RFC 8555 §7.6. The account is named by the request's `kid`, or there is none.
    RevokeCertificate,
    /// Where a person agrees to changed terms for an account (RFC 8555 §7.3.3); with the tag of the version.
    Agreement(AccountId, [u8; 8]),
    /// A resource of one account.
    Of(AccountId, Resource),
}

/// A resource of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// RFC 8555 §7.1.2.
    Account,
    /// RFC 8555 §7.1.2.1: the account's orders, those made before this one where it is given.
    Orders(Option<ObjectId>),
    /// RFC 8555 §7.1.3.
    Order(ObjectId),
    /// RFC 8555 §7.4.
    Finalize(ObjectId),
    /// RFC 8555 §7.4.2; has the id of its order, and the number of an alternate chain: its place in the configuration, from 1.
    Certificate(ObjectId, Option<NonZeroU16>),
    /// RFC 8555 §7.1.4.
    Authorization(ObjectId),
    /// RFC 8555 §7.1.5: a challenge of this authorization.
    Challenge(ObjectId, ChallengeType),
}

/// What an account is called for ever: the thumbprint of its first key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Base64Url", into = "Base64Url")]
pub struct AccountId(pub Thumbprint);

/// The secret that marks URLs as ours. Must stay the same for the life of a deployment: clients keep their URLs.
#[derive(Clone)]
pub struct UrlSecret(Vec<u8>);

/// Makes and reads the URLs of a deployment.
#[derive(Clone, Debug)]
pub struct Urls {
    base: String,
    secret: UrlSecret,
}

/// The path names nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoute;

impl UrlSecret {
    /// From the text of the secret `URL_SECRET`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Urls {
    /// `base` is the configured base URL, without a trailing slash.
    #[must_use]
    pub const fn new(base: String, secret: UrlSecret) -> Self {
        Self { base, secret }
    }

    /// Reads a path.
    ///
    /// # Errors
    /// When it names nothing here, or an account that this deployment did not name.
    pub fn parse(&self, path: &str) -> Result<Route, NoRoute> {
        let mut segments = path.strip_prefix('/').ok_or(NoRoute)?.split('/');
        let mut next = || segments.next();
        let route = match (next(), next(), next(), next(), next(), next()) {
            (Some(""), None, ..) => Route::Page,
            (Some("root.pem"), None, ..) => Route::RootPem,
            (Some("root.der"), None, ..) => Route::RootDer,
            (Some("directory"), None, ..) => Route::Directory,
            (Some("acme"), Some("new-nonce"), None, ..) => Route::NewNonce,
            (Some("acme"), Some("new-account"), None, ..) => Route::NewAccount,
            (Some("acme"), Some("new-order"), None, ..) => Route::NewOrder,
            (Some("acme"), Some("new-authorization"), None, ..) => Route::NewAuthorization,
            (Some("acme"), Some("key-change"), None, ..) => Route::KeyChange,
            (Some("acme"), Some("revoke-certificate"), None, ..) => Route::RevokeCertificate,
            (Some("acme"), Some("agreement"), Some(account), Some(tag), None, ..) => {
                Route::Agreement(self.account_id(account)?, base64url::decode_array(tag).map_err(|_| NoRoute)?)
            }
            (Some("acme"), Some(noun), Some(account), id, tail, None) => {
                let resource = Resource::parse(noun, id, tail)?;
                Route::Of(self.account_id(account)?, resource)
            }
            _ => return Err(NoRoute),
        };
        Ok(route)
    }

    /// Reads an account's URL, as `kid` carries it.
    ///
    /// # Errors
    /// When it is no account URL of this deployment.
    pub fn parse_kid(&self, kid: &str) -> Result<AccountId, NoRoute> {
        match self.parse(kid.strip_prefix(self.base.as_str()).ok_or(NoRoute)?)? {
            Route::Of(account, Resource::Account) => Ok(account),
            _ => Err(NoRoute),
        }
    }

    /// The full URL of a path of this deployment.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The directory's URL: where every client begins, and the `index` link of every answer (RFC 8555 §7.1).
    #[must_use]
    pub fn directory(&self) -> String {
        self.absolute("/directory")
    }

    /// The URL of a route: what a request to it must have signed (RFC 8555 §6.4).
    #[must_use]
    pub fn of(&self, route: Route) -> String {
        match route {
            Route::Page => self.absolute("/"),
            Route::RootPem => self.absolute("/root.pem"),
            Route::RootDer => self.absolute("/root.der"),
            Route::Directory => self.directory(),
            Route::NewNonce => self.absolute("/acme/new-nonce"),
            Route::NewAccount => self.absolute("/acme/new-account"),
            Route::NewOrder => self.absolute("/acme/new-order"),
            Route::NewAuthorization => self.absolute("/acme/new-authorization"),
            Route::KeyChange => self.absolute("/acme/key-change"),
            Route::RevokeCertificate => self.absolute("/acme/revoke-certificate"),
            Route::Agreement(account, tag) => self.agreement_of(account, tag),
            Route::Of(account, resource) => self.resource(account, resource),
        }
    }

    /// Where a person agrees for this account to this version of the terms: known to whoever was told, and to nobody else.
    #[must_use]
    pub fn agreement(&self, account: AccountId, version: &str) -> String {
        self.agreement_of(account, self.agreement_tag(account, version))
    }

    /// The part of that URL that cannot be guessed.
    #[must_use]
    pub fn agreement_tag(&self, account: AccountId, version: &str) -> [u8; 8] {
        self.mac(&[b"colophon agreement\0", account.0.0.as_slice(), version.as_bytes()])
    }

    fn agreement_of(&self, account: AccountId, tag: [u8; 8]) -> String {
        self.absolute(&format!("/acme/agreement/{}/{}", self.account_segment(account), base64url::encode(&tag)))
    }

    /// The URL of a resource.
    #[must_use]
    pub fn resource(&self, account: AccountId, resource: Resource) -> String {
        let account = self.account_segment(account);
        let path = match resource {
            Resource::Account => format!("/acme/account/{account}"),
            Resource::Orders(None) => format!("/acme/orders/{account}"),
            Resource::Orders(Some(before)) => format!("/acme/orders/{account}/{before}"),
            Resource::Order(id) => format!("/acme/order/{account}/{id}"),
            Resource::Finalize(id) => format!("/acme/order/{account}/{id}{FINALIZE_SUFFIX}"),
            Resource::Certificate(id, None) => format!("/acme/certificate/{account}/{id}"),
            Resource::Certificate(id, Some(alternate)) => format!("/acme/certificate/{account}/{id}/{alternate}"),
            Resource::Authorization(id) => format!("/acme/authorization/{account}/{id}"),
            Resource::Challenge(id, kind) => format!("/acme/challenge/{account}/{id}/{}", kind.name()),
        };
        self.absolute(&path)
    }

    fn account_segment(&self, account: AccountId) -> String {
        base64url::encode(&[account.0.0.as_slice(), &self.tag(account)].concat())
    }

    fn account_id(&self, segment: &str) -> Result<AccountId, NoRoute> {
        let bytes = base64url::decode_array::<40>(segment).map_err(|_| NoRoute)?;
        let (id, tag) = bytes.split_first_chunk::<32>().ok_or(NoRoute)?;
        let account = AccountId(Thumbprint(*id));
        if bool::from(self.tag(account).as_slice().ct_eq(tag)) { Ok(account) } else { Err(NoRoute) }
    }

    fn tag(&self, account: AccountId) -> [u8; 8] {
        self.mac(&[b"colophon account url\0", account.0.0.as_slice()])
    }

    /// The first 64 bits of HMAC-SHA256.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 8] {
        let mut tag = [0; 8];
        // HMAC takes a key of any length; the error cannot occur.
        if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.secret.0) {
            parts.iter().for_each(|part| mac.update(part));
            tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        }
        tag
    }
}

impl Route {
    /// The methods that a resource has, for `Allow`.
    #[must_use]
    pub const fn methods(self) -> &'static str {
        match self {
            Self::Directory | Self::NewNonce | Self::Agreement(..) => "GET, HEAD, POST",
            Self::Page | Self::RootPem | Self::RootDer => "GET, HEAD",
            Self::NewAccount
            | Self::NewOrder
            | Self::NewAuthorization
            | Self::KeyChange
            | Self::RevokeCertificate
            | Self::Of(..) => "POST",
        }
    }

    /// True for what a signed POST may ask for: what is read without an account can be read by POST-as-GET, too
    /// (RFC 8555 §6.3).
    #[must_use]
    pub const fn takes_signed(self) -> bool {
        self.is_signed() || matches!(self, Self::Directory | Self::NewNonce)
    }

    /// True for what is asked for by a signed POST, and by nothing else (RFC 8555 §6.2).
    #[must_use]
    pub const fn is_signed(self) -> bool {
        match self {
            Self::Page | Self::RootPem | Self::RootDer | Self::Directory | Self::NewNonce | Self::Agreement(..) => {
                false
            }
            Self::NewAccount
            | Self::NewOrder
            | Self::NewAuthorization
            | Self::KeyChange
            | Self::RevokeCertificate
            | Self::Of(..) => true,
        }
    }
}

impl Resource {
    fn parse(noun: &str, id: Option<&str>, tail: Option<&str>) -> Result<Self, NoRoute> {
        let object = |id: &str| id.parse::<ObjectId>().map_err(|_| NoRoute);
        Ok(match (noun, id, tail) {
            ("account", None, None) => Self::Account,
            ("orders", None, None) => Self::Orders(None),
            ("orders", Some(before), None) => Self::Orders(Some(object(before)?)),
            ("order", Some(id), None) => Self::Order(object(id)?),
            ("order", Some(id), Some("finalize")) => Self::Finalize(object(id)?),
            ("certificate", Some(id), None) => Self::Certificate(object(id)?, None),
            ("certificate", Some(id), Some(alternate)) => {
                // One number has one spelling.
                let number: u16 = alternate.parse().map_err(|_| NoRoute)?;
                let number = NonZeroU16::new(number).filter(|_| number.to_string() == alternate);
                Self::Certificate(object(id)?, Some(number.ok_or(NoRoute)?))
            }
            ("authorization", Some(id), None) => Self::Authorization(object(id)?),
            ("challenge", Some(id), Some(kind)) => {
                Self::Challenge(object(id)?, ChallengeType::from_name(kind).ok_or(NoRoute)?)
            }
            _ => return Err(NoRoute),
        })
    }
}

impl From<AccountId> for Base64Url {
    fn from(account: AccountId) -> Self {
        Self(account.0.0.to_vec())
    }
}

impl TryFrom<Base64Url> for AccountId {
    type Error = NotBase64Url;

    fn try_from(Base64Url(bytes): Base64Url) -> Result<Self, NotBase64Url> {
        bytes.try_into().map(|bytes| Self(Thumbprint(bytes))).map_err(|_| NotBase64Url)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for UrlSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> Urls {
        Urls::new("https://ca.test".to_owned(), UrlSecret::new("0123456789abcdef0123456789abcdef"))
    }

    const ACCOUNT: AccountId = AccountId(Thumbprint([7; 32]));

    #[test]
    fn every_url_reads_back_as_its_route() {
        let id: ObjectId = "6a000000abababababababab".parse().unwrap();
        let resources = [
            Resource::Account,
            Resource::Orders(None),
            Resource::Orders(Some(id)),
            Resource::Order(id),
            Resource::Finalize(id),
            Resource::Certificate(id, None),
            Resource::Certificate(id, NonZeroU16::new(1)),
            Resource::Certificate(id, NonZeroU16::new(65_535)),
            Resource::Authorization(id),
            Resource::Challenge(id, ChallengeType::Http01),
            Resource::Challenge(id, ChallengeType::Dns01),
        ];
        for resource in resources {
            let url = urls().resource(ACCOUNT, resource);
            let path = url.strip_prefix("https://ca.test").unwrap();
            assert_eq!(urls().parse(path), Ok(Route::Of(ACCOUNT, resource)), "{path}");
        }
    }

    #[test]
    fn an_account_that_was_not_named_here_is_no_route() {
        let other = Urls::new("https://ca.test".to_owned(), UrlSecret::new("another secret of this length...."));
        let url = other.resource(ACCOUNT, Resource::Account);
        assert_eq!(urls().parse(url.strip_prefix("https://ca.test").unwrap()), Err(NoRoute));
        assert_eq!(urls().parse_kid(&url), Err(NoRoute));
    }

    #[test]
    fn only_whole_account_urls_are_kids() {
        let url = urls().resource(ACCOUNT, Resource::Account);
        assert_eq!(urls().parse_kid(&url), Ok(ACCOUNT));
        assert_eq!(urls().parse_kid(url.strip_prefix("https://ca.test").unwrap()), Err(NoRoute));
        assert_eq!(urls().parse_kid(&url.replace("https", "http")), Err(NoRoute));
        assert_eq!(urls().parse_kid(&format!("{url}/")), Err(NoRoute));
    }

    #[test]
    fn other_paths_are_no_routes() {
        for path in
            ["", "x", "//", "/directory/", "/acme", "/acme/", "/acme/order", "/acme/new-nonce/x", "/acme/account/AAAA"]
        {
            assert_eq!(urls().parse(path), Err(NoRoute), "{path}");
        }
    }

    #[test]
    fn the_number_of_an_alternate_has_one_spelling() {
        let id: ObjectId = "6a000000abababababababab".parse().unwrap();
        let url = urls().resource(ACCOUNT, Resource::Certificate(id, None));
        let path = url.strip_prefix("https://ca.test").unwrap();
        assert!(urls().parse(&format!("{path}/1")).is_ok());
        for number in ["", "0", "01", "+1", "-1", "1/", "x", "65536"] {
            assert_eq!(urls().parse(&format!("{path}/{number}")), Err(NoRoute), "{number}");
        }
    }
}
