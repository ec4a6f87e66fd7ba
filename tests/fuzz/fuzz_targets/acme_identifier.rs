//! Bytes of strangers as the certificate of a tls-alpn-01 handshake: none of them has a digest that is not known yet.
#![no_main]
use edge::acme::tls_alpn::{Handshake, PROTOCOL, Version, check};
use shared::identifier::Identifier;
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let handshake = Handshake { certificate: data.to_vec(), protocol: Some(PROTOCOL.to_vec()), version: Version::Tls13 };
    let Ok(name) = "a.test".parse() else { return };
    for identifier in [Identifier::Dns(name), Identifier::Ip([192, 0, 2, 7].into())] {
        assert!(check(&handshake, &identifier, "token.thumbprint").is_err());
    }
});
