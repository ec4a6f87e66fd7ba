//! Problem documents: presentation only, made here and nowhere else (RFC 8555 §6.7, RFC 7807). The core returns a
//! [`Problem`], a closed set of reasons; this file says what type, status and words a client sees for each.

use std::{collections::BTreeSet, fmt::Display};

use shared::{
    csr::BadCsr,
    identifier::{Identifier, IdentifierObject},
    json::NotTheObject,
    jwk::Algorithm,
    jws::BadJws,
    revocation::BadRevocation,
    timestamp::Timestamp,
};

pub use super::problem_document::ProblemDocument;
use super::{
    external_account::{BadBinding, MacAlgorithm},
    identifier_refusal::IdentifierRefusal,
    order_times::BadTimes,
    storage::StorageFault,
    view::OrderStatus,
};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The path names nothing.
    NotFound,
    /// The resource has other methods; their list is for `Allow`.
    MethodNotAllowed(&'static str),
    /// ACME over plain HTTP.
    PlainHttp,
    /// Not `application/jose+json` (RFC 8555 §6.2); what it is instead is given.
    MediaType(String),
    /// More bytes than the limit, which is given.
    TooLarge(usize),
    /// The JWS or its key.
    Jws(BadJws),
    /// `kid` where `jwk` belongs or the reverse; the member that belongs there is given.
    WrongKeyMember(&'static str),
    /// `kid` names no account of this deployment; it is given.
    UnknownKid(String),
    /// The nonce is not ours, expired or used.
    BadNonce,
    /// The protected header has no nonce.
    MissingNonce,
    /// The header's `url` is not the request's (RFC 8555 §6.4).
    UrlMismatch(Box<UrlMismatch>),
    /// The payload is not what this resource takes; what it takes is given.
    Payload(&'static str),
    /// The payload is not the object that this resource takes, and which of its members is not.
    Member(&'static str, NotTheObject),
    /// newAccount with onlyReturnExisting, or a request of an account that is not there.
    AccountDoesNotExist,
    /// The account is deactivated (RFC 8555 §7.3.6).
    Deactivated,
    /// The resource is another account's, or the key is not the right one; which is given.
    Unauthorized(&'static str),
    /// A contact that is not a mailto URL of one address.
    InvalidContact(String),
    /// A contact of a scheme that is not supported.
    UnsupportedContact(String),
    /// The terms of service were not agreed to.
    TermsNotAgreed(String),
    /// The terms have changed since the account agreed to them.
    TermsChanged {
        /// Their URL.
        terms: String,
        /// Where a person agrees to them.
        instance: String,
    },
    /// What an order says that it replaces is nothing that it can; why is given.
    Replaces(&'static str),
    /// A path that should have the identifier of a certificate (RFC 9773 §4.1).
    CertificateId,
    /// Another order has replaced the certificate, or is about to (RFC 9773 §5).
    AlreadyReplaced,
    /// No external account binding where one is required.
    BindingRequired,
    /// The external account binding.
    Binding(BadBinding),
    /// No identifiers, or more than the limit, which is given.
    IdentifierCount(usize),
    /// Identifiers that are refused, with why.
    Identifiers(Vec<(IdentifierObject, IdentifierRefusal)>),
    /// A profile that the directory does not list.
    UnknownProfile(String),
    /// notBefore and notAfter are no times, or outside of what the profile gives.
    OrderTimes(Box<BadTimes>),
    /// The order is in another state than `ready`.
    OrderNotReady(OrderStatus),
    /// The CSR itself.
    Csr(BadCsr),
    /// PEM in base64url in place of the DER that it holds.
    CsrPem,
    /// The CSR's names are not the order's.
    CsrNames(Box<NamesDiffer>),
    /// The CSR's extended key usages, which are given, are those of no profile.
    CsrUsage(String),
    /// The CSR's key is the account's.
    CsrAccountKey,
    /// The key that an account is to be rolled over to is another account's, whose URL is given (RFC 8555 §7.3.5).
    KeyInUse(String),
    /// The order has no certificate yet.
    NoCertificate,
    /// The payload of a revocation.
    Revocation(BadRevocation),
    /// A revocation by an account that the certificate was not issued to, and that has no valid authorization of this
    /// name of it.
    NotHeld(Identifier),
    /// The certificate is not one that this CA issued.
    NotOurCertificate,
    /// The certificate has expired, at the given time.
    CertificateExpired(Timestamp),
    /// The certificate is revoked already, since the given time.
    AlreadyRevoked(Timestamp),
    /// A revocation that is written down, and that no signer has confirmed yet; ask again after so many seconds.
    RevocationPending(u64),
    /// A signer that must be asked cannot be; try again after so many seconds.
    SignerUnreachable(u64),
    /// Too many, of what is given; the next attempt can succeed after so many seconds (RFC 8555 §6.6).
    RateLimited(&'static str, u64),
    /// The client's address is unknown, and new accounts are counted by it: the header that should have it is given.
    ClientAddress(String),
    /// The object's storage failed; nothing was changed.
    Storage(StorageFault),
    /// A fault of ours; the words are for the log.
    Internal(&'static str),
}

/// The URL of a request, and another one that its protected header names (RFC 8555 §6.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlMismatch {
    /// The request's URL.
    pub expected: String,
    /// The `url` of the header.
    pub seen: String,
}

/// How the names of a CSR differ from the identifiers of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesDiffer {
    /// Identifiers of the order that the CSR lacks.
    pub missing: Vec<Identifier>,
    /// Names of the CSR that the order lacks.
    pub extra: Vec<Identifier>,
}

impl NamesDiffer {
    /// Compares; nothing when they are the same.
    #[must_use]
    pub fn between(order: &BTreeSet<Identifier>, csr: &BTreeSet<Identifier>) -> Option<Self> {
        let without = |one: &BTreeSet<Identifier>, other| one.difference(other).cloned().collect();
        (order != csr).then(|| Self { missing: without(order, csr), extra: without(csr, order) })
    }
}

impl Problem {
    /// The header's `url` is not the request's.
    #[must_use]
    pub fn url_mismatch(expected: String, seen: &str) -> Self {
        Self::UrlMismatch(Box::new(UrlMismatch { expected, seen: seen.to_owned() }))
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.parts().1
    }

    /// URL for `Location`, where a problem has one.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        match self {
            Self::KeyInUse(account) => Some(account),
            _ => None,
        }
    }

    /// URL for `Link: …;rel="terms-of-service"` (RFC 8555 §7.3.3).
    #[must_use]
    pub fn terms(&self) -> Option<&str> {
        match self {
            Self::TermsNotAgreed(terms) | Self::TermsChanged { terms, .. } => Some(terms),
            _ => None,
        }
    }

    /// Whole seconds for `Retry-After`, where a problem goes away by itself.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RevocationPending(seconds) | Self::SignerUnreachable(seconds) | Self::RateLimited(_, seconds) => {
                Some(*seconds)
            }
            _ => None,
        }
    }

    /// What the operator's log gets, of a problem that is not the client's.
    #[must_use]
    pub fn log(&self) -> Option<String> {
        match self {
            Self::ClientAddress(header) => Some(format!(
                "A new account is refused: its request does not have exactly one address in the header {header}, which \
                 rate_limits.accounts_per_address needs. Does every request pass the proxy that sets it?"
            )),
            Self::Storage(_) | Self::Internal(_) => Some(format!("{self:?}")),
            _ => None,
        }
    }

    /// What the client sees.
    #[must_use]
    pub fn document(&self) -> ProblemDocument {
        let (kind, status, detail) = self.parts();
        let mut document = ProblemDocument::new(kind, Some(status), detail);
        match self {
            Self::Jws(BadJws::Algorithm) => {
                document.algorithms = Algorithm::ALL.iter().map(|algorithm| algorithm.name().to_owned()).collect();
            }
            Self::Binding(BadBinding::Algorithm) => {
                document.algorithms = MacAlgorithm::ALL.iter().map(|algorithm| algorithm.name().to_owned()).collect();
            }
            Self::TermsNotAgreed(instance) | Self::TermsChanged { instance, .. } => {
                document.instance = Some(instance.clone());
            }
            Self::Identifiers(refused) => {
                document.subproblems = refused.iter().map(|(identifier, why)| why.document(identifier)).collect();
            }
            _ => {}
        }
        document
    }

    /// ACME error type, HTTP status, and the words for the client (RFC 8555 §6.7).
    fn parts(&self) -> (&'static str, u16, String) {
        let say = |kind, status, detail: &str| (kind, status, detail.to_owned());
        match self {
            Self::NotFound => say("malformed", 404, "There is nothing at this URL. Start from the directory."),
            Self::MethodNotAllowed(allow) => ("malformed", 405, format!("This resource has the methods {allow} only.")),
            Self::PlainHttp => say("malformed", 403, "ACME is served over HTTPS only; use the directory's https URL."),
            Self::MediaType(seen) => {
                let seen = cut(seen);
                ("malformed", 415, format!("Send requests with Content-Type: application/jose+json, not {seen:?}."))
            }
            Self::TooLarge(limit) => ("malformed", 413, format!("A request has at most {limit} bytes.")),
            Self::Jws(error) => (jws_kind(error), 400, sentence(error)),
            Self::WrongKeyMember(member) => {
                let other = if *member == "jwk" { "kid" } else { "jwk" };
                let detail = format!("The protected header must have \"{member}\" for this resource, not \"{other}\".");
                ("malformed", 400, detail)
            }
            Self::UnknownKid(kid) => {
                let kid = cut(kid);
                let detail =
                    format!("\"kid\" is {kid:?}, which is not the URL of an account here: see Location of newAccount.");
                ("accountDoesNotExist", 400, detail)
            }
            Self::AccountDoesNotExist => say(
                "accountDoesNotExist",
                400,
                "There is no account of this key or URL here. Create one with newAccount.",
            ),
            Self::BadNonce => say(
                "badNonce",
                400,
                "The nonce is missing, expired, of another account, or was used before. Try again with the one in Replay-Nonce.",
            ),
            Self::MissingNonce => {
                say("badNonce", 400, "The protected header has no \"nonce\". Try again with the one in Replay-Nonce.")
            }
            Self::UrlMismatch(urls) => {
                let (expected, seen) = (cut(&urls.expected), cut(&urls.seen));
                let detail = format!(
                    "\"url\" of the protected header is {seen:?}, and must be the request's URL: {expected:?}."
                );
                ("unauthorized", 403, detail)
            }
            Self::Member(expected, fault) => ("malformed", 400, format!("The payload must be {expected}: {fault}.")),
            Self::Payload(expected) => ("malformed", 400, format!("The payload must be {expected}.")),
            Self::Deactivated => say("unauthorized", 401, "The account is deactivated, for ever. Use another key."),
            Self::Unauthorized(why) => say("unauthorized", 403, why),
            Self::InvalidContact(contact) => {
                ("invalidContact", 400, format!("{contact:?} is not a mailto URL of one address without parameters."))
            }
            Self::UnsupportedContact(contact) => {
                ("unsupportedContact", 400, format!("{contact:?}: only mailto contacts are supported."))
            }
            Self::TermsChanged { .. } => say(
                "userActionRequired",
                403,
                "The terms of service have changed. Have a person agree to them at the URL in \"instance\".",
            ),
            Self::Replaces(why) => {
                ("malformed", 400, format!("\"replaces\": {why}. Leave it out to make a new order."))
            }
            Self::CertificateId => say(
                "malformed",
                400,
                "This is not the identifier of a certificate: base64url of its authority key identifier, a dot, base64url of its serial number.",
            ),
            Self::AlreadyReplaced => say(
                "alreadyReplaced",
                409,
                "Another order replaces this certificate. Leave \"replaces\" out to make a new order.",
            ),
            Self::TermsNotAgreed(terms) => {
                let detail = format!("Agree to the terms of service at {terms} first: \"termsOfServiceAgreed\": true.");
                ("userActionRequired", 403, detail)
            }
            Self::BindingRequired => say(
                "externalAccountRequired",
                403,
                "Accounts need \"externalAccountBinding\" here. Get a key id and a MAC key for it from the operator.",
            ),
            Self::Binding(error) => {
                let (kind, status) = binding_kind(error);
                (kind, status, sentence(error))
            }
            Self::IdentifierCount(limit) => {
                ("malformed", 400, format!("An order has at least one and at most {limit} identifiers."))
            }
            Self::Identifiers(refused) => {
                // RFC 8555 §7.4.1 says 403 for what policy does not permit.
                let kind = identifiers_kind(refused);
                let status = if kind == "malformed" { 400 } else { 403 };
                (kind, status, refused_identifiers(refused))
            }
            Self::UnknownProfile(name) => {
                ("invalidProfile", 400, format!("There is no profile {name:?}; the directory lists them."))
            }
            Self::OrderTimes(why) => ("malformed", 400, sentence(why)),
            Self::OrderNotReady(status) => {
                let next = match status {
                    OrderStatus::Pending | OrderStatus::Ready => "Complete its authorizations first",
                    OrderStatus::Processing | OrderStatus::Valid => "It has been finalized already: read it",
                    OrderStatus::Invalid => "Its \"error\" says why: make a new order",
                };
                ("orderNotReady", 403, format!("The order is {}, not ready. {next}.", status.name()))
            }
            Self::CsrPem => say(
                "badCSR",
                400,
                "\"csr\" is PEM in base64url. Send base64url of the DER that the PEM holds, without padding.",
            ),
            Self::Csr(error) => ("badCSR", 400, sentence(error)),
            Self::CsrNames(differ) => {
                let lacks = format!("it lacks {}", listed(&differ.missing));
                let has = format!("it has {}, which the order does not name", listed(&differ.extra));
                let how = match (differ.missing.is_empty(), differ.extra.is_empty()) {
                    (false, true) => lacks,
                    (true, _) => has,
                    (false, false) => format!("{lacks}, and {has}"),
                };
                ("badCSR", 400, format!("The names in the CSR must be exactly the order's identifiers: {how}."))
            }
            Self::CsrUsage(usages) => (
                "badCSR",
                400,
                format!(
                    "No profile has exactly the extended key usages of the CSR, {usages}. Leave them out, or name a \
                     profile in the order."
                ),
            ),
            Self::CsrAccountKey => {
                say("badCSR", 400, "The CSR has the account's key. Use a key of its own for the certificate.")
            }
            Self::KeyInUse(account) => {
                ("malformed", 409, format!("The new key is already that of the account {account}."))
            }
            Self::NoCertificate => {
                say("orderNotReady", 403, "The order has no certificate yet. Read the order until it is valid.")
            }
            Self::Revocation(error) => {
                let kind = if *error == BadRevocation::Reason { "badRevocationReason" } else { "malformed" };
                (kind, 400, format!("Revocation: {error}."))
            }
            Self::NotHeld(name) => (
                "unauthorized",
                403,
                format!(
                    "The certificate was not issued to this account, which has no valid authorization of {name} either."
                ),
            ),
            Self::NotOurCertificate => say("malformed", 404, "This CA did not issue this certificate."),
            Self::CertificateExpired(at) => {
                ("malformed", 400, format!("The certificate has expired at {at}: there is nothing to revoke."))
            }
            Self::AlreadyRevoked(at) => ("alreadyRevoked", 400, format!("The certificate was revoked at {at}.")),
            Self::RevocationPending(_) => say(
                "serverInternal",
                503,
                "The revocation is stored and will be carried out; no signer has confirmed it yet. Ask again to see it done.",
            ),
            Self::RateLimited(what, seconds) => {
                ("rateLimited", 429, format!("Too many {what}. Try again in {seconds} seconds."))
            }
            Self::SignerUnreachable(_) => {
                say("serverInternal", 503, "No signer can be asked at the moment; nothing was changed. Try again.")
            }
            Self::ClientAddress(_) => say(
                "serverInternal",
                500,
                "New accounts are limited by the client's address here, and the server was not given yours. Tell the \
                 operator.",
            ),
            Self::Storage(_) | Self::Internal(_) => {
                say("serverInternal", 500, "Something failed on our side; nothing was changed. Try again later.")
            }
        }
    }
}

