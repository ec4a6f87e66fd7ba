//! Bytes of strangers as where a redirect leads, from a name and from an address, again and again.
#![no_main]
use edge::acme::{
    host::Host,
    probe_redirect::{HttpTarget, Ports},
};
use shared::identifier::{Identifier, IdentifierObject};

const PORTS: Ports = Ports { http: 80, https: 443 };

libfuzzer_sys::fuzz_target!(|location: &[u8]| {
    for (kind, value) in [("dns", "a.test"), ("ip", "192.0.2.1"), ("ip", "2001:db8::1")] {
        let host = IdentifierObject { kind: kind.to_owned(), value: value.to_owned() };
        let Ok(host) = Identifier::try_from(host) else { return };
        let first = HttpTarget::challenge(&host, "token");
        let Ok(second) = first.redirect(location, PORTS) else { continue };
        assert!(second.path.starts_with('/') && second.path.bytes().all(|byte| byte.is_ascii_graphic()));
        // An address leads to names and to itself alone.
        assert!(matches!(second.host, Host::Name(_)) || second.host == first.host);
        let _ = second.redirect(location, PORTS);
    }
});
