//! The TLS client of probes against a server that is not ours: rustls on *ring*, over pipes in memory.

use std::{io::Write as _, sync::Arc};

use edge::{
    acme::{
        probe::TlsFault,
        tls_alpn::{Handshake, Version},
    },
    tls::{client, fault, provider::Source},
};
use proptest::prelude::*;
use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PublicKeyData as _,
};
use rustls::{
    ClientConnection, Error, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::{CryptoProvider, GetRandomFailed, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use shared::timestamp::Timestamp;

/// Repeats itself, which only a test may.
static SOURCE: Source = Source(|bytes| {
    bytes.fill(7);
    Ok(())
});

static BROKEN: Source = Source(|_| Err(GetRandomFailed));

/// A server's certificate, with an extension that is critical and unknown to all, and a key that may not be its own.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl Presents {
    fn new(certified: &KeyPair, signs: &KeyPair) -> Self {
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[1; 32])];
        let certificate = params.self_signed(certified).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(signs.serialize_der().into());
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate], key)))
    }

    /// With a certificate that has the key, and else nothing that can be parsed: no version, a serial number without octets, empty
    /// names, and dates of the year 1.
    fn odd(key: &KeyPair) -> Self {
        let element = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            let length = if content.len() < 128 { vec![length[1]] } else { vec![0x82, length[0], length[1]] };
            let length = if let [0x82, 0, short] = length[..] { vec![0x81, short] } else { length };
            [&[tag], length.as_slice(), content].concat()
        };
        let sequence = |parts: &[Vec<u8>]| element(0x30, &parts.concat());
        let algorithm = sequence(&[element(6, &[0x2a, 3])]);
        let date = element(24, b"00010101000000Z");
        let validity = sequence(&[date.clone(), date]);
        let key_info = key.subject_public_key_info();
        let fields = [element(2, &[]), algorithm.clone(), sequence(&[]), validity, sequence(&[]), key_info];
        let certificate = sequence(&[sequence(&fields), algorithm, element(3, &[0])]);
        let signs = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let signs = ring::default_provider().key_provider.load_private_key(signs).unwrap();
        Self(Arc::new(CertifiedKey::new(vec![certificate.into()], signs)))
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.cert[0].clone()
    }
}

impl ResolvesServerCert for Presents {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        assert_eq!(hello.server_name(), Some("a.test"));
        Some(Arc::clone(&self.0))
    }
}

fn server(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    presents: Presents,
    protocols: &[&[u8]],
) -> ServerConnection {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(presents));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    ServerConnection::new(Arc::new(config)).unwrap()
}

fn dial() -> ClientConnection {
    let settings = client::settings(&SOURCE, Timestamp::from_seconds(1_800_000_000), b"acme-tls/1").unwrap();
    ClientConnection::new(Arc::new(settings), client::dns_name("a.test").unwrap()).unwrap()
}

/// Carries bytes both ways until both have nothing to say, with those of the server changed on their way.
fn talk(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
    mut change: impl FnMut(&mut Vec<u8>),
) -> Result<(), Error> {
    loop {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        let mut rest = there.as_slice();
        while !rest.is_empty() && server.read_tls(&mut rest).is_ok_and(|read| read > 0) {
            // What it thinks of us, it says in an alert.
            let _ = server.process_new_packets();
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        if there.is_empty() && back.is_empty() {
            return Ok(());
        }
        change(&mut back);
        let mut rest = back.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
}

/// What comes of a handshake with a server that presents this.
fn shake(
    version: &'static SupportedProtocolVersion,
    presents: Presents,
    protocols: &[&[u8]],
) -> Result<Handshake, TlsFault> {
    let (mut client, mut server) = (dial(), server(ring::default_provider(), &[version], presents, protocols));
    talk(&mut client, &mut server, |_| ()).map_err(|error| fault::of(&error))?;
    assert!(!client.is_handshaking());
    client::seen(&client)
}

fn p256() -> Presents {
    let key = KeyPair::generate().unwrap();
    Presents::new(&key, &key)
}

#[test]
fn both_versions_show_the_certificate_of_every_kind_of_key() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        for (version, expected) in [(&TLS12, Version::Tls12), (&TLS13, Version::Tls13)] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let presents = Presents::new(&key, &key);
            let certificate = presents.certificate();
            let seen = shake(version, presents, &[b"acme-tls/1"]).unwrap();
            assert_eq!(
                seen,
                Handshake {
                    certificate: certificate.to_vec(),
                    protocol: Some(b"acme-tls/1".to_vec()),
                    version: expected
                }
            );
        }
    }
}

/// Only the key of a certificate is read: nothing else in it matters to a handshake.
#[test]
fn a_certificate_of_which_only_the_key_can_be_read_is_shown() {
    for version in [&TLS12, &TLS13] {
        let presents = Presents::odd(&KeyPair::generate().unwrap());
        let certificate = presents.certificate();
        assert_eq!(shake(version, presents, &[b"acme-tls/1"]).unwrap().certificate, certificate.to_vec());
    }
}

#[test]
fn a_certificate_whose_key_did_not_sign_the_handshake_is_refused() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        for version in [&TLS12, &TLS13] {
            let (certified, signs) =
                (KeyPair::generate_for(algorithm).unwrap(), KeyPair::generate_for(algorithm).unwrap());
            let presents = Presents::new(&certified, &signs);
            assert_eq!(shake(version, presents, &[b"acme-tls/1"]), Err(TlsFault::Handshake));
        }
    }
}

