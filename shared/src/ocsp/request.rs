//! OCSPRequest, as read: bytes of strangers (RFC 6960 §4.1.1).

use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use der::{Decode, Sequence, asn1::Any};
use x509_cert::ext::Extensions;

use super::cert_id::{CertId, CertIdAsn1};

/// The most certificates that one request may ask about.
const MOST: usize = 32;

/// What a client asks: about at least one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// In its order.
    pub asked: Vec<Asked>,
    /// True when it carries a nonce (RFC 9654). It is never answered: responses are signed before anybody asks.
    pub has_nonce: bool,
}

/// One certificate of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// With a hash that we know.
    Known(CertId),
    /// With another hash.
    OtherHash,
}

/// Not a request. Answered with `malformedRequest`, unsigned (RFC 6960 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not DER of an OCSPRequest of version 1.
    #[error("not an OCSPRequest of version 1 in DER")]
    Form,
    /// About no certificate or about too many.
    #[error("a request asks about 1 to {MOST} certificates")]
    Count,
    /// A critical extension that we do not know.
    #[error("a critical extension is unknown")]
    Critical,
}

impl Request {
    /// Reads a request. Its signature, where it has one, means nothing here.
    ///
    /// # Errors
    /// See [`BadRequest`].
    pub fn from_der(der: &[u8]) -> Result<Self, BadRequest> {
        let OcspRequest { tbs_request, .. } = OcspRequest::from_der(der).map_err(|_| BadRequest::Form)?;
        if tbs_request.version != 0 {
            return Err(BadRequest::Form);
        }
        if tbs_request.request_list.is_empty() || tbs_request.request_list.len() > MOST {
            return Err(BadRequest::Count);
        }
        let singles = tbs_request.request_list.iter().filter_map(|single| single.extensions.as_ref());
        let extensions = tbs_request.request_extensions.iter().chain(singles);
        let mut has_nonce = false;
        for extension in extensions.flatten() {
            let is_nonce = extension.extn_id == ID_PKIX_OCSP_NONCE;
            has_nonce |= is_nonce;
            if extension.critical && !is_nonce {
                return Err(BadRequest::Critical);
            }
        }
        let read = |single: &SingleRequest| single.cert_id.read().map_or(Asked::OtherHash, Asked::Known);
        Ok(Self { asked: tbs_request.request_list.iter().map(read).collect(), has_nonce })
    }
}

/// OCSPRequest (RFC 6960 §4.1.1).
#[derive(Sequence)]
struct OcspRequest {
    tbs_request: TbsRequest,
    // Signature: whatever it is, nobody reads it.
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    #[allow(dead_code, reason = "it may be there, and is not looked at")]
    signature: Option<Any>,
}

/// TBSRequest (RFC 6960 §4.1.1).
#[derive(Sequence)]
struct TbsRequest {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u8,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    #[allow(dead_code, reason = "it may be there, and is not looked at")]
    requestor_name: Option<Any>,
    request_list: Vec<SingleRequest>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    request_extensions: Option<Extensions>,
}

/// Request (RFC 6960 §4.1.1).
#[derive(Sequence)]
struct SingleRequest {
    cert_id: CertIdAsn1,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}
