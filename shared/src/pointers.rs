//! Where the status of certificates is told: the URLs that a certificate points to (RFC 5280 §4.2.1.13, §4.2.2.1). Plain HTTP,
//! for who checks a certificate cannot check another one first.

use std::{fmt, str::FromStr};

use const_oid::db::rfc5280::ID_AD_OCSP;
use der::Decode;
use serde::{Deserialize, Serialize};
use x509_cert::{Certificate, TbsCertificate, ext::pkix::AuthorityInfoAccessSyntax};

use crate::{chain::Issuer, serial::SerialNumber};

/// The path below which OCSP requests are answered (RFC 6960 §A.1).
pub const OCSP_PATH: &str = "/ocsp";
/// The path of the root's CRL.
pub const ROOT_CRL_PATH: &str = "/root.crl";

/// The host of all status services: `http://host[:port]`, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StatusHost(String);

/// Names an issuing certificate in URLs: lower-case hex digits of the first 16 bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerId([u8; 16]);

/// One of the equal parts that the certificates of an issuer are divided into, by the first byte of their serial numbers. As text
/// `3-of-8`; the complete CRL is `1-of-1`. How many parts there are can change: certificates point to what there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CrlShard {
    number: u8,
    of: u8,
}

/// Not a text of one of these types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPointer {
    /// Not a [`StatusHost`].
    #[error("the host of status services is http://host[:port] without a slash at the end")]
    Host,
    /// Not an [`IssuerId`].
    #[error("an issuer is named by 32 lower-case hex digits")]
    Issuer,
    /// Not a [`CrlShard`].
    #[error("a part of a CRL is N-of-M, with N from 1 to M and M from 1 to 128")]
    Shard,
}

/// True when a certificate names an OCSP responder; never for bytes that are none. DER.
#[must_use]
pub fn has_ocsp(certificate: &[u8]) -> bool {
    Certificate::from_der(certificate).is_ok_and(|certificate| names_responder(certificate.tbs_certificate()))
}

/// Returns true when a TBSCertificate names an OCSP responder; never for bytes that are none. DER.
#[must_use]
pub fn tbs_has_ocsp(tbs: &[u8]) -> bool {
    TbsCertificate::from_der(tbs).is_ok_and(|tbs| names_responder(&tbs))
}

fn names_responder(tbs: &TbsCertificate) -> bool {
    let access = tbs.get_extension::<AuthorityInfoAccessSyntax>();
    access.is_ok_and(|access| {
        access.is_some_and(|(_, access)| access.0.iter().any(|access| access.access_method == ID_AD_OCSP))
    })
}

impl StatusHost {
    /// The URL of the OCSP responder.
    #[must_use]
    pub fn ocsp(&self) -> String {
        format!("{}{OCSP_PATH}", self.0)
    }

    /// The URL of a CRL in DER.
    #[must_use]
    pub fn crl(&self, issuer: IssuerId, shard: CrlShard) -> String {
        format!("{}/crl/{issuer}/{shard}.crl", self.0)
    }

