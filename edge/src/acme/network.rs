//! Where a probe may go. Applied after resolution, to the very address that is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::network::Network;

/// The networks that probes may connect to: everything that is globally reachable, and what an operator lists. Everything
/// else is refused: private, link-local, shared, benchmarking, documentation, multicast and reserved networks, and IPv6
/// forms that carry an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    /// Loopback too, where a throwaway stack allows it.
    pub loopback: bool,
    /// These too, less what no list opens: see [`Self::permit`].
    pub listed: Vec<Network>,
}

impl Networks {
    /// True when a probe may connect to this address. However wide the listed networks are: loopback is for throwaway stacks
    /// alone, and never permitted are addresses that are nobody's own (unspecified, multicast, broadcast), metadata services,
    /// and an IPv4 address spelled as an IPv6 one.
    #[must_use]
    pub fn permit(&self, address: IpAddr) -> bool {
        let global = match address {
            IpAddr::V4(address) => is_global_v4(address),
            IpAddr::V6(address) => is_global_v6(address),
        };
        if address.is_loopback() {
            return self.loopback;
        }
        let listed = self.listed.iter().any(|network| network.contains(address));
        (global || listed) && !is_nobodys_own(address) && !is_metadata(address)
    }
}

/// Unspecified, multicast and broadcast addresses, and `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const fn is_nobodys_own(address: IpAddr) -> bool {
    let other = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    other || address.is_unspecified() || address.is_multicast()
}

/// Where clouds tell a machine its secrets: link-local addresses (169.254.169.254 and its neighbours) and the few others that
/// are known, also where an IPv6 address carries them for a translator (RFC 6052 §2.1, RFC 3056 §2).
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local() || matches!(address.octets(), [100, 100, 100, 200] | [192, 0, 0, 192])
        }
        IpAddr::V6(address) => {
            let named =
                matches!(address.segments(), [0xfe80..=0xfebf, ..] | [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..]);
            named || carried(address).is_some_and(|carried| is_metadata(carried.into()))
        }
    }
}

/// The IPv4 address in an IPv6 address of a translator or of 6to4.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x0064, 0xff9b, _, _, _, _, high, low] | [0, 0, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            (high, low)
        }
        _ => return None,
    };
    Some(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
}

/// The IANA special-purpose registry for IPv4 (RFC 6890 and its updates), read as a deny-list.
fn is_global_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || matches!(
            octets,
            [0 | 240..=255, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..]
        ))
}

/// Global unicast (2000::/3) less what in it is special: Teredo, ORCHID, documentation, benchmarking and 6to4.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global_unicast = matches!(segments, [0x2000..=0x3fff, ..]);
    let special =
        matches!(segments, [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..]);
    global_unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: Networks = Networks { loopback: false, listed: Vec::new() };
    const THROWAWAY: Networks = Networks { loopback: true, listed: Vec::new() };

    fn listed(networks: &[&str]) -> Networks {
        Networks { listed: networks.iter().map(|text| text.parse().unwrap()).collect(), ..PUBLIC }
    }

    #[test]
    fn globally_reachable_addresses_are_permitted() {
        for address in ["8.8.8.8", "198.41.0.4", "2606:4700::1111", "2a00:1450::1"] {
            assert!(PUBLIC.permit(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn special_addresses_and_forms_that_hide_them_are_refused() {
        let table = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:808:808::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ];
        for address in table {
            assert!(!PUBLIC.permit(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn loopback_is_for_throwaway_stacks_only() {
        for address in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert!(THROWAWAY.permit(address.parse().unwrap()), "{address}");
        }
        assert!(!THROWAWAY.permit("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!THROWAWAY.permit("169.254.169.254".parse().unwrap()));
    }
    #[test]
    fn listed_networks_are_permitted_beside_the_global_ones() {
        let networks = listed(&["10.0.0.0/8", "192.168.7.0/24", "fd12::/16"]);
        for address in ["10.0.0.1", "10.255.255.255", "192.168.7.9", "fd12::1", "8.8.8.8", "2606:4700::1111"] {
            assert!(networks.permit(address.parse().unwrap()), "{address}");
        }
        for address in ["172.16.0.1", "192.168.8.1", "fd13::1", "127.0.0.1", "::1", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!networks.permit(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn no_list_is_wide_enough_for_metadata_loopback_and_addresses_that_are_nobodys_own() {
        let networks =
            listed(&["0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/32", "127.0.0.0/8", "fd00:ec2::254/128"]);
        assert!(networks.permit("172.16.0.1".parse().unwrap()) && networks.permit("fd00:ec1::254".parse().unwrap()));
        assert!(networks.permit("64:ff9b::10.0.0.1".parse().unwrap()), "a translator's address of the estate");
        let table = [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fe80::a9fe:a9fe",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ];
        for address in table {
            assert!(!networks.permit(address.parse().unwrap()), "{address}");
        }
    }
}