#[test]
fn a_signature_of_another_kind_of_key_is_refused() {
    let (certified, signs) = (KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    for version in [&TLS12, &TLS13] {
        assert_eq!(shake(version, Presents::new(&certified, &signs), &[b"acme-tls/1"]), Err(TlsFault::Handshake));
        assert_eq!(shake(version, Presents::new(&signs, &certified), &[b"acme-tls/1"]), Err(TlsFault::Handshake));
    }
}

#[test]
fn the_protocol_is_what_the_server_chose() {
    for version in [&TLS12, &TLS13] {
        assert_eq!(shake(version, p256(), &[]).unwrap().protocol, None);
        assert_eq!(shake(version, p256(), &[b"h2"]), Err(TlsFault::Protocol));
        let both = shake(version, p256(), &[b"h2", b"acme-tls/1"]).unwrap();
        assert_eq!(both.protocol.as_deref(), Some(&b"acme-tls/1"[..]));
    }
}

#[test]
fn a_server_without_an_algorithm_of_ours_is_named_so() {
    let ring = ring::default_provider();
    let suites = CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        ],
        ..ring.clone()
    };
    let groups = CryptoProvider { kx_groups: vec![ring::kx_group::X25519], ..ring };
    for provider in [suites, groups] {
        for version in [&TLS12, &TLS13] {
            let mut server = server(provider.clone(), &[version], p256(), &[]);
            let error = talk(&mut dial(), &mut server, |_| ()).unwrap_err();
            assert_eq!(fault::of(&error), TlsFault::Incompatible, "{error:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_tls_are_named_so() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n", &[0; 64]] {
        let mut client = dial();
        client.read_tls(&mut &bytes[..]).unwrap();
        let error = client.process_new_packets().unwrap_err();
        assert_eq!(fault::of(&error), TlsFault::NotTls, "{error:?}");
    }
}

#[test]
fn no_randomness_is_an_error() {
    let settings = client::settings(&BROKEN, Timestamp::from_seconds(0), b"h").unwrap();
    assert!(ClientConnection::new(Arc::new(settings), client::dns_name("a.test").unwrap()).is_err());
}

#[test]
fn text_of_every_length_arrives_both_ways() {
    for version in [&TLS12, &TLS13] {
        let mut client = dial();
        let mut server = server(ring::default_provider(), &[version], p256(), &[]);
        talk(&mut client, &mut server, |_| ()).unwrap();
        for length in [0, 1, 15, 16, 17, 255, 16_384, 16_385] {
            let text: Vec<u8> = (0..=250).cycle().take(length).collect();
            client.writer().write_all(&text).unwrap();
            talk(&mut client, &mut server, |_| ()).unwrap();
            assert!(received(&mut server.reader()) == text, "to the server: {length}");
            server.writer().write_all(&text).unwrap();
            talk(&mut client, &mut server, |_| ()).unwrap();
            assert!(received(&mut client.reader()) == text, "from the server: {length}");
        }
    }
}

/// What has arrived so far.
fn received(reader: &mut impl std::io::Read) -> Vec<u8> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while let Ok(read) = reader.read(&mut part) {
        if read == 0 {
            break;
        }
        text.extend_from_slice(&part[..read]);
    }
    text
}

/// The places of all bytes but the versions in the heads of records, which nobody looks at (RFC 8446 §5.1), the types
/// there, which TLS 1.3 does not sign, and the lengths, which can make a client wait for more.
fn protected(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut start) = (Vec::new(), 0);
    while let Some(head) = bytes.get(start..start + 5) {
        let end = start + 5 + usize::from(u16::from_be_bytes([head[3], head[4]]));
        places.extend(start + 5..end);
        start = end;
    }
    places
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_handshake_with_a_changed_byte_never_ends_well(old: bool, at: prop::sample::Index, bit in 0..8_u32) {
        let version = if old { &TLS12 } else { &TLS13 };
        let mut client = dial();
        let mut server = server(ring::default_provider(), &[version], p256(), &[b"acme-tls/1"]);
        let mut first = true;
        let result = talk(&mut client, &mut server, |bytes| {
            if std::mem::take(&mut first) {
                let places = protected(bytes);
                bytes[*at.get(&places)] ^= 1 << bit;
            }
        });
        prop_assert!(result.is_err() || client.is_handshaking());
    }

    #[test]
    fn a_record_with_a_changed_byte_is_refused(old: bool, at: prop::sample::Index, bit in 0..8_u32) {
        let version = if old { &TLS12 } else { &TLS13 };
        let mut client = dial();
        let mut server = server(ring::default_provider(), &[version], p256(), &[]);
        talk(&mut client, &mut server, |_| ()).unwrap();
        server.writer().write_all(b"hello").unwrap();
        let result = talk(&mut client, &mut server, |bytes| {
            let places = protected(bytes);
            if !places.is_empty() {
                bytes[*at.get(&places)] ^= 1 << bit;
            }
        });
        prop_assert!(result.is_err());
        prop_assert!(received(&mut client.reader()).is_empty());
    }
}
