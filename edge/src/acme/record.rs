//! Stored forms, pinned by tests: what an account's object writes, one JSON record a row. Additive only: the version before
//! must be able to read what this one writes, because a gradual deployment runs both.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    base64url::Base64Url,
    grant::GrantToken,
    identifier::Identifier,
    jwk::Jwk,
    jws::Flattened,
    kubernetes::evidence::ServiceAccountToken,
    profile::ProfileName,
    serial::SerialNumber,
    signing::{PRE_APPROVED, ProvenIdentifier},
    timestamp::Timestamp,
};

use super::{
    challenge::ChallengeType,
    external_account::Binding,
    kept::Promise,
    kubernetes::presented::Presented,
    lease::Lease,
    object_id::ObjectId,
    perspective::Seen,
    problem::ProblemDocument,
    route::AccountId,
    storage::{Change, Key, Rows, StorageFault},
};

/// An account as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Its current key.
    pub key: Jwk,
    /// `mailto:` URLs.
    pub contact: Vec<String>,
    /// Whether the terms of service were agreed to.
    pub terms_agreed: bool,
    /// The version that was agreed to, where they had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms_version: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it still can do anything.
    pub status: AccountStatus,
    /// Whose account it is elsewhere (RFC 8555 §7.3.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// The object of a key that an account was rolled over to holds this in place of an account (RFC 8555 §7.3.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointerRecord {
    /// The account that has, or is about to have, this object's key.
    pub home: AccountId,
}

/// What is left of an account that deleted itself after its key had been changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredRecord {
    /// When it ended.
    pub since: Timestamp,
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStatus {
    /// It can.
    Valid,
    /// Its holder ended it, for ever.
    Deactivated,
}

/// An order as stored. Pending, ready, expired and failed-by-authorization are not stored: they follow from the
/// authorizations and the time, so that reading changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// Canonical, sorted, each once.
    pub identifiers: Vec<Identifier>,
    /// The profile that the client named, or the default.
    pub profile: ProfileName,
    /// True when the client named it, so that the order object shows it (draft-ietf-acme-profiles §4).
    pub profile_named: bool,
    /// One for each identifier, in the same order.
    pub authorizations: Vec<ObjectId>,
    /// When it was made.
    pub created: Timestamp,
    /// After this an order that is not yet processing is invalid.
    pub expires: Timestamp,
    /// The notBefore that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The notAfter that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The certificate that it says to replace (RFC 9773 §5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The order that last said to replace its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<ObjectId>,
    /// How far it got.
    pub state: OrderState,
}

/// How far an order got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// Not finalized.
    Open,
    /// Finalized: a signer has been or will be asked. This state is the lock; alarms drive it until it settles.
    Processing(Processing),
    /// Issued.
    Valid(Issued),
    /// Refused after finalize.
    Invalid(ProblemDocument),
}

/// Everything that asking a signer again needs, so that every request for the order is the same request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processing {
    /// The client's own request: the signer's evidence.
    pub finalize: Flattened,
    /// The key that signed it.
    pub account_key: Jwk,
    /// What the account had from a signer; nothing when it is not bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantToken>,
    /// How each identifier was proved.
    pub proven: Vec<ProvenIdentifier>,
    /// True until the CAA records of its names were looked up again; no signer is asked before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub caa_due: bool,
    /// The binding of the signer that the order is leased to.
    pub signer: String,
    /// How long the order is that signer's alone; nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When the certificate can be expected, as far as its signer or a wait for it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Timestamp>,
    /// When a signer first said that the certificate would be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised: Option<Timestamp>,
    /// When it was finalized.
    pub since: Timestamp,
    /// Questions without a final answer so far.
    pub attempts: u32,
}

/// An issued certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// DER: the leaf, then its issuers without the root.
    pub chain: Vec<Base64Url>,
    /// The leaf's serial number.
    pub serial: SerialNumber,
    /// The binding of the signer whose journal names it.
    pub signer: String,
    /// Index of the journal's record.
    pub journal_index: u64,
    /// Last valid second.
    pub not_after: Timestamp,
    /// True until its status object has given it a window for its renewal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unplaced: bool,
    /// What was promised and how long it took, where its client had to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
}