impl From<BadJws> for Problem {
    fn from(error: BadJws) -> Self {
        Self::Jws(error)
    }
}

impl From<BadCsr> for Problem {
    fn from(error: BadCsr) -> Self {
        Self::Csr(error)
    }
}

impl From<BadRevocation> for Problem {
    fn from(error: BadRevocation) -> Self {
        Self::Revocation(error)
    }
}

impl From<BadBinding> for Problem {
    fn from(error: BadBinding) -> Self {
        Self::Binding(error)
    }
}

impl From<StorageFault> for Problem {
    fn from(fault: StorageFault) -> Self {
        Self::Storage(fault)
    }
}

const fn jws_kind(error: &BadJws) -> &'static str {
    match error {
        BadJws::Algorithm => "badSignatureAlgorithm",
        BadJws::Key(_) => "badPublicKey",
        _ => "malformed",
    }
}

const fn binding_kind(error: &BadBinding) -> (&'static str, u16) {
    match error {
        BadBinding::Algorithm => ("badSignatureAlgorithm", 400),
        BadBinding::Mac => ("unauthorized", 403),
        _ => ("malformed", 400),
    }
}

/// The common kind of all refusals, or `rejectedIdentifier` when they differ (RFC 8555 §6.7.1).
fn identifiers_kind(refused: &[(IdentifierObject, IdentifierRefusal)]) -> &'static str {
    let mut kinds = refused.iter().map(|(_, why)| why.kind());
    match kinds.next() {
        Some(first) if kinds.all(|kind| kind == first) => first,
        _ => "rejectedIdentifier",
    }
}

/// The most identifiers that one text lists.
const LISTED: usize = 10;

/// The most characters of a client's text that a problem repeats.
const SHOWN: usize = 300;

/// What is repeated of a client's text.
fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Lists identifiers; of many the first, and how many there are besides.
fn listed<T: Display>(items: &[T]) -> String {
    let first: Vec<_> = items.iter().take(LISTED).map(ToString::to_string).collect();
    let more = items.len().saturating_sub(LISTED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", first.join(", "))
}

/// Of the refused identifiers each with its reason: many clients show the words at the top of a problem and no
/// subproblems.
fn refused_identifiers(refused: &[(IdentifierObject, IdentifierRefusal)]) -> String {
    let first = refused.iter().take(LISTED).map(|(identifier, why)| why.words(identifier));
    let more = refused.len().saturating_sub(LISTED);
    let more = (more > 0).then(|| format!("{more} more identifiers are refused; see the subproblems."));
    first.chain(more).collect::<Vec<_>>().join(" ")
}

/// An error's words as a sentence.
pub(super) fn sentence(error: &impl Display) -> String {
    let text = error.to_string();
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).chain(std::iter::once('.')).collect())
}
