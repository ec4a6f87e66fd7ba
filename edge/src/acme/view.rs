//! What clients see of records: the ACME objects as JSON (RFC 8555 §7.1).

use serde::Serialize;
use shared::{identifier::IdentifierObject, jws::Flattened, profile::ProfileName, timestamp::Timestamp};

use super::problem::ProblemDocument;

/// An account object (RFC 8555 §7.1.2).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// `valid` or `deactivated`.
    pub status: super::record::AccountStatus,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// Whether the terms were agreed to; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms_of_service_agreed: Option<bool>,
    /// The binding that it was made with, once that was verified (RFC 8555 §7.3.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<Flattened>,
    /// Where its orders are listed.
    pub orders: String,
}

/// A list of orders (RFC 8555 §7.1.2.1).
#[derive(Debug, Serialize)]
pub struct OrdersView {
    /// URLs, the newest first.
    pub orders: Vec<String>,
}

/// An order object (RFC 8555 §7.1.3).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// See [`OrderStatus`].
    pub status: OrderStatus,
    /// When an order that is not finalized becomes invalid.
    pub expires: Timestamp,
    /// The identifiers.
    pub identifiers: Vec<IdentifierObject>,
    /// The profile: the one that the client named, or the default until finalize has chosen by the CSR.
    pub profile: ProfileName,
    /// The notBefore that it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The notAfter that it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The certificate that it replaces (RFC 9773 §5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// URLs, one for each identifier.
    pub authorizations: Vec<String>,
    /// Where to send the CSR.
    pub finalize: String,
    /// Where the certificate is, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Why it is invalid, when it is and there is a reason to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDocument>,
}

/// The states of an order as clients see them (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Authorizations are missing.
    Pending,
    /// It can be finalized.
    Ready,
    /// A certificate is being made.
    Processing,
    /// It has a certificate.
    Valid,
    /// It expired, an authorization failed, or issuance was refused.
    Invalid,
}

/// An authorization object (RFC 8555 §7.1.4).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationView {
    /// Without a wildcard.
    pub identifier: IdentifierObject,
    /// See [`AuthorizationStatus`].
    pub status: AuthorizationStatus,
    /// When it is worth nothing any more.
    pub expires: Timestamp,
    /// Present and true for a wildcard.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wildcard: bool,
    /// What the client can do, or what was done.
    pub challenges: Vec<ChallengeView>,
}

/// The states of an authorization as clients see them (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationStatus {
    /// No challenge has succeeded yet.
    Pending,
    /// One has.
    Valid,
    /// One has failed.
    Invalid,
    /// Its holder gave it up.
    Deactivated,
    /// It was not used in time.
    Expired,
}

/// A challenge object (RFC 8555 §7.1.5).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeView {
    /// The challenge type's name.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where to say that it is ready.
    pub url: String,
    /// See [`ChallengeStatus`].
    pub status: ChallengeStatus,
    /// The token, where the challenge has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Whom a persistent record may name (draft-ietf-acme-dns-persist-02 §3.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuer_domain_names: Vec<String>,
    /// The same as the drafts before called it: clients of both are about.
    #[serde(rename = "issuer-domain-names", skip_serializing_if = "Vec::is_empty")]
    pub issuer_domain_names_before: Vec<String>,
    /// When it was proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validated: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemDocument>,
}

/// The states of a challenge (RFC 8555 §7.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChallengeStatus {
    /// The client has not answered it.
    Pending,
    /// It is being looked at.
    Processing,
    /// It proved the identifier.
    Valid,
    /// It failed.
    Invalid,
}

impl OrderStatus {
    /// The state's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Processing => "processing",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
        }
    }
}