    /// The URL of an issuer's certificate in DER (RFC 5280 §4.2.2.1).
    #[must_use]
    pub fn issuer(&self, issuer: IssuerId) -> String {
        format!("{}/issuer/{issuer}.der", self.0)
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IssuerId {
    /// The name of this issuer.
    #[must_use]
    pub fn of(issuer: &Issuer) -> Self {
        let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = issuer.fingerprint();
        Self(first)
    }
}

impl CrlShard {
    /// All certificates of an issuer.
    pub const COMPLETE: Self = Self { number: 1, of: 1 };

    /// Part `number` of `of`, counted from 1.
    ///
    /// # Errors
    /// [`BadPointer::Shard`].
    pub const fn new(number: u8, of: u8) -> Result<Self, BadPointer> {
        if of >= 1 && of <= 128 && number >= 1 && number <= of {
            Ok(Self { number, of })
        } else {
            Err(BadPointer::Shard)
        }
    }

    /// The part that a certificate is in, where there are `of` parts; a number of parts that cannot be counts as one.
    #[must_use]
    pub fn holding(serial: SerialNumber, of: u8) -> Self {
        let [first, ..] = *serial.as_bytes();
        match first.checked_rem(of) {
            Some(rest) if of <= 128 => Self { number: rest.saturating_add(1), of },
            _ => Self::COMPLETE,
        }
    }

    /// All parts, where there are `of`.
    pub fn all(of: u8) -> impl Iterator<Item = Self> {
        (1..=of.min(128)).map(move |number| Self { number, of })
    }

    /// True when this certificate is in this part.
    #[must_use]
    pub fn holds(self, serial: SerialNumber) -> bool {
        Self::holding(serial, self.of) == self
    }

    /// How many parts there are.
    #[must_use]
    pub const fn of(self) -> u8 {
        self.of
    }

    /// True when it is of all certificates of its issuer.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.of == 1
    }
}

impl FromStr for StatusHost {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let host = text.strip_prefix("http://").unwrap_or_default();
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']' | b'_');
        if host.is_empty() || !host.bytes().all(allowed) { Err(BadPointer::Host) } else { Ok(Self(text.to_owned())) }
    }
}

impl FromStr for IssuerId {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(BadPointer::Issuer);
        }
        u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes())).map_err(|_| BadPointer::Issuer)
    }
}

impl FromStr for CrlShard {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let (number, of) = text.split_once("-of-").ok_or(BadPointer::Shard)?;
        let parse = |text: &str| text.parse().map_err(|_| BadPointer::Shard);
        let shard = Self::new(parse(number)?, parse(of)?)?;
        if shard.to_string() == text { Ok(shard) } else { Err(BadPointer::Shard) }
    }
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CrlShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.number, self.of)
    }
}

impl TryFrom<String> for StatusHost {
    type Error = BadPointer;

    fn try_from(text: String) -> Result<Self, BadPointer> {
        text.parse()
    }
}

impl TryFrom<String> for IssuerId {
    type Error = BadPointer;

    fn try_from(text: String) -> Result<Self, BadPointer> {
        text.parse()
    }
}

impl TryFrom<String> for CrlShard {
    type Error = BadPointer;

    fn try_from(text: String) -> Result<Self, BadPointer> {
        text.parse()
    }
}

impl From<StatusHost> for String {
    fn from(host: StatusHost) -> Self {
        host.0
    }
}

impl From<IssuerId> for String {
    fn from(id: IssuerId) -> Self {
        id.to_string()
    }
}

impl From<CrlShard> for String {
    fn from(shard: CrlShard) -> Self {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_number_is_in_exactly_one_part() {
        for of in 1..=128_u8 {
            for first in 0..=127_u8 {
                let serial = SerialNumber::from_random([first; 16]);
                let holding: Vec<_> = CrlShard::all(of).filter(|shard| shard.holds(serial)).collect();
                assert_eq!(holding, [CrlShard::holding(serial, of)], "{first} of {of}");
            }
        }
    }

    #[test]
    fn parts_are_read_as_they_are_written_and_in_no_other_way() {
        let shard = CrlShard::new(3, 8).unwrap();
        assert_eq!((shard.to_string().as_str(), "3-of-8".parse()), ("3-of-8", Ok(shard)));
        for text in ["", "3", "0-of-8", "9-of-8", "1-of-0", "1-of-129", "03-of-8", "+3-of-8", "3-of-8 "] {
            assert_eq!(text.parse::<CrlShard>(), Err(BadPointer::Shard), "{text}");
        }
    }

    #[test]
    fn a_status_host_is_plain_http() {
        assert!("http://status.example:8080".parse::<StatusHost>().is_ok());
        assert!("http://[::1]:8080".parse::<StatusHost>().is_ok());
        for text in ["", "http://", "https://a", "http://a/", "http://a b", "http://a?b"] {
            assert_eq!(text.parse::<StatusHost>(), Err(BadPointer::Host), "{text}");
        }
    }
}
