//! Revocation as a client asks for it: which certificate, and why (RFC 8555 §7.6, RFC 5280 §5.3.1). Both sides read the
//! client's own request: the edge to judge who may revoke, the signer because it trusts none of the edge's words.

use serde::{Deserialize, Serialize};

use crate::{
    base64url::{Base64Url, is_pem},
    chain::{BadChain, Leaf},
    json,
};

/// Why a certificate is revoked (RFC 5280 §5.3.1). Only the reasons that a certificate of ours can have: holds would have to
/// be lifted again, and nothing here is ever un-revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RevocationReason {
    /// None is given.
    Unspecified,
    /// The private key is, or may be, known to others.
    KeyCompromise,
    /// What the certificate says of its holder is no longer so.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// Its holder lost the right to it.
    PrivilegeWithdrawn,
}

/// A revokeCert payload as read (RFC 8555 §7.6). Nobody has checked who issued the certificate.
#[derive(Debug)]
pub struct Revocation {
    /// DER of the certificate as the client sent it.
    pub certificate: Vec<u8>,
    /// What it says.
    pub leaf: Leaf,
    /// Why it is to be revoked.
    pub reason: RevocationReason,
}

/// Why a revokeCert payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRevocation {
    /// Not the JSON object of RFC 8555 §7.6.
    #[error(
        "not an object with \"certificate\", base64url of DER without padding, and optionally \"reason\", a number"
    )]
    Form,
    /// The certificate is PEM inside of base64url.
    #[error("\"certificate\" is PEM inside of base64url; send base64url of the DER that the PEM holds")]
    Pem,
    /// The certificate is not DER, or not of the form that this CA issues.
    #[error(transparent)]
    Certificate(#[from] BadChain),
    /// A reason that no certificate of ours can have; for `badRevocationReason`.
    #[error("the reasons are 0, 1, 3, 4, 5 and 9 of RFC 5280, section 5.3.1")]
    Reason,
}

impl RevocationReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The number on the wire (RFC 5280 §5.3.1).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// By its number; nothing for those that no certificate of ours can have.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| i64::from(reason.code()) == code)
    }
}

impl Revocation {
    /// Reads the payload of a revokeCert request.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BadRevocation`].
    pub fn parse(payload: &[u8]) -> Result<Self, BadRevocation> {
        let object: RevocationObject = json::object(payload).map_err(|_| BadRevocation::Form)?;
        let reason = RevocationReason::from_code(object.reason).ok_or(BadRevocation::Reason)?;
        if is_pem(&object.certificate.0) {
            return Err(BadRevocation::Pem);
        }
        let leaf = Leaf::from_der(&object.certificate.0)?;
        Ok(Self { certificate: object.certificate.0, leaf, reason })
    }
}

/// RFC 8555 §7.6. Members that are not known are ignored.
#[derive(Deserialize)]
struct RevocationObject {
    certificate: Base64Url,
    #[serde(default)]
    reason: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_numbers() {
        for reason in RevocationReason::ALL {
            assert_eq!(RevocationReason::from_code(reason.code().into()), Some(reason));
        }
        for code in [-1, 2, 6, 7, 8, 10, 11, 256] {
            assert_eq!(RevocationReason::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let table = [
            ("", BadRevocation::Form),
            ("[]", BadRevocation::Form),
            (r#"{"reason":1}"#, BadRevocation::Form),
            (r#"{"certificate":"MAA="}"#, BadRevocation::Form),
            (r#"{"certificate":"MAA","reason":"1"}"#, BadRevocation::Form),
            (r#"{"certificate":"MAA","reason":1.5}"#, BadRevocation::Form),
            (r#"{"certificate":"MAA","reason":2}"#, BadRevocation::Reason),
            (r#"{"certificate":"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"}"#, BadRevocation::Pem),
            (r#"{"certificate":"MAA","reason":0}"#, BadRevocation::Certificate(BadChain::NotCertificates)),
        ];
        for (payload, error) in table {
            assert_eq!(Revocation::parse(payload.as_bytes()).unwrap_err(), error, "{payload}");
        }
    }
}
