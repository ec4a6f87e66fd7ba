//! Where a probe may go. Applied after resolution, to the very address that is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::network::Network;

use super::own_hosts::OwnHosts;

/// The networks that probes may connect to: everything that is globally reachable, and what an operator lists. Everything
/// else is refused: private, link-local, shared, benchmarking, documentation, multicast and reserved networks, and IPv6
/// forms that carry an IPv4 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    /// Loopback too, where a throwaway stack allows it.
    pub loopback: bool,
    /// These too, less what no list opens: see [`Self::permit`].
    pub listed: Vec<Network>,
    /// Never these.
    pub own: OwnHosts,
}

impl Networks {
    /// True when a probe may connect to this address. However wide the listed networks are: loopback is for throwaway stacks
    /// alone, and never permitted are addresses that are nobody's own (unspecified, multicast, broadcast), metadata services,
    /// own hosts, an IPv4 address spelled as an IPv6 one, and an IPv6 address that carries an IPv4 address which is not itself permitted.
    #[must_use]
    pub fn permit(&self, address: IpAddr) -> bool {
        let global = match address {
            IpAddr::V4(address) => is_global_v4(address),
            IpAddr::V6(address) => is_global_v6(address),
        };
        if address.is_loopback() {
            return self.loopback && !self.own.have_address(address);
        }
        let listed = self.listed.iter().any(|network| network.contains(address));
        let reaches = |carried: Ipv4Addr| !carried.is_loopback() && self.permit(carried.into());
        (global || listed)
            && !is_nobodys_own(address)
            && !is_metadata(address)
            && !self.own.have_address(address)
            && carried(address).into_iter().all(reaches)
    }
}

/// Unspecified, multicast and broadcast addresses, "this network" (RFC 1122 §3.2.1.3: some systems take `0.1.2.3` for
/// themselves), and `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const fn is_nobodys_own(address: IpAddr) -> bool {
    let other = match address {
        IpAddr::V4(address) => address.is_broadcast() || matches!(address.octets(), [0, ..]),
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    other || address.is_unspecified() || address.is_multicast()
}

/// Where clouds tell a machine its secrets: link-local addresses (169.254.169.254 and its neighbours) and the few others that
/// are known, one of them public.
const fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_link_local()
                || matches!(address.octets(), [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16])
        }
        IpAddr::V6(address) => {
            matches!(address.segments(), [0xfe80..=0xfebf, ..] | [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..])
        }
    }
}

/// The IPv4 addresses that a packet to this address may be sent on to: none for an IPv4 address. In turn of a mapped or compatible
/// address (RFC 4291 §2.5.5), a translated one (RFC 7915 §2), NAT64's (RFC 6052 §2.1; of the local-use prefix of RFC 8215
/// every way to write one, RFC 6052 §2.2), 6to4's (RFC 3056 §2), Teredo's server and client (RFC 4380 §4), ISATAP's (RFC
/// 5214 §6.1).
pub(super) fn carried(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let of = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => vec![of(high, low)],
        [0x0064, 0xff9b, 1, ..] => local_use(address),
        [0x2001, 0, server_high, server_low, _, _, high, low] => vec![of(server_high, server_low), of(!high, !low)],
        _ => Vec::new(),
    }
}

