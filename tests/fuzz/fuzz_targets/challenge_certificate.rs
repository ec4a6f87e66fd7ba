//! Bytes of strangers as the certificate of a server that is to solve tls-alpn-01, and as what signed its handshake.
#![no_main]
use edge::acme::tls_alpn::{Handshake, PROTOCOL, Version, check};
use shared::{
    handshake_signature::{Scheme, verify},
    identifier::{Identifier, IdentifierObject},
};

libfuzzer_sys::fuzz_target!(|data: (Vec<u8>, Vec<u8>)| {
    let (certificate, signature) = data;
    for scheme in [Scheme::EcdsaSha256, Scheme::RsaPssSha256, Scheme::Ed25519] {
        assert!(!verify(&certificate, scheme, b"a handshake", &signature));
    }
    for (kind, value) in [("dns", "a.test"), ("ip", "192.0.2.1")] {
        let name = IdentifierObject { kind: kind.to_owned(), value: value.to_owned() };
        let Ok(name) = Identifier::try_from(name) else { return };
        let handshake =
            Handshake { certificate: certificate.clone(), protocol: Some(PROTOCOL.to_vec()), version: Version::Tls13 };
        let _ = check(&handshake, &name, "token.thumbprint");
    }
});
