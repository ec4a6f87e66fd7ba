//! OCSPResponse: built before anybody asks, for one certificate each (RFC 6960 §4.2.1, RFC 5019 §2.2). More than one in a response
//! is not understood by GnuTLS and by Go.

use const_oid::db::{rfc5280::ID_KP_OCSP_SIGNING, rfc6960::ID_PKIX_OCSP_BASIC};
use der::{
    Decode, Encode, Enumerated,
    asn1::{Any, BitString, OctetString},
};
use p256::ecdsa::{DerSignature, VerifyingKey, signature::Verifier};
use sha1::{Digest, Sha1};
use spki::DecodePublicKey;
use x509_cert::{
    Certificate,
    ext::pkix::{CrlReason, ExtendedKeyUsage},
};

use super::{
    cert_id::{CertId, CertIdAsn1, CertIdHash},
    response_asn1::{
        BasicResponse, OcspResponse, ResponderId, ResponseBytes, ResponseData, SingleResponse, StatusAsn1, StatusCode,
        generalized, timestamp,
    },
};
use crate::{
    certificate::ecdsa_with_sha256,
    chain::{self, Issuer},
    revocation::RevocationReason,
    serial::SerialNumber,
    signed_der::Proved,
    timestamp::Timestamp,
};

/// What a response says of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseContent {
    /// Which certificate, as the client names it.
    pub cert_id: CertId,
    /// Its status.
    pub status: CertStatus,
    /// When it was found out (RFC 6960 §4.2.2.1).
    pub this_update: Timestamp,
    /// Until when it is good.
    pub next_update: Timestamp,
    /// When it was signed.
    pub produced_at: Timestamp,
}

/// The status of a certificate (RFC 6960 §2.2). There is no "unknown": nobody signs for what is not in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertStatus {
    /// Issued, and not revoked.
    Good,
    /// Revoked.
    Revoked(Timestamp, RevocationReason),
}

/// A ResponseData in DER that this crate has built, ready for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TbsResponseDer(Vec<u8>);

/// Whose key signs a response (RFC 6960 §4.2.2.2).
#[derive(Clone, Copy, Debug)]
pub enum Responder<'a> {
    /// The issuer itself.
    Issuer(&'a Issuer),
    /// A responder that the issuer has certified.
    Delegate(&'a Delegate),
}

/// A responder's certificate: issued by the issuer, for OCSP signing alone.
#[derive(Clone, Debug)]
pub struct Delegate {
    der: Vec<u8>,
    key: VerifyingKey,
    not_after: Timestamp,
}

/// A response as read: an answer, or an error that nobody signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// About one certificate; its signature has been verified.
    Answer(ResponseContent),
    /// None.
    Failure(Failure),
}

/// Answers that are not signed (RFC 6960 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[asn1(type = "ENUMERATED")]
#[repr(u8)]
pub enum Failure {
    /// Not a request.
    MalformedRequest = 1,
    /// Our fault.
    InternalError = 2,
    /// Not now.
    TryLater = 3,
    /// A request must be signed. Never sent.
    SigRequired = 5,
    /// About a certificate that this responder does not know (RFC 5019 §2.2.3).
    Unauthorized = 6,
}

/// Why a response is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Not DER of a basic response about one certificate.
    #[error("not a basic OCSP response about one certificate in DER")]
    Form,
    /// Not signed by the issuer, nor by a responder that it has certified.
    #[error("the response is not signed by the issuer or by a responder of its own")]
    Signature,
}

impl ResponseContent {
    /// Builds the ResponseData for this responder. `issuer` is the certificate's issuer.
    ///
    /// # Errors
    /// When a value cannot be encoded.
    pub fn tbs(
        serial: SerialNumber,
        hash: CertIdHash,
        status: CertStatus,
        (this_update, next_update): (Timestamp, Timestamp),
        issuer: &Issuer,
        responder: Responder<'_>,
    ) -> der::Result<TbsResponseDer> {
        let single = SingleResponse {
            cert_id: CertIdAsn1::new(issuer, hash, serial)?,
            status: StatusAsn1::new(status)?,
            this_update: generalized(this_update)?,
            next_update: Some(generalized(next_update)?),
            extensions: None,
        };
        let data = ResponseData {
            version: 0,
            responder: responder.id()?,
            produced_at: generalized(this_update)?,
            responses: vec![single],
            extensions: None,
        };
        data.to_der().map(TbsResponseDer)
    }
}

impl TbsResponseDer {
    /// The bytes to hash and sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the signature (ECDSA with SHA-256, DER) behind it: an OCSPResponse in DER.
    ///
    /// # Errors
    /// When the bytes are not DER.
    pub fn assemble(self, signature: &[u8], responder: Responder<'_>) -> der::Result<Vec<u8>> {
        let certificates = match responder {
            Responder::Issuer(_) => None,
            Responder::Delegate(delegate) => Some(vec![Any::from_der(&delegate.der)?]),
        };
        let basic = BasicResponse {
            data: Any::from_der(&self.0)?,
            algorithm: ecdsa_with_sha256(),
            signature: BitString::from_bytes(signature)?,
            certificates,
        };
        let bytes = ResponseBytes { kind: ID_PKIX_OCSP_BASIC, response: OctetString::new(basic.to_der()?)? };
        OcspResponse { status: StatusCode::Successful, bytes: Some(bytes) }.to_der()
    }
}

