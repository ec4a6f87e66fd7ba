//! tls-alpn-01: which certificates prove a name or an address, and what the others are called.

use edge::acme::{
    challenge::ChallengeType,
    probe::{Evidence, ProbeFault, ProbeOutcome, TlsFault},
    route::{Resource, Route},
    step::{Effect, Event},
    tls_alpn::{Handshake, Mismatch, Version, check, server_name},
};
use proptest::prelude::*;
use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};
use serde_json::json;
use sha2::{Digest, Sha256};
use shared::identifier::Identifier;

use crate::desk::Desk;
use crate::probe_faults::{peer, unreached};

const KEY_AUTHORIZATION: &str = "token.thumbprint";
const ACME_IDENTIFIER: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 31];

/// What a server presents.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    names: Vec<SanType>,
    extensions: Vec<CustomExtension>,
    protocol: Option<&'static str>,
}

impl Presented {
    /// All as RFC 8737 asks for it.
    pub(crate) fn right(identifier: &str, key_authorization: &str) -> Self {
        let digest = Sha256::digest(key_authorization);
        Self {
            names: vec![name(identifier)],
            extensions: vec![CustomExtension::new_acme_identifier(&digest)],
            protocol: Some("acme-tls/1"),
        }
    }

    /// With these extensions in place of its own.
    pub(crate) fn with_extensions(self, extensions: Vec<CustomExtension>) -> Self {
        Self { extensions, ..self }
    }

    pub(crate) fn handshake(self) -> Handshake {
        let mut params = CertificateParams::default();
        params.subject_alt_names = self.names;
        params.custom_extensions = self.extensions;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Handshake {
            certificate: certificate.der().to_vec(),
            protocol: self.protocol.map(|protocol| protocol.as_bytes().to_vec()),
            version: Version::Tls13,
        }
    }
}

fn name(text: &str) -> SanType {
    text.parse().map_or_else(|_| SanType::DnsName(text.to_owned().try_into().unwrap()), SanType::IpAddress)
}

fn identifier(text: &str) -> Identifier {
    text.parse().map_or_else(|_| Identifier::Dns(text.parse().unwrap()), Identifier::Ip)
}

/// An extension with these bytes as its value.
fn extension(oid: &[u64], value: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
    extension.set_criticality(critical);
    extension
}

