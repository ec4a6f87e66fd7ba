//! The signing protocol: what the edge may ask of a signer, and every answer it can get. HTTPS with both sides
//! authenticated, strict JSON (unknown members are errors), defined here and in [`crate::grant`], and nowhere else.
//!
//! There is no verb that takes a TBSCertificate or a digest, and none may ever be added: the signer builds what it signs.
//!
//! | verb | request | answer |
//! |---|---|---|
//! | `POST /v1/bind` | [`BindRequest`](crate::grant::BindRequest) | [`BindReply`](crate::grant::BindReply) |
//! | `POST /v1/issue` | [`IssueRequest`] | [`IssueReply`] |
//! | `POST /v1/settle` | [`IssueRequest`] | [`IssueReply`] |
//! | `POST /v1/revoke` | [`RevokeRequest`] | [`RevokeReply`] |
//! | `POST /v1/ocsp` | [`OcspRequest`] | [`OcspReply`] |
//! | `POST /v1/crl` | [`CrlRequest`] | [`CrlReply`] |
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/journal` | [`crate::checkpoint::JournalRequest`] | [`crate::checkpoint::JournalReply`] |
//! | `POST /v1/records` | [`RecordsRequest`] | [`RecordsReply`] |
//! | `POST /v1/disown` | [`DisownRequest`] | [`RevokeReply`] |

mod records;
mod status;

use serde::{Deserialize, Serialize};

pub use crate::refusal::{Refusal, Refused};

use crate::{
    base64url::Base64Url, grant::GrantToken, identifier::Identifier, jwk::Jwk, jws::Flattened,
    kubernetes::evidence::TokenEvidence, pointers::CrlShard, profile::ProfileName, revocation::RevocationReason,
    serial::SerialNumber, timestamp::Timestamp,
};

pub use self::records::{DISOWN_PATH, DisownRequest, RECORDS_PATH, RecordsReply, RecordsRequest, SignedRecord};
pub use self::status::{CrlReply, CrlRequest, OcspReply, OcspRequest, SignedCrl, SignedResponse, Urgency};

/// Path of the verb `issue`.
pub const ISSUE_PATH: &str = "/v1/issue";
/// Path of the verb `settle`: the answer is the order's certificate, if it is signed, or that none will be under this lease.
pub const SETTLE_PATH: &str = "/v1/settle";
/// Path of the verb `revoke`.
pub const REVOKE_PATH: &str = "/v1/revoke";
/// Path of the verb `ocsp`.
pub const OCSP_PATH: &str = "/v1/ocsp";
/// Path of the verb `crl`.
pub const CRL_PATH: &str = "/v1/crl";
/// Path of the verb `status`.
pub const STATUS_PATH: &str = "/v1/status";
/// What an order's URL is followed by in its finalize URL (RFC 8555 §7.1.3); the client signs that URL.
pub const FINALIZE_SUFFIX: &str = "/finalize";

/// Asks for the one certificate of an order. The same request again gets the same bytes; the same order with another CSR or
/// another account key is refused for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// The order's URL; unique in the deployment and never used again.
    pub order: String,
    /// The client's own finalize request. Its `url` must be the order's finalize URL, its payload carries the CSR.
    pub finalize: Flattened,
    /// The account's current key: what `finalize` must verify under.
    pub account_key: Jwk,
    /// What gives the account its rights.
    pub grant: Grant,
    /// The order's identifiers with the evidence of their validation; as a set equal to the CSR's names.
    pub identifiers: Vec<ProvenIdentifier>,
    /// The profile that the order named, or the deployment's default.
    pub profile: ProfileName,
    /// The order's notBefore, if it asked for one (RFC 8555 §7.1.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The order's notAfter, if it asked for one (RFC 8555 §7.1.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Renewals go before first issues.
    pub priority: Priority,
    /// After this the answer is of no use to anybody: the job may be dropped before it reaches a token.
    pub deadline: Timestamp,
    /// After this the order may be another signer's, and nothing may be signed for it here. A later request may say a later
    /// time, never an earlier one. Without it the order is this signer's for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Timestamp>,
}

/// What gives an account its rights at the signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grant {
    /// None: only scopes that are open to accounts without an external account binding.
    Open,
    /// What `bind` gave for the account's external account binding: the scope that it names.
    Bound(GrantToken),
}

/// The method of an identifier that needed no proof: the edge's scope gives it to the account's binding.
pub const PRE_APPROVED: &str = "pre-approved";

/// An identifier and how its control was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenIdentifier {
    /// The identifier.
    pub identifier: Identifier,
    /// The challenge type that proved it (RFC 8555 §9.7.8), or [`PRE_APPROVED`].
    pub method: String,
    /// When it was proved.
    pub validated: Timestamp,
    /// What proved it, where a signer can check that again (kubernetes-01).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<TokenEvidence>,
}

/// Which of two certificates comes first when both wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// The order names the certificate that it replaces (RFC 9773 §5).
    Renewal,
    /// A first certificate.
    New,
}

/// The answer to `issue`. HTTP status: 200, 202, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum IssueReply {
    /// Here it is; journaled before it was sent.
    Issued(Issued),
    /// Not yet: ask again with the same request.
    Queued {
        /// Whole seconds until the certificate can be expected, at least 1: estimated from the queue, not guessed.
        retry_after: u64,
    },
    /// Only to `settle`: nothing is signed and nothing will be, under this lease or an earlier one.
    Settled {
        /// Index of the journal record that says so.
        journal_index: u64,
    },
    /// Never, or not in this state.
    Refused(Refused),
}

/// A certificate and where the journal names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// DER certificates: the leaf, then its issuers without the root.
    pub chain: Vec<Base64Url>,
    /// The leaf's serial number.
    pub serial: SerialNumber,
    /// Index of the journal record that says `signed`.
    pub journal_index: u64,
}

/// Asks for the revocation of a certificate that this signer issued. Asking again changes nothing: the first revocation stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The client's own revokeCert request (RFC 8555 §7.6). Its payload carries the certificate and the reason.
    pub request: Flattened,
    /// What `request` must verify under: the account's current key, or the certificate's.
    pub key: Jwk,
    /// By what right the client asks.
    pub right: Right,
}

/// By what right a client asks for a revocation (RFC 8555 §7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Its account was issued the certificate.
    Account,
    /// Its account holds authorizations for all names of the certificate.
    Authorizations,
    /// It has the certificate's private key: `key` is the certificate's.
    CertificateKey,
}

/// The answer to `revoke`. HTTP status: 200, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RevokeReply {
    /// It is revoked, by this request or by an earlier one; journaled before this was sent.
    Revoked(Revoked),
    /// Never, or not in this state.
    Refused(Refused),
}

/// A revocation and where the journal names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// The certificate's serial number.
    pub serial: SerialNumber,
    /// Why.
    pub reason: RevocationReason,
    /// When, by the signer's clock.
    pub at: Timestamp,
    /// Index of the journal record that says so.
    pub journal_index: u64,
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Every issuer of the configuration.
    pub issuers: Vec<IssuerStatus>,
    /// Number of journal records.
    pub journal_length: u64,
    /// Hash of the last journal record.
    pub journal_head: Base64Url,
    /// Jobs that wait for a token.
    pub queued: u64,
    /// SHA-256 of the policy that holds now.
    #[serde(default)]
    pub policy: Base64Url,
    /// Whether the journal can be written: nothing is signed that is not in it.
    #[serde(default)]
    pub journal: JournalState,
}

/// Whether a signer can write its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalState {
    /// All records.
    #[default]
    Writable,
    /// Its disk is full: it takes revocations and tells status, and signs no certificates.
    Full,
    /// No records; the signer is about to end.
    Broken,
}

/// One issuer of a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// DER certificates: the issuer, then those above it without the root.
    pub chain: Vec<Base64Url>,
    /// Every token that holds its key.
    pub tokens: Vec<TokenStatus>,
    /// True when it signs no more certificates, but still tells the status of those that it has signed.
    #[serde(default)]
    pub drained: bool,
    /// The parts of its CRL that are signed; none when no profile has one.
    #[serde(default)]
    pub crl_shards: Vec<CrlShard>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenStatus {
    /// Can it sign now.
    pub state: TokenState,
    /// Why not, or what is not as it should be although it can; for the operator, empty when there is nothing to say.
    pub reason: String,
    /// Median milliseconds of its last signatures; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<u64>,
    /// 95 of 100 of them took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_ms: Option<u64>,
    /// Signatures since the daemon started.
    pub signatures: u64,
    /// What the token calls itself, its label and serial number; empty before it was found.
    #[serde(default)]
    pub token: String,
    /// Since when it is in this state; a token that fails, since its first failure in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How often its worker was lost or could not be started, since the daemon started.
    #[serde(default)]
    pub failures: u64,
    /// How often of these it hung and was killed.
    #[serde(default)]
    pub hangs: u64,
    /// How often it did not take what it was to sign.
    #[serde(default)]
    pub refusals: u64,
}

/// What a token is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenState {
    /// Its worker is being started.
    Starting,
    /// Logged in, the key found.
    Ready,
    /// Lost, hung or failing; it will be tried again.
    Failed,
    /// It rejected its PIN; an operator must act.
    PinRejected,
}
