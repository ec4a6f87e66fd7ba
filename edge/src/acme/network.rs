//! Where a probe may go. Applied after resolution, to the very address that is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The networks that probes may connect to: everything that is globally reachable, and loopback where a throwaway stack
/// allows it. Everything else is refused: private, link-local (and so metadata services), shared, benchmarking,
/// documentation, multicast and reserved networks, and IPv6 forms that carry an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Networks {
    /// Loopback too.
    pub loopback: bool,
}

impl Networks {
    /// True when a probe may connect to this address.
    #[must_use]
    pub fn permit(self, address: IpAddr) -> bool {
        (self.loopback && address.is_loopback())
            || match address {
                IpAddr::V4(address) => is_global_v4(address),
                IpAddr::V6(address) => is_global_v6(address),
            }
    }
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

    const PUBLIC: Networks = Networks { loopback: false };
    const THROWAWAY: Networks = Networks { loopback: true };

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
}
