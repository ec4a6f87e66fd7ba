//! What the journal says: one JSON object a line, each with the hash of the line before it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{
    base64url::Base64Url,
    identifier::Identifier,
    ocsp::CertIdHash,
    pointers::{CrlShard, IssuerId},
    profile::{ProfileName, Usage},
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{Refusal, Right},
    timestamp::Timestamp,
};

use crate::stops::Stops;

/// SHA-256 of a line without its newline; zeros before the first.
pub(crate) type LineHash = [u8; 32];

/// The hash that the first record names as the one before it.
pub(crate) const BEFORE_THE_FIRST: LineHash = [0; 32];

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// 0, 1, 2, …
    pub(crate) index: u64,
    /// Hash of the line before.
    pub(crate) previous: Base64Url,
    /// When it was written, by the signer's clock.
    pub(crate) at: Timestamp,
    /// SHA-256 of the policy that held then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Base64Url>,
    /// What happened.
    pub(crate) event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Event {
    /// A certificate was decided on, to the last byte but its signature. After a crash it is this one that gets signed.
    Intent(Box<Intent>),
    /// The certificate of an intent was signed.
    Signed(Signed),
    /// An order that may go to another signer is not signed here any more.
    Settled(SettledOrder),
    /// A certificate was revoked, for ever.
    Revoked(RevokedCertificate),
    /// An account was given the rights of a binding.
    Bound(BoundAccount),
    /// A request was refused by policy.
    Refused(RefusedRequest),
    /// An operator has stopped something, or lets it go on: all that is stopped since.
    Stops(Stops),
    /// An OCSP response was signed.
    Response(SignedStatus),
    /// A CRL was signed.
    Crl(JournaledCrl),
    /// The certificate of an OCSP responder was decided on, or signed.
    Responder(JournaledResponder),
}

/// A certificate that is to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intent {
    /// The order's URL.
    pub(crate) order: String,
    /// Thumbprint of the account's key (RFC 7638).
    pub(crate) account: Base64Url,
    /// SHA-256 of the CSR's DER.
    pub(crate) csr: Base64Url,
    /// The edge that asked.
    pub(crate) edge: String,
    /// The profile.
    pub(crate) profile: ProfileName,
    /// The scope that gave it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    /// The key id of the account's external account binding; none when it has the rights of open scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binding: Option<String>,
    /// All names.
    pub(crate) names: Vec<Identifier>,
    /// The issuer's name in the configuration.
    pub(crate) issuer: String,
    /// SHA-256 of the issuer's certificate: the name could be given to another.
    pub(crate) issuer_sha256: Base64Url,
    /// The serial number.
    pub(crate) serial: SerialNumber,
    /// First valid second.
    pub(crate) not_before: Timestamp,
    /// Last valid second.
    pub(crate) not_after: Timestamp,
    /// The extended key usages.
    pub(crate) extended_key_usage: Vec<Usage>,
    /// DER of the TBSCertificate.
    pub(crate) tbs: Base64Url,
    /// The part of the CRL that it points to; none when it names no CRL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crl_shard: Option<CrlShard>,
}

/// A certificate that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signed {
    /// The order's URL.
    pub(crate) order: String,
    /// Index of its intent.
    pub(crate) intent: u64,
    /// Its serial number.
    pub(crate) serial: SerialNumber,
    /// DER certificates as they are sent: the leaf, then its issuers. Kept whole, so that the same request gets the same
    /// bytes after any change of the configuration.
    pub(crate) chain: Vec<Base64Url>,
}

/// An order that is not signed under any lease that ends then or sooner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettledOrder {
    /// The order's URL.
    pub(crate) order: String,
    /// Thumbprint of the account's key (RFC 7638).
    pub(crate) account: Base64Url,
    /// SHA-256 of the CSR's DER.
    pub(crate) csr: Base64Url,
    /// When the last lease ends that counts no more.
    pub(crate) lease: Timestamp,
    /// The edge that asked.
    pub(crate) edge: String,
}

/// A certificate that was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokedCertificate {
    /// Its serial number.
    pub(crate) serial: SerialNumber,
    /// Why.
    pub(crate) reason: RevocationReason,
    /// By what right, as the edge said.
    pub(crate) right: RevokedBy,
    /// The URL of the order that the certificate was issued for.
    pub(crate) order: String,
    /// Thumbprint of the key that asked (RFC 7638); none when no client did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Base64Url>,
    /// SHA-256 of the certificate's DER.
    pub(crate) certificate_sha256: Base64Url,
    /// The edge that asked.
    pub(crate) edge: String,
}

