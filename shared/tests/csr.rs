//! Requests as clients write them: strings of any type, versions that RFC 2986 does not have, and sets in any order.

use der::Encode;
use shared::{
    certificate::{CannotBuild, Content},
    csr::{BadCsr, Csr},
    identifier::DnsName,
    serial::SerialNumber,
    signed_der::SignedDer,
    testing::{TestCa, TestKey, TestRequest, dns_names, server_profile, tlv},
};

const ZERO: &[u8] = &[2, 1, 0];
const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];
/// A name that a test's request for `cn.test` asks for, 65 characters long.
const LONG: &str = "a-name-of-sixty-five-characters-is-longer.than-a-common-name.test";

fn subject(tag: u8, value: &[u8]) -> Vec<u8> {
    let value = tlv(tag, &[value]);
    tlv(0x30, &[&tlv(0x31, &[&tlv(0x30, &[COMMON_NAME, &value])])])
}

fn with_subject(tag: u8, value: &[u8]) -> Result<Csr, BadCsr> {
    Csr::parse(&TestRequest::sign_raw(ZERO, &subject(tag, value), &[0xa0, 0], &TestKey::new(4)))
}

/// An extensionRequest for these names, and an attribute whose encoding is less than that: a SET OF in DER begins with it.
fn attributes(sorted: bool) -> Vec<u8> {
    let names: Vec<u8> = tlv(0x30, &[&tlv(0x82, &[b"a.test"])]);
    let extension = tlv(0x30, &[&[6, 3, 0x55, 0x1d, 0x11], &tlv(4, &[&names])]);
    let oid = const_oid::db::rfc5912::ID_EXTENSION_REQ.to_der().unwrap();
    let long = tlv(0x30, &[&oid, &tlv(0x31, &[&tlv(0x30, &[&extension])])]);
    let short = tlv(0x30, &[&[6, 3, 0x2a, 3, 4], &tlv(0x31, &[&[5, 0]])]);
    if sorted { tlv(0xa0, &[&short, &long]) } else { tlv(0xa0, &[&long, &short]) }
}

#[test]
fn a_common_name_is_decoded_by_its_tag() {
    let wide = |width: usize| -> Vec<u8> {
        let pad = vec![0; width - 1];
        b"cn.test".iter().flat_map(|byte| pad.iter().copied().chain([*byte])).collect()
    };
    for (tag, value) in [
        (0x0c, b"cn.test".to_vec()),
        (0x13, b"cn.test".to_vec()),
        (0x14, b"cn.test".to_vec()),
        (0x16, b"cn.test".to_vec()),
        (0x1a, b"cn.test".to_vec()),
        (0x1c, wide(4)),
        (0x1e, wide(2)),
    ] {
        let csr = with_subject(tag, &value).unwrap_or_else(|error| panic!("{tag:#x}: {error}"));
        assert_eq!(csr.common_name().unwrap().as_str(), "cn.test", "{tag:#x}");
    }
    // Eight bytes that are one name as UTF-8 and another one as BMPString are the one that the tag says.
    assert!(matches!(with_subject(0x1e, b"cn1.test"), Err(BadCsr::CommonName(_))));
    for (tag, value) in [(0x1e, b"cn.test".to_vec()), (0x1c, wide(2)), (0x13, vec![0xff]), (0x04, b"cn.test".to_vec())]
    {
        assert!(matches!(with_subject(tag, &value), Err(BadCsr::NotText(_))), "{tag:#x}");
    }
}

#[test]
fn versions_0_to_2_are_accepted_and_another_one_is_named() {
    let with = |version: &[u8]| {
        Csr::parse(&TestRequest::sign_raw(version, &subject(0x0c, b"cn.test"), &[0xa0, 0], &TestKey::new(4)))
    };
    for version in 0..=2 {
        assert_eq!(with(&[2, 1, version]).unwrap().names(), &dns_names(&["cn.test"]), "{version}");
    }
    assert!(with(&[2, 1, 3]).unwrap_err().to_string().contains("version is 0x03"));
    assert!(matches!(with(&[2, 2, 1, 0]), Err(BadCsr::Version(_))));
    assert_eq!(with(&[2, 0]).unwrap_err(), BadCsr::NotDer);
}

