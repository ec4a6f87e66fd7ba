//! Identifiers that a certificate may carry: DNS names, with or without a wildcard, and IP addresses (RFC 8555 §7.1.3, RFC 8738).

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

pub use crate::dns_name::DnsName;

/// What a certificate speaks for. On the wire `{"type": "dns", "value": "a.example"}` (RFC 8555 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IdentifierObject", into = "IdentifierObject")]
pub enum Identifier {
    /// A DNS name, or a wildcard of one label over it.
    Dns(DnsName),
    /// An IPv4 or IPv6 address (RFC 8738 §3); never an IPv4 address inside of an IPv6 one.
    Ip(IpAddr),
}

/// The wire form of an [`Identifier`]: any type, any text. Parsed into an `Identifier` before anything looks at it.
/// Source: RFC 8555 §7.1.3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentifierObject {
    /// `dns` or `ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name or the address as text.
    pub value: String,
}

/// Why a text is not an identifier. Each is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIdentifier {
    /// Neither `dns` nor `ip`.
    #[error("only identifiers of type \"dns\" and \"ip\" are known")]
    UnknownType,
    /// No characters.
    #[error("the name is empty")]
    Empty,
    /// A label without characters.
    #[error("a label is empty: there is a dot at the beginning, or two in a row")]
    EmptyLabel,
    /// A dot at the end. Not folded: the name that is asked for is the one that a certificate carries, and that has none
    /// (RFC 5280 §4.2.1.6), so the order, the CSR and the client's own list would name it in two ways.
    #[error("leave out the dot at the end")]
    TrailingDot,
    /// Longer than 253 bytes.
    #[error("a DNS name has at most 253 bytes")]
    NameTooLong,
    /// A label longer than 63 bytes.
    #[error("a label has at most 63 bytes")]
    LabelTooLong,
    /// A character that is not ASCII.
    #[error("write labels of other scripts as A-labels (xn--…); idn2 and most libraries for names convert them")]
    NotAscii,
    /// A label that begins with `xn--` and stands for no U-label in its one spelling (RFC 5890 §2.3.2.1).
    #[error("a label that begins with xn-- is not an A-label; convert the name from its own script again")]
    BadALabel,
    /// An underscore.
    #[error("a host name has no underscore; rename the host")]
    Underscore,
    /// A hyphen at an end of a label.
    #[error("a label neither begins nor ends with a hyphen")]
    EdgeHyphen,
    /// Any other byte that is no letter, digit or hyphen.
    #[error("a label has letters, digits and hyphens only")]
    BadCharacter,
    /// `*` anywhere but as the whole first label, or with nothing below it.
    #[error("a wildcard is the whole first label, over a name of its own")]
    BadWildcard,
    /// A wildcard over an address.
    #[error("a wildcard is over a name, never over an address; list the addresses")]
    WildcardAddress,
    /// An address, or the last label is a number, so that the text reads as one.
    #[error("the name reads as an address; give an address as an identifier of type \"ip\"")]
    LooksLikeAddress,
    /// Not the text form of RFC 5952 or dotted decimal.
    #[error("not an IPv4 or IPv6 address in its canonical text form: dotted decimal, or as in RFC 5952")]
    BadAddress,
    /// An IPv6 address that stands for an IPv4 address.
    #[error("the address is an IPv4 address inside of an IPv6 one; give the IPv4 address")]
    MappedAddress,
}

impl Identifier {
    /// An address of either family; nothing for an IPv4 address inside of an IPv6 one.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Option<Self> {
        (!is_mapped(address)).then_some(Self::Ip(address))
    }

    /// The address of an iPAddress name of a certificate or a CSR: 4 or 16 octets (RFC 5280 §4.2.1.6). Nothing for any
    /// other number of them, and as [`Self::of_address`].
    #[must_use]
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        match octets.len() {
            4 => Self::of_address(<[u8; 4]>::try_from(octets).ok()?.into()),
            _ => Self::of_address(<[u8; 16]>::try_from(octets).ok()?.into()),
        }
    }
}

