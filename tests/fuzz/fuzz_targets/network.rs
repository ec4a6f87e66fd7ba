//! Any address against any networks: no list opens what no list opens.
#![no_main]
use std::net::IpAddr;

use edge::acme::{network::Networks, own_hosts::OwnHosts};

libfuzzer_sys::fuzz_target!(|data: (u128, u32, bool)| {
    let (six, four, loopback) = data;
    let everything = ["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()).collect();
    let networks = Networks { loopback, listed: everything, own: OwnHosts::new(Vec::new()) };
    let public = Networks { loopback: false, listed: Vec::new(), own: OwnHosts::new(Vec::new()) };
    for address in [IpAddr::from(six.to_be_bytes()), IpAddr::from(four.to_be_bytes())] {
        assert!(!public.permit(address) || networks.permit(address), "a list takes nothing away: {address}");
        if networks.permit(address) {
            assert!(loopback || !address.is_loopback());
            assert!(!address.is_unspecified() && !address.is_multicast());
            match address {
                IpAddr::V4(address) => assert!(!address.is_link_local() && !address.is_broadcast()),
                IpAddr::V6(address) => assert!(address.to_ipv4_mapped().is_none()),
            }
        }
    }
});