#[test]
fn the_signature_is_verified_over_the_bytes_that_the_client_sent() {
    for sorted in [true, false] {
        let der = TestRequest::sign_raw(ZERO, &[0x30, 0], &attributes(sorted), &TestKey::new(4));
        assert_eq!(Csr::parse(&der).unwrap().names(), &dns_names(&["a.test"]), "{sorted}");
        assert!(SignedDer::request(&der).unwrap().verify(&shared::signed_der::Proved::default()).is_ok(), "{sorted}");
    }
    // Attributes that are left out are none.
    let der = TestRequest::sign_raw(ZERO, &subject(0x0c, b"cn.test"), &[], &TestKey::new(4));
    assert_eq!(Csr::parse(&der).unwrap().names(), &dns_names(&["cn.test"]));
}

#[test]
fn a_common_name_of_more_than_64_characters_is_a_name_and_in_no_subject() {
    assert_eq!(LONG.len(), 65);
    let csr = with_subject(0x0c, LONG.as_bytes()).unwrap();
    assert_eq!((csr.names(), csr.common_name()), (&dns_names(&[LONG]), None));
    assert!(with_subject(0x0c, &LONG.as_bytes()[1..]).is_err(), "a label does not begin with a hyphen");
    let longest = &LONG.as_bytes()[2..];
    assert_eq!(with_subject(0x0c, longest).unwrap().common_name().unwrap().as_str().as_bytes(), longest);

    let (ca, profile, key) = (TestCa::new(1), server_profile(), TestKey::new(3));
    let (names, common_name): (_, DnsName) = (dns_names(&[LONG]), LONG.parse().unwrap());
    let content = Content {
        profile: &profile,
        names: &names,
        common_name: Some(&common_name),
        public_key: &key.public_key(),
        serial: SerialNumber::from_random([9; 16]),
        not_before: "2026-11-21T12:00:00Z".parse().unwrap(),
        not_after: "2026-11-22T11:59:59Z".parse().unwrap(),
        status: None,
        crl_shards: 1,
    };
    assert_eq!(content.tbs(ca.chain.issuer()), Err(CannotBuild::CommonNameLength));
}

#[test]
fn a_refusal_quotes_the_name_and_bounds_it() {
    let key = TestKey::new(4);
    let said = |subject: &str| Csr::parse(&key.csr(&["a.test"], subject)).unwrap_err().to_string();
    assert!(said("CN=a_b.test").contains("the common name \"a_b.test\""));
    assert!(said("CN=a.test,CN=b.test").contains("several common names"));
    let long = with_subject(0x0c, &[b'_'; 500]).unwrap_err().to_string();
    assert!(long.len() < 250 && long.contains("...\""), "{long}");
    let named = Csr::parse(&key.csr(&["a_b.test"], "")).unwrap_err().to_string();
    assert!(named.contains("the subject alternative name \"a_b.test\""), "{named}");
}

#[test]
fn a_key_of_another_kind_is_refused_by_the_kinds_that_are_accepted() {
    // SubjectPublicKeyInfo of P-521 and Ed25519: the kind is judged before the bits.
    let curve = tlv(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &[6, 5, 0x2b, 0x81, 4, 0, 0x23]]);
    let p521 = tlv(0x30, &[&curve, &tlv(3, &[&[0, 4], &[1; 132]])]);
    let ed25519 = tlv(0x30, &[&tlv(0x30, &[&[6, 3, 0x2b, 0x65, 0x70]]), &tlv(3, &[&[0], &[9; 32]])]);
    for (spki, kind) in [(p521, "P-521"), (ed25519, "Ed25519")] {
        let spki: spki::SubjectPublicKeyInfoOwned = der::Decode::from_der(&spki).unwrap();
        let said = Csr::parse(&TestRequest::of(&["a.test"]).sign_for(spki, &TestKey::new(4))).unwrap_err().to_string();
        let wanted = format!("keys are P-256, P-384 or RSA of 2048 to 4096 bits, and this one is {kind}");
        assert!(said.ends_with(&wanted), "{said}");
    }
}
