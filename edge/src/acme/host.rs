//! Hosts that http-01 connects to. A redirect leads to a host, which is not an identifier of an order: it may have underscores
//! or a dot at its end, and no certificate is issued for it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use shared::identifier::{DnsName, Identifier};

/// The host of a URL (RFC 3986 §3.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name, which is resolved.
    Name(HostName),
    /// An address, which is not.
    Address(IpAddr),
}

/// A name that DNS can be asked for the addresses of: labels of letters, digits, hyphens and underscores, in lower case, without
/// the dot at the end. Never a text that reads as an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// The text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name")]
pub struct NotAHostName;

/// The longest name without the dot at its end, and the longest label, in bytes (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

impl Host {
    /// Parses the host of a URL: an IPv6 address in brackets, an IPv4 address in dotted decimal, or a name.
    ///
    /// # Errors
    /// [`NotAHostName`], also for another spelling of an IPv4 address (`0x7f.1`, `127.1`), which every resolver reads differently.
    pub fn parse(text: &str) -> Result<Self, NotAHostName> {
        match text.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
                address.map(|address| Self::Address(address.into())).ok_or(NotAHostName)
            }
            None => match text.parse::<std::net::Ipv4Addr>() {
                Ok(address) => Ok(Self::Address(address.into())),
                Err(_) => text.parse().map(Self::Name),
            },
        }
    }

    /// Returns the host as it stands in a URL: an IPv6 address is in brackets (RFC 3986 §3.2.2, RFC 8738 §4).
    #[must_use]
    pub fn in_url(&self) -> String {
        match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        }
    }
}

impl HostName {
    /// Returns the name in lower case, without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = NotAHostName;

    fn from_str(text: &str) -> Result<Self, NotAHostName> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed);
        if name.len() > MAX_NAME || !name.split('.').all(is_label) || name.rsplit('.').next().is_none_or(is_number) {
            return Err(NotAHostName);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

/// Whether a last label makes the name an IPv4 address for some parsers (decimal, octal or hexadecimal).
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

impl From<&DnsName> for HostName {
    /// A wildcard stands for the name that it is over.
    fn from(name: &DnsName) -> Self {
        Self(name.base().to_owned())
    }
}

impl From<&Identifier> for Host {
    fn from(identifier: &Identifier) -> Self {
        match identifier {
            Identifier::Dns(name) => Self::Name(name.into()),
            Identifier::Ip(address) => Self::Address(*address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.0),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls_are_names_and_addresses() {
        let table = [
            ("A.test", "a.test"),
            ("a.test.", "a.test"),
            ("my_host.a.test", "my_host.a.test"),
            ("-a.test", "-a.test"),
            ("intranet", "intranet"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ];
        for (text, expected) in table {
            assert_eq!(Host::parse(text).map(|host| host.in_url()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(64);
        let table = [
            "",
            ".",
            "..",
            "a..test",
            ".a.test",
            "a.test..",
            "*.a.test",
            "a b",
            "a@b",
            "\u{e4}.test",
            "%61.test",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0X7F",
            "192.0.2.01",
            "1.2.3.4.",
            "::1",
            "[::1",
            "[192.0.2.1]",
            "[fe80::1%1]",
            "[a.test]",
            &long,
        ];
        for text in table {
            assert_eq!(Host::parse(text), Err(NotAHostName), "{text}");
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(longest.parse::<HostName>().is_ok() && format!("{longest}.").parse::<HostName>().is_ok());
        assert!(format!("{longest}d").parse::<HostName>().is_err());
    }
}