/// By what right a certificate was revoked. Those of a client have the names of [`Right`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RevokedBy {
    /// Of the account that was issued the certificate.
    Account,
    /// Of an account that holds authorizations for all its names.
    Authorizations,
    /// Of whoever has its private key.
    CertificateKey,
    /// No client asked: the edge that it was signed for says that nobody has it.
    Disowned,
}

/// An OCSP response that was signed. Nothing follows from it: what is said is the truth of the other records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedStatus {
    /// The certificate's issuer.
    pub(crate) issuer: IssuerId,
    /// The certificate.
    pub(crate) serial: SerialNumber,
    /// How it is named.
    pub(crate) hash: CertIdHash,
    /// What is said of it.
    pub(crate) revoked: bool,
    /// Since when that is known.
    pub(crate) this_update: Timestamp,
    /// Until when the response is good.
    pub(crate) next_update: Timestamp,
    /// SHA-256 of the response.
    pub(crate) sha256: Base64Url,
}

/// A CRL that was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournaledCrl {
    /// Whose.
    pub(crate) issuer: IssuerId,
    /// Which part.
    pub(crate) shard: CrlShard,
    /// Its number, higher than that of every one before of this issuer and part (RFC 5280 §5.2.3).
    pub(crate) number: u64,
    /// When it was true.
    pub(crate) this_update: Timestamp,
    /// Until when it is good.
    pub(crate) next_update: Timestamp,
    /// SHA-256 of the CRL.
    pub(crate) sha256: Base64Url,
    /// Certificates on it.
    pub(crate) entries: u64,
}

/// The certificate of an OCSP responder, whose key is in the signer's memory alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournaledResponder {
    /// Who certifies it.
    pub(crate) issuer: IssuerId,
    /// The certificate's serial number.
    pub(crate) serial: SerialNumber,
    /// First valid second.
    pub(crate) not_before: Timestamp,
    /// Last valid second.
    pub(crate) not_after: Timestamp,
    /// DER of the TBSCertificate.
    pub(crate) tbs: Base64Url,
    /// None before its token has signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<Base64Url>,
}

/// An account that was bound, or that has another key now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundAccount {
    /// The binding's key id.
    pub(crate) binding: String,
    /// The scope that it gives.
    pub(crate) scope: String,
    /// Thumbprint of the account's key (RFC 7638).
    pub(crate) account: Base64Url,
    /// Thumbprint of the key that it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) follows: Option<Base64Url>,
    /// The edge that asked.
    pub(crate) edge: String,
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedRequest {
    /// Why.
    pub(crate) reason: Refusal,
    /// What exactly, cut to a bounded length.
    pub(crate) detail: String,
    /// The caller: a DNS name of its certificate.
    pub(crate) edge: String,
    /// The order's URL as far as it was known, cut to a bounded length; empty for a revocation.
    pub(crate) order: String,
}

/// A line that is not the next one of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's record {index} is bad: {fault}")]
pub(crate) struct BadRecord {
    /// Which one, counted from 0.
    pub(crate) index: u64,
    pub(crate) fault: Fault,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Not the JSON of a record.
    #[error("it is not a record")]
    Form,
    /// It has another index.
    #[error("it has another index")]
    Index,
    /// It does not name the hash of the line before it.
    #[error("it does not continue the line before it")]
    Previous,
    /// It speaks of an intent or a certificate that is not there, or of an order or a revocation that is done.
    #[error("it contradicts the records before it")]
    Contradiction,
}

impl From<Right> for RevokedBy {
    fn from(right: Right) -> Self {
        match right {
            Right::Account => Self::Account,
            Right::Authorizations => Self::Authorizations,
            Right::CertificateKey => Self::CertificateKey,
        }
    }
}

/// Hash of a line without its newline.
pub(crate) fn hash(line: &[u8]) -> LineHash {
    Sha256::digest(line).into()
}

impl Record {
    /// Whether this is the record `index` behind a line with the hash `previous`.
    pub(crate) fn continues(&self, index: u64, previous: &LineHash) -> Result<(), Fault> {
        if self.index != index {
            return Err(Fault::Index);
        }
        if self.previous.0 != previous {
            return Err(Fault::Previous);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