/// An OCTET STRING in DER of less than 128 bytes.
fn octets(bytes: &[u8]) -> Vec<u8> {
    [&[4, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn digest() -> Vec<u8> {
    octets(&Sha256::digest(KEY_AUTHORIZATION))
}

#[test]
fn a_certificate_of_the_one_identifier_with_the_digest_proves_it() {
    for (presented, asked) in
        [("a.test", "a.test"), ("A.Test", "a.test"), ("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::7")]
    {
        let handshake = Presented::right(presented, KEY_AUTHORIZATION).handshake();
        assert_eq!(check(&handshake, &identifier(asked), KEY_AUTHORIZATION), Ok(()), "{presented}");
        let old = Handshake { version: Version::Tls12, ..handshake };
        assert_eq!(check(&old, &identifier(asked), KEY_AUTHORIZATION), Ok(()), "{presented} by TLS 1.2");
    }
}

#[test]
fn every_other_certificate_is_refused_with_its_own_reason() {
    let right = Presented::right("a.test", KEY_AUTHORIZATION);
    let names = |texts: &[&str]| Presented { names: texts.iter().map(|text| name(text)).collect(), ..right.clone() };
    let with = |extensions: Vec<CustomExtension>| Presented { extensions, ..right.clone() };
    let acme = |value: &[u8], critical| extension(&ACME_IDENTIFIER, value, critical);
    let draft = || extension(&[1, 3, 6, 1, 5, 5, 7, 1, 30, 1], &digest(), true);
    let address = SanType::DnsName("192.0.2.7".to_owned().try_into().unwrap());
    let uri = SanType::URI("https://a.test".to_owned().try_into().unwrap());
    let mail = SanType::Rfc822Name("a.test".to_owned().try_into().unwrap());
    let other = |words: &str| Mismatch::OtherName(words.to_owned());
    let table = [
        ("a.test", Presented { protocol: None, ..right.clone() }, Mismatch::Protocol),
        ("a.test", Presented { protocol: Some("http/1.1"), ..right.clone() }, Mismatch::Protocol),
        ("a.test", names(&[]), Mismatch::NoNames),
        ("a.test", names(&["a.test", "b.test"]), Mismatch::NumberOfNames(2)),
        ("a.test", names(&["a.test", "a.test"]), Mismatch::NumberOfNames(2)),
        ("a.test", names(&["a.test", "192.0.2.7"]), Mismatch::NumberOfNames(2)),
        ("a.test", Presented { names: vec![name("a.test"), uri.clone()], ..right.clone() }, Mismatch::NumberOfNames(2)),
        ("a.test", names(&["b.test"]), other("the DNS name \"b.test\"")),
        ("a.test", names(&["*.a.test"]), other("the DNS name \"*.a.test\"")),
        ("a.test", names(&["192.0.2.7"]), other("the address 192.0.2.7")),
        (
            "a.test",
            Presented { names: vec![uri], ..right.clone() },
            other("of another type, with the content \"https://a.test\""),
        ),
        (
            "a.test",
            Presented { names: vec![mail], ..right.clone() },
            other("of another type, with the content \"a.test\""),
        ),
        ("192.0.2.7", names(&["192.0.2.8"]), other("the address 192.0.2.8")),
        (
            "192.0.2.7",
            names(&["::ffff:192.0.2.7"]),
            other(
                "of another type, with the content \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xff\\xff\\xc0\\x00\\x02\\x07\"",
            ),
        ),
        ("192.0.2.7", Presented { names: vec![address], ..right.clone() }, other("the DNS name \"192.0.2.7\"")),
        ("2001:db8::7", names(&["2001:db8::8"]), other("the address 2001:db8::8")),
        ("a.test", with(vec![]), Mismatch::NoExtension),
        ("a.test", with(vec![acme(&digest(), true), acme(&digest(), true)]), Mismatch::NoExtension),
        ("a.test", with(vec![draft()]), Mismatch::DraftExtension),
        ("a.test", with(vec![acme(&digest(), false)]), Mismatch::NotCritical),
        ("a.test", with(vec![acme(&digest(), false), draft()]), Mismatch::NotCritical),
        ("a.test", with(vec![acme(&digest()[2..], true)]), Mismatch::NotADigest),
        ("a.test", with(vec![acme(&octets(&digest()[3..]), true)]), Mismatch::NotADigest),
        ("a.test", with(vec![acme(&[digest(), vec![0]].concat(), true)]), Mismatch::NotADigest),
        ("a.test", with(vec![acme(&octets(&digest()), true)]), Mismatch::NotADigest),
        ("a.test", with(vec![acme(&octets(&[0; 32]), true)]), Mismatch::OtherDigest),
        ("a.test", Presented::right("a.test", "token.another"), Mismatch::OtherDigest),
    ];
    for (asked, presented, expected) in table {
        let what = format!("{presented:?}");
        assert_eq!(check(&presented.handshake(), &identifier(asked), KEY_AUTHORIZATION), Err(expected), "{what}");
    }
}

/// A DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let length = match length {
        0..128 => vec![u8::try_from(length).unwrap()],
        128..256 => vec![0x81, u8::try_from(length).unwrap()],
        _ => [&[0x82], length.to_be_bytes().as_slice()].concat(),
    };
    [&[tag], length.as_slice(), content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// The fields of a certificate that RFC 8737 demands nothing of, and how the acmeIdentifier extension says that it is critical.
#[derive(Clone)]
struct Odd {
    version: Vec<u8>,
    serial: Vec<u8>,
    name: Vec<u8>,
    validity: Vec<u8>,
    unique_identifiers: Vec<u8>,
    other_extensions: Vec<u8>,
    critical: Vec<u8>,
}

impl Odd {
    fn usual() -> Self {
        Self {
            version: element(0xa0, &[2, 1, 2]),
            serial: element(2, &[1]),
            name: sequence(&[]),
            validity: sequence(&[element(23, b"261201000000Z"), element(23, b"261202000000Z")]),
            unique_identifiers: Vec::new(),
            other_extensions: Vec::new(),
            critical: element(1, &[0xff]),
        }
    }

    fn handshake(self) -> Handshake {
        let algorithm = sequence(&[element(6, &[0x2a, 3])]);
        let names = sequence(&[element(6, &[0x55, 0x1d, 0x11]), element(4, &sequence(&[element(0x82, b"a.test")]))]);
        let oid = element(6, &[0x2b, 6, 1, 5, 5, 7, 1, 31]);
        let acme = sequence(&[oid, self.critical, element(4, &digest())]);
        let extensions = element(0xa3, &sequence(&[names, self.other_extensions, acme]));
        let key = sequence(&[algorithm.clone(), element(3, &[0, 1])]);
        let fields = [
            self.version,
            self.serial,
            algorithm.clone(),
            self.name.clone(),
            self.validity,
            self.name,
            key,
            self.unique_identifiers,
            extensions,
        ];
        Handshake {
            certificate: sequence(&[sequence(&fields), algorithm, element(3, &[0, 1])]),
            protocol: Some(b"acme-tls/1".to_vec()),
            version: Version::Tls13,
        }
    }
}

/// A responder in Go that sets no NotBefore writes the year 1, which a strict reader of dates refuses.
#[test]
fn what_rfc_8737_demands_nothing_of_is_not_read() {
    let usual = Odd::usual();
    let zero = element(24, b"00010101000000Z");
    let unknown =
        |critical: &[u8], value: &[u8]| sequence(&[element(6, &[0x2a, 3, 4]), critical.to_vec(), value.to_vec()]);
    let table = [
        ("as usual", usual.clone()),
        ("dates of the year 1", Odd { validity: sequence(&[zero.clone(), zero]), ..usual.clone() }),
        (
            "dates that are none",
            Odd { validity: sequence(&[element(23, b"never"), element(12, b"")]), ..usual.clone() },
        ),
        ("no dates", Odd { validity: sequence(&[]), ..usual.clone() }),
        ("version 1", Odd { version: Vec::new(), ..usual.clone() }),
        ("version 9", Odd { version: element(0xa0, &[2, 1, 8]), ..usual.clone() }),
        ("serial number 0", Odd { serial: element(2, &[0]), ..usual.clone() }),
        ("a negative serial number", Odd { serial: element(2, &[0x80]), ..usual.clone() }),
        ("a serial number of no octets", Odd { serial: element(2, &[]), ..usual.clone() }),
        ("a serial number of 40 octets", Odd { serial: element(2, &[1; 40]), ..usual.clone() }),
        ("a serial number with leading zeros", Odd { serial: element(2, &[0, 0, 1]), ..usual.clone() }),
        ("names that are none", Odd { name: sequence(&[element(12, b"\xff")]), ..usual.clone() }),
        (
            "unique identifiers",
            Odd { unique_identifiers: [element(0x81, &[0, 1]), element(0x82, &[0, 1])].concat(), ..usual.clone() },
        ),
        ("an unknown extension", Odd { other_extensions: unknown(&[], &element(4, b"\xff")), ..usual.clone() }),
        (
            "an unknown critical extension",
            Odd { other_extensions: unknown(&element(1, &[0xff]), &element(4, b"")), ..usual.clone() },
        ),
        (
            "an explicit default",
            Odd { other_extensions: unknown(&element(1, &[0]), &element(4, b"")), ..usual.clone() },
        ),
        ("a truth value of BER", Odd { critical: element(1, &[1]), ..usual.clone() }),
    ];
    for (what, odd) in table {
        assert_eq!(check(&odd.handshake(), &identifier("a.test"), KEY_AUTHORIZATION), Ok(()), "{what}");
    }
    for critical in [Vec::new(), element(1, &[0])] {
        let handshake = Odd { critical, ..usual.clone() }.handshake();
        assert_eq!(check(&handshake, &identifier("a.test"), KEY_AUTHORIZATION), Err(Mismatch::NotCritical));
    }
}

#[test]
fn bytes_that_are_no_certificate_are_malformed() {
    let right = Presented::right("a.test", KEY_AUTHORIZATION).handshake();
    let mut longer = right.certificate.clone();
    longer.push(0);
    let shorter = right.certificate[..right.certificate.len() - 1].to_vec();
    for certificate in [Vec::new(), vec![0x30, 0], longer, shorter] {
        let handshake = Handshake { certificate, ..right.clone() };
        assert_eq!(check(&handshake, &identifier("a.test"), KEY_AUTHORIZATION), Err(Mismatch::Malformed));
    }
}

#[test]
fn an_address_is_asked_for_by_its_name_in_the_reverse_tree() {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    for (asked, expected) in [("192.0.2.7", "7.2.0.192.in-addr.arpa"), ("2001:db8::1", six), ("a.test", "a.test")] {
        assert_eq!(server_name(&identifier(asked)), expected);
    }
}

#[test]
fn it_is_offered_for_names_and_addresses_but_not_for_wildcards() {
    let offered = |text: &str, wildcard| {
        ChallengeType::offered(&identifier(text), wildcard).any(|kind| kind == ChallengeType::TlsAlpn01)
    };
    assert!(offered("a.test", false) && offered("192.0.2.7", false) && offered("2001:db8::7", false));
    assert!(!offered("a.test", true));
}

#[test]
fn an_order_is_proved_by_it() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    desk.prove(&view, ChallengeType::TlsAlpn01);
    desk.finalize(order, &["a.test"]).unwrap();
}

#[test]
fn problems_say_what_happened_and_never_what_was_seen() {
    let mut desk = Desk::new();
    desk.new_account();
    let right = Presented::right("a.test", "another").handshake();
    let secret = Handshake { protocol: Some(b"secret-protocol".to_vec()), ..right.clone() };
    for (outcome, kind, says) in [
        (Ok(Evidence::Tls(right)), "incorrectResponse", "not the digest of this account's key authorization"),
        (Ok(Evidence::Tls(secret)), "incorrectResponse", "acme-tls/1"),
        (Ok(Evidence::Txt(vec![])), "serverInternal", "evidence"),
        (
            Err(ProbeFault::Tls(peer(), TlsFault::Handshake)),
            "tls",
            "192.0.2.1 port 80 (IPv4): the TLS handshake failed.",
        ),
        (Err(ProbeFault::Tls(peer(), TlsFault::NotTls)), "tls", "not TLS"),
        (Err(ProbeFault::Tls(peer(), TlsFault::Incompatible)), "tls", "TLS 1.2"),
        (Err(ProbeFault::Tls(peer(), TlsFault::Protocol)), "tls", "protocol"),
        (Err(unreached()), "connection", "no connection: 192.0.2.1 port 80 (IPv4): refused or unreachable."),
    ] {
        let (_, view) = desk.new_order(&["a.test"]);
        let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
        let challenge = Resource::Challenge(id, ChallengeType::TlsAlpn01);
        desk.post(Route::Of(desk.account(), challenge), &json!({})).unwrap();
        let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!("no probe") };
        desk.event(Event::Probed(probe, outcome)).unwrap();
        let shown = desk.read(challenge)["error"].clone();
        assert_eq!(shown["type"], json!(format!("urn:ietf:params:acme:error:{kind}")), "{shown}");
        let detail = shown["detail"].as_str().unwrap();
        assert!(detail.contains(says) && !detail.contains("secret"), "{detail}");
    }
}

#[test]
fn what_a_perspective_saw_arrives_as_it_was() {
    for outcome in [
        Ok(Evidence::Tls(Presented::right("a.test", KEY_AUTHORIZATION).handshake())),
        Ok(Evidence::Tls(Presented { protocol: None, ..Presented::right("a.test", "") }.handshake())),
        Err(ProbeFault::Tls(peer(), TlsFault::Incompatible)),
    ] {
        let text = serde_json::to_string::<ProbeOutcome>(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<ProbeOutcome>(&text).unwrap(), outcome);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_prove_anything(certificate: Vec<u8>) {
        let handshake = Handshake { certificate, protocol: Some(b"acme-tls/1".to_vec()), version: Version::Tls13 };
        prop_assert!(check(&handshake, &identifier("a.test"), KEY_AUTHORIZATION).is_err());
    }

    #[test]
    fn a_certificate_with_changed_bytes_still_proves_only_with_name_and_digest(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut handshake = Presented::right("a.test", KEY_AUTHORIZATION).handshake();
        for (at, byte) in changes {
            let at = at.index(handshake.certificate.len());
            handshake.certificate[at] = byte;
        }
        if check(&handshake, &identifier("a.test"), KEY_AUTHORIZATION).is_ok() {
            let has = |part: &[u8]| handshake.certificate.windows(part.len()).any(|window| window == part);
            let lower = handshake.certificate.to_ascii_lowercase();
            prop_assert!(has(&digest()) && lower.windows(6).any(|window| window == b"a.test"));
        }
    }
}
