//! Identifiers that a certificate may carry: DNS names, with or without a wildcard, and IP addresses (RFC 8555 §7.1.3, RFC 8738).

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a certificate speaks for. On the wire `{"type": "dns", "value": "a.example"}` (RFC 8555 §7.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IdentifierObject", into = "IdentifierObject")]
pub enum Identifier {
    /// A DNS name, or a wildcard of one label over it.
    Dns(DnsName),
    /// An IPv4 or IPv6 address (RFC 8738 §3).
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

/// A DNS name in canonical form: lower case, A-labels, no trailing dot, at most 253 bytes; possibly `*.` before it.
/// Never a single `*`, never a wildcard elsewhere. Source: RFC 5280 §4.2.1.6, RFC 8555 §7.1.3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// Why a text is not an identifier. Each is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIdentifier {
    /// Neither `dns` nor `ip`.
    #[error("only identifiers of type \"dns\" and \"ip\" are known")]
    UnknownType,
    /// No characters, or an empty label.
    #[error("the name is empty or has an empty label (a leading, doubled or trailing dot)")]
    EmptyLabel,
    /// Longer than 253 bytes, or a label longer than 63.
    #[error("a DNS name has at most 253 bytes and a label at most 63")]
    TooLong,
    /// A byte that is no letter, digit or hyphen, or a hyphen at an end of a label.
    #[error("a label has letters, digits and inner hyphens only; write other scripts as A-labels (xn--…)")]
    BadCharacter,
    /// `*` anywhere but as the whole first label, or with nothing below it.
    #[error("a wildcard is the whole first label, over a name of its own")]
    BadWildcard,
    /// The last label is a number, so the text reads as an address.
    #[error("the last label is a number; give an address as an identifier of type \"ip\"")]
    LooksLikeAddress,
    /// Not the text form of RFC 5952 or dotted decimal.
    #[error("not an IPv4 or IPv6 address in its canonical text form")]
    BadAddress,
}

impl DnsName {
    /// The name as text, with its `*.` where it is a wildcard.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name below the wildcard; the name itself when there is none.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The same name without its wildcard.
    #[must_use]
    pub fn without_wildcard(&self) -> Self {
        Self(self.base().to_owned())
    }

    /// True when the name is `suffix` or ends in `.suffix`. `suffix` is in canonical form.
    #[must_use]
    pub fn is_within(&self, suffix: &str) -> bool {
        let base = self.base();
        base.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for DnsName {
    type Err = NotAnIdentifier;

    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        if text.len() > 253 {
            return Err(NotAnIdentifier::TooLong);
        }
        let name = text.to_ascii_lowercase();
        let base = match name.strip_prefix("*.") {
            Some(base) => base,
            None if name.contains('*') => return Err(NotAnIdentifier::BadWildcard),
            None => &name,
        };
        base.split('.').try_for_each(check_label)?;
        let last = base.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAnIdentifier::LooksLikeAddress);
        }
        Ok(Self(name))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

fn check_label(label: &str) -> Result<(), NotAnIdentifier> {
    match label.as_bytes() {
        [] => Err(NotAnIdentifier::EmptyLabel),
        bytes if bytes.len() > 63 => Err(NotAnIdentifier::TooLong),
        [b'*'] => Err(NotAnIdentifier::BadWildcard),
        [b'-', ..] | [.., b'-'] => Err(NotAnIdentifier::BadCharacter),
        bytes if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => Ok(()),
        _ => Err(NotAnIdentifier::BadCharacter),
    }
}

/// Canonical text only, so that one address has one spelling (RFC 8738 §3, RFC 5952).
fn parse_address(text: &str) -> Result<IpAddr, NotAnIdentifier> {
    let address: IpAddr = text.parse().map_err(|_| NotAnIdentifier::BadAddress)?;
    if address.to_string() == text { Ok(address) } else { Err(NotAnIdentifier::BadAddress) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(text: &str) -> Result<DnsName, NotAnIdentifier> {
        text.parse()
    }

    #[test]
    fn names_are_folded_to_lower_case() {
        assert_eq!(dns("A.Example").unwrap().as_str(), "a.example");
    }

    #[test]
    fn what_is_not_a_name_says_why() {
        use NotAnIdentifier::*;
        let long_label = "a".repeat(64) + ".test";
        let long_name = "a.".repeat(126) + "test";
        let table = [
            ("", EmptyLabel),
            (".", EmptyLabel),
            ("a.test.", EmptyLabel),
            ("a..test", EmptyLabel),
            (&long_label, TooLong),
            (&long_name, TooLong),
            ("-a.test", BadCharacter),
            ("a-.test", BadCharacter),
            ("a_b.test", BadCharacter),
            ("ä.test", BadCharacter),
            ("a b.test", BadCharacter),
            ("*", BadWildcard),
            ("a.*.test", BadWildcard),
            ("*.*.test", BadWildcard),
            ("a*.test", BadWildcard),
            ("*.", EmptyLabel),
            ("1.2.3.4", LooksLikeAddress),
        ];
        for (text, why) in table {
            assert_eq!(dns(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_suffix_matches_whole_labels_only() {
        let name = dns("*.a.test").unwrap();
        assert!(name.is_wildcard() && name.is_within("test") && name.is_within("a.test"));
        assert!(!name.is_within("est") && !name.is_within("b.a.test"));
        assert!(!dns("atest").unwrap().is_within("test"));
    }

    #[test]
    fn wire_form_is_type_and_value() {
        let identifier: Identifier = serde_json::from_str(r#"{"type":"dns","value":"*.A.test"}"#).unwrap();
        assert_eq!(serde_json::to_string(&identifier).unwrap(), r#"{"type":"dns","value":"*.a.test"}"#);
        assert!(serde_json::from_str::<Identifier>(r#"{"type":"email","value":"a@b.test"}"#).is_err());
    }

    #[test]
    fn one_address_has_one_spelling() {
        let parse = |text: &str| Identifier::try_from(IdentifierObject { kind: "ip".into(), value: text.into() });
        assert!(parse("192.0.2.1").is_ok() && parse("2001:db8::1").is_ok());
        for text in ["192.0.2.01", "0xc0.0.2.1", "2001:DB8::1", "2001:db8:0::1", "::ffff:c000:201", "[::1]", "1.2.3"] {
            assert_eq!(parse(text), Err(NotAnIdentifier::BadAddress), "{text}");
        }
    }
}
