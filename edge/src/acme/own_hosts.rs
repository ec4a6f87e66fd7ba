//! Where probes never go, whatever networks are listed: the deployment's own hosts. A client must not have them ask
//! themselves, or a signer.

use std::net::IpAddr;

use shared::network::Network;

use super::{host::HostName, network::carried};

/// Own hosts, by name and by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnHosts {
    /// In lower case.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    networks: Vec<Network>,
}

/// Every machine's name for itself (RFC 6761 §6.3), so no name of ours.
const LOCALHOST: &str = "localhost";

impl OwnHosts {
    /// These networks. Names come by [`Self::add_url`].
    #[must_use]
    pub const fn new(networks: Vec<Network>) -> Self {
        Self { names: Vec::new(), addresses: Vec::new(), networks }
    }

    /// The host of a URL `https://host[:port]` too.
    pub fn add_url(&mut self, url: &str) {
        let authority = url.strip_prefix("https://").unwrap_or(url);
        let end = authority.rfind(':').filter(|colon| !authority.get(*colon..).unwrap_or_default().contains(']'));
        let host = authority.get(..end.unwrap_or(authority.len())).unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(address) => self.addresses.push(address),
            Err(_) if host.eq_ignore_ascii_case(LOCALHOST) => {}
            Err(_) => self.names.push(host.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    /// True when the name is an own host's.
    #[must_use]
    pub fn have_name(&self, name: &HostName) -> bool {
        self.names.iter().any(|own| own == name.as_str())
    }

    /// True when the address, or an IPv4 address that it carries, is an own host's.
    #[must_use]
    pub fn have_address(&self, address: IpAddr) -> bool {
        let own = |address: IpAddr| {
            self.addresses.contains(&address) || self.networks.iter().any(|network| network.contains(address))
        };
        own(address) || carried(address).into_iter().any(|carried| own(carried.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(urls: &[&str], networks: &[&str]) -> OwnHosts {
        let mut own = OwnHosts::new(networks.iter().map(|text| text.parse().unwrap()).collect());
        urls.iter().for_each(|url| own.add_url(url));
        own
    }

    #[test]
    fn hosts_of_urls_are_own_by_name() {
        let own = own(&["https://Acme.test:14000", "https://signer.test", "https://localhost:1"], &[]);
        for (name, is_own) in [
            ("acme.test", true),
            ("signer.test", true),
            ("x.acme.test", false),
            ("test", false),
            ("localhost", false),
            ("ACME.test.", true),
        ] {
            assert_eq!(own.have_name(&name.parse().unwrap()), is_own, "{name}");
        }
    }

    #[test]
    fn addresses_of_urls_and_refused_networks_are_own_in_every_form() {
        let own = own(&["https://10.1.2.3:9443", "https://[fd00::1]:9443", "https://[fd00::2]"], &["10.9.0.0/16"]);
        for address in ["10.1.2.3", "fd00::1", "fd00::2", "10.9.8.7", "::ffff:10.9.8.7", "64:ff9b::10.9.8.7"] {
            assert!(own.have_address(address.parse().unwrap()), "{address}");
        }
        for address in ["10.1.2.4", "fd00::3", "10.8.0.1", "64:ff9b::10.8.0.1"] {
            assert!(!own.have_address(address.parse().unwrap()), "{address}");
        }
    }
}
