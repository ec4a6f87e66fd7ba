//! Bytes of strangers as the certificate of a tls-alpn-01 handshake.
#![no_main]
use edge::acme::tls_alpn::{Handshake, PROTOCOL, Version, check};
use shared::identifier::Identifier;
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let handshake = Handshake { certificate: data.to_vec(), protocol: Some(PROTOCOL.to_vec()), version: Version::Tls13 };
    for identifier in ["192.0.2.7".parse().map(Identifier::Ip).ok(), "a.test".parse().map(Identifier::Dns).ok()] {
        drop(identifier.map(|identifier| check(&handshake, &identifier, "token.thumbprint")));
    }
});
