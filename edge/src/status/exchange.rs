//! One exchange of OCSP over HTTP: from the bytes of a stranger to the one certificate that is answered for, or to a failure
//! (RFC 6960 §2.3, §A.1; RFC 5019 §5).

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use shared::{
    ocsp::{Asked, CertId, CertIdHash, Failure, IssuerHashes, Request},
    serial::SerialNumber,
};

use super::config::NoncePolicy;

/// The media type of a request by POST (RFC 6960 §A.1).
pub const REQUEST_TYPE: &str = "application/ocsp-request";

/// The most bytes of a request. One about 32 certificates by SHA-256, with a nonce and a name, is below 4 kB.
pub const MAX_REQUEST: usize = 8 * 1024;

/// A certificate of a form that we could have given, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Its serial number.
    pub serial: SerialNumber,
    /// The hash of the next two.
    pub hash: CertIdHash,
    /// Of its issuer's name.
    pub name: shared::base64url::Base64Url,
    /// Of its issuer's key.
    pub key: shared::base64url::Base64Url,
}

impl Question {
    /// Nothing for a serial number that is none of ours.
    #[must_use]
    pub fn of(cert_id: &CertId) -> Option<Self> {
        let base64 = |bytes: &[u8]| shared::base64url::Base64Url(bytes.to_vec());
        Some(Self {
            serial: cert_id.serial?,
            hash: cert_id.hash,
            name: base64(&cert_id.issuer.name),
            key: base64(&cert_id.issuer.key),
        })
    }

    /// The issuer that it names.
    #[must_use]
    pub fn issuer(&self) -> IssuerHashes {
        IssuerHashes { name: self.name.0.clone(), key: self.key.0.clone() }
    }
}

/// The request in a path: base64, with its `+`, `/` and `=` percent-encoded or not, padded or not; the alphabet of base64url is
/// taken as well (RFC 6960 §A.1).
///
/// # Errors
/// [`Failure::MalformedRequest`].
pub fn request_of_path(path: &str) -> Result<Vec<u8>, Failure> {
    let malformed = Failure::MalformedRequest;
    if path.len() > MAX_REQUEST.saturating_mul(4) {
        return Err(malformed);
    }
    let decoded = percent_decoded(path).ok_or(malformed)?;
    let text = decoded.trim_start_matches('/').trim_end_matches('=');
    let url_safe = text.bytes().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { BASE64URL_NOPAD } else { BASE64_NOPAD };
    let request = alphabet.decode(text.as_bytes()).map_err(|_| malformed)?;
    if request.len() > MAX_REQUEST { Err(malformed) } else { Ok(request) }
}

/// What a request asks about, in its order, as far as it can be ours; at least one.
///
/// # Errors
/// [`Failure::MalformedRequest`]; [`Failure::Unauthorized`] when nothing in it can be ours, or when it has a nonce and may not.
pub fn questions(request: &[u8], nonces: NoncePolicy) -> Result<Vec<Question>, Failure> {
    let request = Request::from_der(request).map_err(|_| Failure::MalformedRequest)?;
    if request.has_nonce && nonces == NoncePolicy::Refuse {
        return Err(Failure::Unauthorized);
    }
    let known = |asked: &Asked| match asked {
        Asked::Known(cert_id) => Question::of(cert_id),
        Asked::OtherHash => None,
    };
    let questions: Vec<_> = request.asked.iter().filter_map(known).collect();
    if questions.is_empty() { Err(Failure::Unauthorized) } else { Ok(questions) }
}

/// ASCII alone.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = String::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()?
            }
            other => other,
        };
        if !byte.is_ascii() {
            return None;
        }
        decoded.push(char::from(byte));
    }
    Some(decoded)
}