/// An authorization and its challenges as stored. Expiry is not stored as a state: it follows from the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRecord {
    /// Without a wildcard.
    pub identifier: Identifier,
    /// True when it is for the wildcard over the identifier (RFC 8555 §7.1.4).
    pub wildcard: bool,
    /// After this it is worth nothing.
    pub expires: Timestamp,
    /// True when it was asked for by newAuthz, before any order (RFC 8555 §7.4.1).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_advance: bool,
    /// 128 random bits in base64url, for all its challenges (RFC 8555 §8).
    pub token: String,
    /// How it was proved before it was deactivated: its challenge stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<Proved>,
    /// What each perspective saw when it was settled, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// How far it got.
    pub state: AuthorizationState,
}

/// How an authorization was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// By this challenge.
    pub challenge: ChallengeType,
    /// At this time.
    pub validated: Timestamp,
}

/// Which authorization of an identifier was proved last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReusableRecord {
    /// That authorization.
    pub authorization: ObjectId,
}

/// How far an authorization got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorizationState {
    /// No challenge was answered.
    Pending,
    /// The client says that this challenge can be looked at; a probe is under way or will be, driven by alarms.
    Processing(Probing),
    /// Proved.
    Valid {
        /// By this challenge.
        challenge: ChallengeType,
        /// At this time.
        validated: Timestamp,
        /// By this token (kubernetes-01), for the signer: here until no order can be finalized by it any more, and never shown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<ServiceAccountToken>,
    },
    /// The account's scope demands no proof.
    Approved {
        /// When it was made.
        since: Timestamp,
    },
    /// A challenge failed.
    Invalid {
        /// This one.
        challenge: ChallengeType,
        /// For this reason.
        problem: ProblemDocument,
    },
    /// Its holder gave it up (RFC 8555 §7.5.2).
    Deactivated,
}

impl AuthorizationState {
    /// What makes it valid, as signers are told, and since when; nothing when it is not.
    #[must_use]
    pub const fn proof(&self) -> Option<(&'static str, Timestamp)> {
        match self {
            Self::Valid { challenge, validated, .. } => Some((challenge.name(), *validated)),
            Self::Approved { since } => Some((PRE_APPROVED, *since)),
            _ => None,
        }
    }
}

/// A probe under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// What is looked at.
    pub challenge: ChallengeType,
    /// When the client asked for it.
    pub since: Timestamp,
    /// Probes that were started for it.
    pub attempts: u32,
    /// True when the account's limit of failures has counted it already, until it succeeds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub charged: bool,
    /// What the client presented (kubernetes-01): here for as long as a probe may have to be done again, and no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented: Option<Presented>,
}

/// A record with the row that holds it.
pub trait Record: Serialize + DeserializeOwned {
    /// The row to write. Serializing these types cannot fail; if it did, the commit would.
    ///
    /// # Errors
    /// [`StorageFault::UnknownForm`].
    fn put(&self, key: Key, due: Option<Timestamp>) -> Result<Change, StorageFault> {
        let body = serde_json::to_string(self).map_err(|_| StorageFault::UnknownForm)?;
        Ok(Change::Put { key, body, due })
    }

    /// Reads the row; nothing when there is none.
    ///
    /// # Errors
    /// When the row cannot be read, or holds an unknown form.
    fn load(rows: &dyn Rows, key: Key) -> Result<Option<Self>, StorageFault> {
        // As bytes, as everything else: two kinds of input would be two deserializers of each type in the module.
        let parse = |body: String| serde_json::from_slice(body.as_bytes()).map_err(|_| StorageFault::UnknownForm);
        rows.read(key)?.map(parse).transpose()
    }
}

impl Record for AccountRecord {}
impl Record for OrderRecord {}
impl Record for ReusableRecord {}
impl Record for PointerRecord {}
impl Record for RetiredRecord {}
impl Record for AuthorizationRecord {}
