//! The ASN.1 of OCSP responses (RFC 6960 §4.2.1).

use std::time::Duration;

use der::{
    Choice, Enumerated, Sequence,
    asn1::{Any, BitString, GeneralizedTime, Null, OctetString},
};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{
    ext::{Extensions, pkix::CrlReason},
    name::Name,
};

use super::{
    cert_id::CertIdAsn1,
    crl_reason,
    response::{CertStatus, Failure},
};
use crate::{revocation::RevocationReason, timestamp::Timestamp};

/// OCSPResponse (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct OcspResponse {
    pub(super) status: StatusCode,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) bytes: Option<ResponseBytes>,
}

/// OCSPResponseStatus (RFC 6960 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Enumerated)]
#[asn1(type = "ENUMERATED")]
#[repr(u8)]
pub(super) enum StatusCode {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

impl StatusCode {
    pub(super) const fn failure(self) -> Option<Failure> {
        Some(match self {
            Self::Successful => return None,
            Self::MalformedRequest => Failure::MalformedRequest,
            Self::InternalError => Failure::InternalError,
            Self::TryLater => Failure::TryLater,
            Self::SigRequired => Failure::SigRequired,
            Self::Unauthorized => Failure::Unauthorized,
        })
    }
}

/// ResponseBytes (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct ResponseBytes {
    pub(super) kind: der::asn1::ObjectIdentifier,
    pub(super) response: OctetString,
}

/// BasicOCSPResponse (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct BasicResponse {
    pub(super) data: Any,
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) certificates: Option<Vec<Any>>,
}

/// ResponseData (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct ResponseData {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    pub(super) version: u8,
    pub(super) responder: ResponderId,
    pub(super) produced_at: GeneralizedTime,
    pub(super) responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Extensions>,
}

/// ResponderID (RFC 6960 §4.2.1).
#[derive(Choice)]
pub(super) enum ResponderId {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    ByName(Name),
    /// SHA-1 of the public key's bits.
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", constructed = "true")]
    ByKey(OctetString),
}

/// SingleResponse (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct SingleResponse {
    pub(super) cert_id: CertIdAsn1,
    pub(super) status: StatusAsn1,
    pub(super) this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) extensions: Option<Extensions>,
}

/// CertStatus (RFC 6960 §4.2.1).
#[derive(Choice)]
pub(super) enum StatusAsn1 {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
}

/// RevokedInfo (RFC 6960 §4.2.1).
#[derive(Sequence)]
pub(super) struct RevokedInfo {
    pub(super) time: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub(super) reason: Option<CrlReason>,
}

impl StatusAsn1 {
    pub(super) fn new(status: CertStatus) -> der::Result<Self> {
        Ok(match status {
            CertStatus::Good => Self::Good(Null),
            CertStatus::Revoked(at, reason) => {
                Self::Revoked(RevokedInfo { time: generalized(at)?, reason: crl_reason(reason) })
            }
        })
    }
}

impl RevokedInfo {
    pub(super) fn reason(&self) -> Option<RevocationReason> {
        self.reason.map_or(Some(RevocationReason::Unspecified), |reason| RevocationReason::from_code(reason as i64))
    }
}

pub(super) fn generalized(at: Timestamp) -> der::Result<GeneralizedTime> {
    GeneralizedTime::from_unix_duration(Duration::from_secs(at.seconds()))
}

pub(super) fn timestamp(time: GeneralizedTime) -> Timestamp {
    Timestamp::from_seconds(time.to_unix_duration().as_secs())
}