/// Behind a prefix of 48, 56, 64 and 96 bits; the octet of bits 64 to 71 is never part of the IPv4 address (RFC 6052 §2.2).
fn local_use(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [_, _, _, _, _, _, a, b, _, c, d, e, f, g, h, i] = address.octets();
    let behind = [[a, b, c, d], [b, c, d, e], [c, d, e, f], [f, g, h, i]];
    // One of zeros is the prefix, or the suffix, of another.
    behind.into_iter().filter(|octets| !matches!(octets, [0, ..])).map(Ipv4Addr::from).collect()
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
    use proptest::prelude::*;

    use super::*;

    const PUBLIC: Networks = Networks { loopback: false, listed: Vec::new(), own: OwnHosts::new(Vec::new()) };
    const THROWAWAY: Networks = Networks { loopback: true, listed: Vec::new(), own: OwnHosts::new(Vec::new()) };

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
            "0.255.255.255",
            "100.127.255.255",
            "168.63.129.16",
            "172.31.255.255",
            "192.88.99.1",
            "198.19.255.255",
            "239.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "100::1",
            "2001:20::1",
            "2001:0:808:808::f7f7:f7f7",
            "2001::1",
            "2001:db8::1",
            "2002:808:808::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "5f00::1",
            "3fff::1",
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
    fn an_address_that_carries_another_is_permitted_only_where_both_are() {
        let table = [
            ("64:ff9b::/96", "64:ff9b::10.0.0.1"),
            ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"),
            ("64:ff9b:1::/48", "64:ff9b:1:a00:0:100::"),
            ("2002::/16", "2002:a00:1::1"),
            ("2001::/32", "2001:0:808:808::f5ff:fffe"),
            ("2001::/32", "2001:0:a00:1::f7f7:f7f7"),
            ("::/96", "::10.0.0.1"),
            ("::ffff:0:0:0/96", "::ffff:0:10.0.0.1"),
            ("fd12::/16", "fd12::5efe:10.0.0.1"),
        ];
        for (network, address) in table {
            assert!(!listed(&[network]).permit(address.parse().unwrap()), "{address}");
            assert!(listed(&[network, "10.0.0.0/8"]).permit(address.parse().unwrap()), "{address}");
        }
        assert!(!PUBLIC.permit("2606:4700::5efe:10.0.0.1".parse().unwrap()), "ISATAP in a global network");
        assert!(PUBLIC.permit("2606:4700::5efe:8.8.8.8".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn what_lists_permit_is_never_what_no_list_opens(
            high in any::<u64>(),
            low in any::<u64>(),
            prefix in prop::sample::select(vec!["", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "2002::", "2001::", "fe80::", "ff02::", "fd00::"]),
            short in any::<bool>(),
            loopback in any::<bool>(),
        ) {
            let (prefix, shift): (Ipv6Addr, u32) = match prefix.parse() {
                Ok(prefix) => (prefix, if short { 48 } else { 96 }),
                Err(_) => (Ipv6Addr::UNSPECIFIED, 0),
            };
            let random = (u128::from(high) << 64) | u128::from(low);
            let six = Ipv6Addr::from_bits(prefix.to_bits() | (random >> shift));
            let four = Ipv4Addr::from_bits(u32::try_from(low >> 32).unwrap());
            let everything = Networks { loopback, ..listed(&["0.0.0.0/0", "::/0"]) };
            for address in [IpAddr::V6(six), IpAddr::V4(four)] {
                prop_assert!(!PUBLIC.permit(address) || everything.permit(address), "{address}");
                for carried in carried(address) {
                    prop_assert!(!everything.permit(address) || everything.permit(carried.into()), "{address}");
                    prop_assert!(!PUBLIC.permit(address) || PUBLIC.permit(carried.into()), "{address}");
                }
                if everything.permit(address) {
                    prop_assert!(loopback || !address.is_loopback());
                    prop_assert!(!address.is_unspecified() && !address.is_multicast() && !is_metadata(address));
                }
            }
        }
    }

    #[test]
    fn no_list_is_wide_enough_for_metadata_loopback_and_addresses_that_are_nobodys_own() {
        let networks =
            listed(&["0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/32", "127.0.0.0/8", "fd00:ec2::254/128"]);
        assert!(networks.permit("172.16.0.1".parse().unwrap()) && networks.permit("fd00:ec1::254".parse().unwrap()));
        let through = ["64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:a00:1::1", "2001:0:a00:1::f5ff:fffe"];
        for address in through {
            assert!(networks.permit(address.parse().unwrap()), "{address}: a translator's address of the estate");
        }
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
            "0.1.2.3",
            "168.63.129.16",
            "64:ff9b::127.0.0.1",
            "64:ff9b::0.0.0.0",
            "64:ff9b::224.0.0.1",
            "2002:7f00:1::1",
            "::ffff:0:127.0.0.1",
            "::ffff:0:169.254.169.254",
            "::127.0.0.1",
            "2001:0:a9fe:a9fe::f5ff:fffe",
            "2001:0:808:808::5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:127.0.0.1",
            "2606:4700::5efe:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1::a9:fea9:fe00:0",
        ];
        for address in table {
            assert!(!networks.permit(address.parse().unwrap()), "{address}");
        }
    }
}
