//! tls-alpn-01 (RFC 8737 §3): what to ask a server for, and the judgement of the certificate that it presented. Its key has
//! signed the handshake by then; that nobody vouches for it is the point.

use const_oid::{ObjectIdentifier, db::rfc5280::ID_CE_SUBJECT_ALT_NAME};
use der::{Decode, asn1::OctetStringRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::identifier::Identifier;
use std::net::IpAddr;
use subtle::ConstantTimeEq;
use x509_cert::{
    Certificate,
    ext::{
        Extension,
        pkix::{SubjectAltName, name::GeneralName},
    },
};

/// The protocol that is offered, alone (RFC 8737 §6.2).
pub const PROTOCOL: &[u8] = b"acme-tls/1";

/// id-pe-acmeIdentifier (RFC 8737 §6.1).
pub const ACME_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.31");

/// What drafts of RFC 8737 had in its place.
const DRAFT_ACME_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.30.1");

/// The largest certificate that is looked at, in bytes; one that solves a challenge has a few hundred.
pub const MAX_CERTIFICATE: usize = 8192;

/// What a handshake showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// The server's own certificate, DER, [`MAX_CERTIFICATE`] bytes at most, unchecked but for this: its key signed the handshake.
    pub certificate: Vec<u8>,
    /// The protocol that the server chose (RFC 7301); nothing when it took no notice of the offer.
    pub protocol: Option<Vec<u8>>,
    /// The version.
    pub version: Version,
}

/// Versions of TLS that may prove something (RFC 8737 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Why a handshake does not prove the identifier, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The server answered, but not as one that solves challenges.
    #[error("the server did not choose the protocol acme-tls/1")]
    Protocol,
    /// Not an X.509 certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// No subjectAltName extension, or several.
    #[error("the certificate does not have exactly one subjectAltName extension")]
    NoNames,
    /// The extension has none or several entries.
    #[error("the certificate's subjectAltName does not have exactly one entry")]
    NumberOfNames,
    /// Its one entry is of another kind or another name.
    #[error("the one entry of the certificate's subjectAltName is not the identifier")]
    OtherName,
    /// There is only the extension of a draft.
    #[error("the certificate's acmeIdentifier extension has the object identifier of a draft, not 1.3.6.1.5.5.7.1.31")]
    DraftExtension,
    /// No acmeIdentifier extension, or several.
    #[error("the certificate does not have exactly one acmeIdentifier extension")]
    NoExtension,
    /// The extension is not critical.
    #[error("the certificate's acmeIdentifier extension is not critical")]
    NotCritical,
    /// The value is no OCTET STRING of 32 bytes.
    #[error("the certificate's acmeIdentifier extension is not a digest of 32 bytes")]
    NotADigest,
    /// The digest is another one.
    #[error("the certificate's acmeIdentifier extension is not the digest of this account's key authorization")]
    OtherDigest,
}

/// The name to ask for: the identifier itself, or for an address its name in the reverse tree (RFC 8738 §6).
#[must_use]
pub fn server_name(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.base().to_owned(),
        Identifier::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            nibbles.chain(["ip6.arpa".to_owned()]).collect()
        }
    }
}

/// Checks the certificate of a handshake (RFC 8737 §3, RFC 8738 §6). The identifier is without its wildcard.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn check(handshake: &Handshake, identifier: &Identifier, key_authorization: &str) -> Result<(), Mismatch> {
    if handshake.protocol.as_deref() != Some(PROTOCOL) {
        return Err(Mismatch::Protocol);
    }
    let certificate = Certificate::from_der(&handshake.certificate).map_err(|_| Mismatch::Malformed)?;
    let extensions = certificate.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
    check_names(extensions, identifier)?;
    let extension = match single(extensions, ACME_IDENTIFIER) {
        Some(extension) => extension,
        None if single(extensions, DRAFT_ACME_IDENTIFIER).is_some() => return Err(Mismatch::DraftExtension),
        None => return Err(Mismatch::NoExtension),
    };
    if !extension.critical {
        return Err(Mismatch::NotCritical);
    }
    let digest = <&OctetStringRef>::from_der(extension.extn_value.as_bytes()).map_err(|_| Mismatch::NotADigest)?;
    let digest = <&[u8; 32]>::try_from(digest.as_bytes()).map_err(|_| Mismatch::NotADigest)?;
    let expected = Sha256::digest(key_authorization);
    if bool::from(digest.ct_eq(expected.as_slice())) { Ok(()) } else { Err(Mismatch::OtherDigest) }
}

fn check_names(extensions: &[Extension], identifier: &Identifier) -> Result<(), Mismatch> {
    let names = single(extensions, ID_CE_SUBJECT_ALT_NAME).ok_or(Mismatch::NoNames)?;
    let names = SubjectAltName::from_der(names.extn_value.as_bytes()).map_err(|_| Mismatch::Malformed)?;
    let [name] = names.0.as_slice() else { return Err(Mismatch::NumberOfNames) };
    let same = match (name, identifier) {
        // Names are compared without regard to case (RFC 8737 §3).
        (GeneralName::DnsName(name), Identifier::Dns(expected)) => name.as_str().eq_ignore_ascii_case(expected.base()),
        (GeneralName::IpAddress(octets), Identifier::Ip(IpAddr::V4(expected))) => {
            octets.as_bytes() == expected.octets()
        }
        (GeneralName::IpAddress(octets), Identifier::Ip(IpAddr::V6(expected))) => {
            octets.as_bytes() == expected.octets()
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(Mismatch::OtherName) }
}

/// The extension with this identifier; nothing when there are none or several (RFC 5280 §4.2).
fn single(extensions: &[Extension], oid: ObjectIdentifier) -> Option<&Extension> {
    let mut found = extensions.iter().filter(|extension| extension.extn_id == oid);
    found.next().filter(|_| found.next().is_none())
}