impl TryFrom<IdentifierObject> for Identifier {
    type Error = NotAnIdentifier;

    fn try_from(object: IdentifierObject) -> Result<Self, NotAnIdentifier> {
        match object.kind.as_str() {
            "dns" => object.value.parse().map(Self::Dns),
            "ip" => parse_address(&object.value).map(Self::Ip),
            _ => Err(NotAnIdentifier::UnknownType),
        }
    }
}

impl From<Identifier> for IdentifierObject {
    fn from(identifier: Identifier) -> Self {
        let kind = match identifier {
            Identifier::Dns(_) => "dns",
            Identifier::Ip(_) => "ip",
        };
        Self { kind: kind.to_owned(), value: identifier.to_string() }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Canonical text only, so that one address has one spelling (RFC 8738 §3, RFC 5952).
fn parse_address(text: &str) -> Result<IpAddr, NotAnIdentifier> {
    if text.strip_prefix("*.").is_some_and(|rest| rest.parse::<IpAddr>().is_ok()) {
        return Err(NotAnIdentifier::WildcardAddress);
    }
    let address: IpAddr = text.parse().map_err(|_| NotAnIdentifier::BadAddress)?;
    match address {
        address if is_mapped(address) => Err(NotAnIdentifier::MappedAddress),
        address if address.to_string() == text => Ok(address),
        _ => Err(NotAnIdentifier::BadAddress),
    }
}

/// True for `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form_is_type_and_value() {
        let identifier: Identifier = serde_json::from_str(r#"{"type":"dns","value":"*.A.test"}"#).unwrap();
        assert_eq!(serde_json::to_string(&identifier).unwrap(), r#"{"type":"dns","value":"*.a.test"}"#);
        assert!(serde_json::from_str::<Identifier>(r#"{"type":"email","value":"a@b.test"}"#).is_err());
    }

    #[test]
    fn one_address_has_one_spelling() {
        let parse = |text: &str| Identifier::try_from(IdentifierObject { kind: "ip".into(), value: text.into() });
        for text in ["192.0.2.1", "2001:db8::1", "::1", "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let elsewhere = ["2001:DB8::1", "2001:db8:0::1", "2001:db8:0:0:1::1", "2001:0db8::1", "::0.0.0.1", "fe80::1%1"];
        let others =
            ["", "192.0.2.01", "0xc0.0.2.1", "[::1]", "1.2.3", "192.0.2.0/24", "192.0.2.1.", "a.test", "*.a.test"];
        for text in elsewhere.into_iter().chain(others) {
            assert_eq!(parse(text), Err(NotAnIdentifier::BadAddress), "{text}");
        }
        for text in ["::ffff:192.0.2.1", "::ffff:c000:201", "::FFFF:127.0.0.1"] {
            assert_eq!(parse(text), Err(NotAnIdentifier::MappedAddress), "{text}");
        }
        for text in ["*.192.0.2.1", "*.::1"] {
            assert_eq!(parse(text), Err(NotAnIdentifier::WildcardAddress), "{text}");
        }
    }

    #[test]
    fn octets_of_a_certificate_are_an_address_of_one_family() {
        let text = |octets: &[u8]| Identifier::from_octets(octets).map(|identifier| identifier.to_string());
        assert_eq!(text(&[192, 0, 2, 1]).unwrap(), "192.0.2.1");
        assert_eq!(text(&std::net::Ipv6Addr::LOCALHOST.octets()).unwrap(), "::1");
        assert_eq!(text(&std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets()), None);
        // An address with a mask is a name constraint's (RFC 5280 §4.2.1.10).
        assert!([0, 3, 5, 8, 15, 17, 32].iter().all(|length| text(&vec![1; *length]).is_none()));
    }
}