impl Responder<'_> {
    /// An issuer by its name: GnuTLS takes a key's hash for a subject key identifier, which is another hash in our certificates.
    fn id(self) -> der::Result<ResponderId> {
        Ok(match self {
            Self::Issuer(issuer) => ResponderId::ByName(issuer.subject().clone()),
            Self::Delegate(delegate) => {
                let point = delegate.key.to_sec1_point(false);
                ResponderId::ByKey(OctetString::new(Sha1::digest(point.as_bytes()).to_vec())?)
            }
        })
    }
}

impl Delegate {
    /// Reads a responder's certificate: issued by this issuer, with OCSPSigning among its usages (RFC 6960 §4.2.2.2).
    ///
    /// # Errors
    /// [`BadResponse::Signature`] when it is not.
    pub fn from_der(der: &[u8], issuer: &Issuer) -> Result<Self, BadResponse> {
        let certificate = Certificate::from_der(der).map_err(|_| BadResponse::Signature)?;
        chain::verify_issued(issuer.certificate(), &certificate, &Proved::default())
            .map_err(|_| BadResponse::Signature)?;
        let tbs = certificate.tbs_certificate();
        let usages = tbs.get_extension::<ExtendedKeyUsage>().ok().flatten().ok_or(BadResponse::Signature)?.1;
        let spki = tbs.subject_public_key_info().to_der().map_err(|_| BadResponse::Signature)?;
        let key = VerifyingKey::from_public_key_der(&spki).map_err(|_| BadResponse::Signature)?;
        if !usages.0.contains(&ID_KP_OCSP_SIGNING) {
            return Err(BadResponse::Signature);
        }
        Ok(Self { der: der.to_vec(), key, not_after: Timestamp::from_x509(&tbs.validity().not_after) })
    }

    /// Last valid second.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl Response {
    /// Reads a response and verifies it: by the issuer's key, or by a responder's that the issuer certified and that is valid
    /// for as long as the response.
    ///
    /// # Errors
    /// See [`BadResponse`].
    pub fn verify(der: &[u8], issuer: &Issuer) -> Result<Self, BadResponse> {
        let OcspResponse { status, bytes } = OcspResponse::from_der(der).map_err(|_| BadResponse::Form)?;
        let bytes = match (status.failure(), bytes) {
            (Some(failure), None) => return Ok(Self::Failure(failure)),
            (None, Some(bytes)) if bytes.kind == ID_PKIX_OCSP_BASIC => bytes,
            _ => return Err(BadResponse::Form),
        };
        let basic = BasicResponse::from_der(bytes.response.as_bytes()).map_err(|_| BadResponse::Form)?;
        let tbs = basic.data.to_der().map_err(|_| BadResponse::Form)?;
        let content = read_tbs(&tbs).ok_or(BadResponse::Form)?;
        let key = match basic.certificates.as_deref() {
            None | Some([]) => issuer.key(),
            Some([certificate]) => {
                let delegate = Delegate::from_der(&certificate.to_der().map_err(|_| BadResponse::Form)?, issuer)?;
                if delegate.not_after < content.next_update {
                    return Err(BadResponse::Signature);
                }
                delegate.key
            }
            Some(_) => return Err(BadResponse::Form),
        };
        let signature = basic.signature.as_bytes().ok_or(BadResponse::Form)?;
        let signature = DerSignature::try_from(signature).map_err(|_| BadResponse::Signature)?;
        if basic.algorithm != ecdsa_with_sha256() || key.verify(&tbs, &signature).is_err() {
            return Err(BadResponse::Signature);
        }
        Ok(Self::Answer(content))
    }
}

impl Failure {
    /// The whole response, DER: five bytes.
    #[must_use]
    pub const fn to_der(self) -> [u8; 5] {
        [0x30, 0x03, 0x0a, 0x01, self as u8]
    }
}

/// Reads a ResponseData about one certificate, as it is handed to a key; nothing for any other bytes.
#[must_use]
pub fn read_tbs(tbs: &[u8]) -> Option<ResponseContent> {
    let data = ResponseData::from_der(tbs).ok()?;
    let [single] = data.responses.as_slice() else { return None };
    let status = match &single.status {
        StatusAsn1::Good(_) => CertStatus::Good,
        StatusAsn1::Revoked(info) => CertStatus::Revoked(timestamp(info.time), info.reason()?),
    };
    Some(ResponseContent {
        cert_id: single.cert_id.read()?,
        status,
        this_update: timestamp(single.this_update),
        next_update: timestamp(single.next_update?),
        produced_at: timestamp(data.produced_at),
    })
}

/// As CRLs and responses write it: "unspecified" is left out (RFC 5280 §5.3.1).
pub(crate) const fn crl_reason(reason: RevocationReason) -> Option<CrlReason> {
    Some(match reason {
        RevocationReason::Unspecified => return None,
        RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
        RevocationReason::AffiliationChanged => CrlReason::AffiliationChanged,
        RevocationReason::Superseded => CrlReason::Superseded,
        RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
    })
}
