//! tls-alpn-01 (RFC 8737 §3): what to ask a server for, and the judgement of the certificate that it presented. Its key has
//! signed the handshake by then; that nobody vouches for it is the point.

use const_oid::{ObjectIdentifier, db::rfc5280::ID_CE_SUBJECT_ALT_NAME};
use der::{Tag, TagNumber, Tagged as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::identifier::Identifier;
use std::net::IpAddr;
use subtle::ConstantTimeEq;

use super::{
    excerpt,
    responder_certificate::{self, NotACertificate, ResponderCertificate},
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The server answered, but not as one that solves challenges.
    #[error("the server did not choose the protocol acme-tls/1")]
    Protocol,
    /// Not an X.509 certificate.
    #[error("the certificate is malformed")]
    Malformed,
    /// The extension is no list of names.
    #[error("the certificate's subjectAltName extension is malformed")]
    MalformedNames,
    /// No subjectAltName extension, or several.
    #[error("the certificate does not have exactly one subjectAltName extension")]
    NoNames,
    /// The extension has none or several entries.
    #[error("the certificate's subjectAltName has {0} entries; it must have exactly one, the identifier")]
    NumberOfNames(usize),
    /// Its one entry is of another kind or another name.
    #[error("the one entry of the certificate's subjectAltName is {0}, not the identifier")]
    OtherName(String),
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
    #[error("the certificate's acmeIdentifier extension is not an OCTET STRING of 32 bytes, the digest")]
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
    let certificate = ResponderCertificate::parse(&handshake.certificate).map_err(|_| Mismatch::Malformed)?;
    check_names(&certificate, identifier)?;
    let extension = match certificate.single(&ACME_IDENTIFIER) {
        Some(extension) => extension,
        None if certificate.single(&DRAFT_ACME_IDENTIFIER).is_some() => return Err(Mismatch::DraftExtension),
        None => return Err(Mismatch::NoExtension),
    };
    if !extension.critical {
        return Err(Mismatch::NotCritical);
    }
    let digest = responder_certificate::content(extension.value, Tag::OctetString);
    let digest = digest.ok().and_then(|digest| <&[u8; 32]>::try_from(digest).ok()).ok_or(Mismatch::NotADigest)?;
    let expected = Sha256::digest(key_authorization);
    if bool::from(digest.ct_eq(expected.as_slice())) { Ok(()) } else { Err(Mismatch::OtherDigest) }
}

/// The tags of a dNSName and of an iPAddress (RFC 5280 §4.2.1.6).
const DNS_NAME: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(2) };
const IP_ADDRESS: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(7) };

fn check_names(certificate: &ResponderCertificate<'_>, identifier: &Identifier) -> Result<(), Mismatch> {
    let names = certificate.single(&ID_CE_SUBJECT_ALT_NAME).ok_or(Mismatch::NoNames)?;
    let names = responder_certificate::elements(names.value).map_err(|NotACertificate| Mismatch::MalformedNames)?;
    let [name] = names.as_slice() else { return Err(Mismatch::NumberOfNames(names.len())) };
    let (tag, value) = (name.tag(), name.value());
    let same = match identifier {
        // Names are compared without regard to case (RFC 8737 §3).
        Identifier::Dns(expected) => tag == DNS_NAME && value.eq_ignore_ascii_case(expected.base().as_bytes()),
        Identifier::Ip(IpAddr::V4(expected)) => tag == IP_ADDRESS && value == expected.octets(),
        Identifier::Ip(IpAddr::V6(expected)) => tag == IP_ADDRESS && value == expected.octets(),
    };
    if same {
        return Ok(());
    }
    Err(Mismatch::OtherName(match (tag, Identifier::from_octets(value)) {
        (IP_ADDRESS, Some(address)) => format!("the address {address}"),
        (DNS_NAME, _) => format!("the DNS name {}", excerpt::of_name(value)),
        _ => format!("of another type, with the content {}", excerpt::of_name(value)),
    }))
}
