//! The verbs that tell the status of certificates: `ocsp` and `crl`.

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::{
    base64url::Base64Url,
    ocsp::CertIdHash,
    pointers::{CrlShard, IssuerId},
    serial::SerialNumber,
    timestamp::Timestamp,
};

/// Asks for the OCSP response of a certificate that this signer issued (RFC 6960). What it says is the journal's truth: the edge
/// names no status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OcspRequest {
    /// Who issued it.
    pub issuer: IssuerId,
    /// Which.
    pub serial: SerialNumber,
    /// How clients name it.
    pub hash: CertIdHash,
    /// Whether somebody waits for it. A certificate that was revoked since its last response goes first in any case.
    pub urgency: Urgency,
}

/// Whether somebody waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// There is none that is good.
    Missing,
    /// There is one that is good still: this is for a signer that has nothing else to do.
    Refresh,
}

/// The answer to `ocsp`. HTTP status: 200, 202, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OcspReply {
    /// Here it is. A response whose first half of life has not passed, and that is still true, is given again.
    Signed(SignedResponse),
    /// Not yet: ask again with the same request.
    Queued {
        /// Whole seconds until it can be expected, at least 1.
        retry_after: u64,
    },
    /// Never, or not in this state.
    Refused(Refused),
}

/// An OCSP response that is signed and journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedResponse {
    /// DER of the OCSPResponse.
    pub response: Base64Url,
    /// Its thisUpdate.
    pub this_update: Timestamp,
    /// Its nextUpdate.
    pub next_update: Timestamp,
    /// True when it says revoked: it is never replaced by one that says good.
    pub revoked: bool,
}

/// Asks for the newest CRL of a part of an issuer's certificates. Nothing is signed for it: the signer signs CRLs by itself, at an
/// interval and soon after each revocation, however often it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlRequest {
    /// Whose.
    pub issuer: IssuerId,
    /// Which part.
    pub shard: CrlShard,
}

/// The answer to `crl`. HTTP status: 200, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CrlReply {
    /// The newest one.
    Current(SignedCrl),
    /// There is none, or it cannot be read.
    Refused(Refused),
}

/// A CRL that is signed and journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCrl {
    /// DER of the CertificateList.
    pub crl: Base64Url,
    /// Its number (RFC 5280 §5.2.3).
    pub number: u64,
    /// Its thisUpdate.
    pub this_update: Timestamp,
    /// Its nextUpdate.
    pub next_update: Timestamp,
    /// True when a revocation waits for the next one: it is signed within seconds.
    pub pending: bool,
}
