//! IP networks, as operators list them: `10.0.0.0/8`, `fd00::/8` (RFC 4632 §3.1, RFC 4291 §2.3).

use std::{fmt, net::IpAddr, str::FromStr};

/// The addresses that share a prefix. An IPv4 network holds no IPv6 address and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its bits beyond the prefix are zero.
    first: IpAddr,
    /// Bits, at most as many as the address has.
    prefix: u32,
}

/// The text is not a network in its one spelling, so that a slip of the pen is not taken for another network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is an address and the length of its prefix, without bits beyond it: 10.0.0.0/8, fd00::/8")]
pub struct NotANetwork;

impl Network {
    /// True when the address is in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, width) = bits(self.first);
        let (bits, other_width) = bits(address);
        // A shift by all bits leaves none.
        let beyond = width.saturating_sub(self.prefix);
        width == other_width && (first ^ bits).checked_shr(beyond).unwrap_or(0) == 0
    }

    /// The address and the mask, 4 or 16 bytes each, as name constraints have them (RFC 5280 §4.2.1.10).
    #[must_use]
    pub fn octets_and_mask(&self) -> Vec<u8> {
        let (_, width) = bits(self.first);
        let mask = u128::MAX.checked_shl(width.saturating_sub(self.prefix)).unwrap_or(0);
        match self.first {
            IpAddr::V4(address) => {
                let [.., a, b, c, d] = mask.to_be_bytes();
                [address.octets(), [a, b, c, d]].concat()
            }
            IpAddr::V6(address) => [address.octets(), mask.to_be_bytes()].concat(),
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = text.split_once('/').ok_or(NotANetwork)?;
        let first: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let network = Self { first, prefix: prefix.parse().map_err(|_| NotANetwork)? };
        let (bits, width) = bits(first);
        let beyond = width.checked_sub(network.prefix).ok_or(NotANetwork)?;
        let is_first = bits.trailing_zeros() >= beyond;
        if is_first && network.to_string() == text { Ok(network) } else { Err(NotANetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The address as a number, and how many bits its family has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix() {
        let table = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("128.0.0.0/1", "255.0.0.0", true),
            ("128.0.0.0/1", "127.255.255.255", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/32", "0.0.0.0", true),
            ("::/0", "ffff::1", true),
            ("8000::/1", "7fff::", false),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1/128", "::1", true),
            ("::/0", "127.0.0.1", false),
        ];
        for (network, address, inside) in table {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn a_network_in_a_certificate_is_its_address_and_its_mask() {
        let table: [(&str, &[u8]); 4] = [
            ("10.0.0.0/8", &[10, 0, 0, 0, 255, 0, 0, 0]),
            ("0.0.0.0/0", &[0; 8]),
            ("192.0.2.128/25", &[192, 0, 2, 128, 255, 255, 255, 128]),
            ("192.0.2.1/32", &[192, 0, 2, 1, 255, 255, 255, 255]),
        ];
        for (network, octets) in table {
            assert_eq!(network.parse::<Network>().unwrap().octets_and_mask(), octets, "{network}");
        }
        let octets = "fd00::/8".parse::<Network>().unwrap().octets_and_mask();
        assert_eq!((octets.len(), octets[0], octets[16], octets[17]), (32, 0xfd, 0xff, 0));
        assert_eq!("::/0".parse::<Network>().unwrap().octets_and_mask(), [0; 32]);
    }

    #[test]
    fn one_network_has_one_spelling() {
        for text in ["10.0.0.0/8", "::/0", "2001:db8::/32"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10/8",
            "10.0.0.0/255.0.0.0",
            "fd00::1/8",
            "FD00::/8",
            "::/129",
            " ::/0",
            "a.test/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
