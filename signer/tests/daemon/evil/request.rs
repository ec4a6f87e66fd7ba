//! CSRs that ask for more than a key: refused, or the same certificate as if they had not.

use der::{
    Decode, Encode,
    asn1::{Any, BitString, Ia5String, Null, ObjectIdentifier, OctetString, PrintableStringRef},
    oid::AssociatedOid,
};
use shared::{
    signing::{IssueRequest, Refusal},
    testing::{TestKey, TestRequest},
};
use x509_cert::{
    Certificate,
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName,
        name::{GeneralName, OtherName},
    },
};

use super::{Attempt, Stage};
use crate::client::{order, request};

const HOST: &str = "host.test";
/// A challenge password: the attribute that clients of other protocols add (RFC 2985 §5.4.1).
const CHALLENGE_PASSWORD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");
/// Nobody's extension.
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

fn key() -> TestKey {
    TestKey::new(9)
}

fn plain() -> TestRequest {
    TestRequest::of(&[HOST])
}

fn asked(number: usize, csr: &[u8]) -> IssueRequest {
    request(number, &TestKey::new(1), csr, &[HOST])
}

/// CSRs that smuggle a name, or cannot be read.
pub(super) fn smuggled(stage: &Stage) -> Vec<Attempt> {
    let refused = |name, csr: &[u8]| Attempt::issue(name, Refusal::BadCsr, &asked(1, csr));
    let named = |name, other: GeneralName| refused(name, &plain().name(other).sign(&key()));
    let text = |text: &str| Ia5String::new(text).unwrap();
    let other = OtherName { type_id: UNKNOWN, value: Any::from_der(&text("x").to_der().unwrap()).unwrap() };
    let authority = ExtendedKeyUsage(Vec::new());
    let mut long = plain().sign(&key());
    long.push(0);
    let mut torn = plain().sign(&key());
    torn.truncate(torn.len() - 1);
    let mut altered = plain().sign(&key());
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let twice = plain().extension(UNKNOWN, false, &Null).extension(UNKNOWN, false, &Null);
    let san = SubjectAltName(vec![GeneralName::DnsName(text("evil.com"))]);
    let second = plain().extension(SubjectAltName::OID, false, &san);
    let lists = plain().attribute(const_oid::db::rfc5912::ID_EXTENSION_REQ, &Vec::<Any>::new());
    vec![
        named("an e-mail address", GeneralName::Rfc822Name(text("root@host.test"))),
        named("a URI", GeneralName::UniformResourceIdentifier(text("spiffe://evil/root"))),
        named("a directory name", GeneralName::DirectoryName("CN=evil.com".parse().unwrap())),
        named("another kind of name", GeneralName::OtherName(other)),
        named("a registered id", GeneralName::RegisteredId(UNKNOWN)),
        named("an address of five bytes", GeneralName::IpAddress(OctetString::new([10, 1, 0, 1, 0]).unwrap())),
        named(
            "an address and its mask",
            GeneralName::IpAddress(OctetString::new([10, 1, 0, 1, 255, 255, 0, 0]).unwrap()),
        ),
        named("a name with a NUL", GeneralName::DnsName(text("host.test\0.evil.com"))),
        named("a name with a dot at the end", GeneralName::DnsName(text("host.test."))),
        refused("two common names", &plain().subject("CN=host.test,CN=evil.com").sign(&key())),
        refused("a common name that is no name", &plain().subject("CN=Administrator of it").sign(&key())),
        refused(
            "an e-mail address in the subject",
            &plain().subject("1.2.840.113549.1.9.1=#0c0161,CN=host.test").sign(&key()),
        ),
        refused("an extension twice", &twice.sign(&key())),
        refused("names twice", &second.sign(&key())),
        refused("two lists of extensions", &lists.sign(&key())),
        refused("usages that are none", &plain().extension(ExtendedKeyUsage::OID, false, &authority).sign(&key())),
        refused("usages that cannot be read", &plain().extension(ExtendedKeyUsage::OID, false, &Null).sign(&key())),
        refused(
            "names that cannot be read",
            &TestRequest::default().extension(SubjectAltName::OID, false, &Null).sign(&key()),
        ),
        refused(
            "a request that another key has signed",
            &plain().sign_for(key().public_key().spki().clone(), &TestKey::new(66)),
        ),
        refused("an altered signature", &altered),
        refused("more behind the end", &long),
        refused("less than all", &torn),
        refused("a certificate in place of a request", &stage.edge.status().unwrap().issuers[0].chain[0].0),
        refused("nothing", b""),
    ]
}

/// Everything of a certificate but its serial number, its times and its signature.
fn content(stage: &Stage, number: usize, csr: &[u8]) -> Vec<Vec<u8>> {
    let issued = stage.edge.issued(&asked(number, csr));
    let certificate = Certificate::from_der(&issued.chain[0].0).unwrap();
    let tbs = certificate.tbs_certificate();
    let mut parts = vec![
        tbs.issuer().to_der().unwrap(),
        tbs.subject().to_der().unwrap(),
        tbs.subject_public_key_info().to_der().unwrap(),
        vec![u8::from(tbs.issuer_unique_id().is_some()), u8::from(tbs.subject_unique_id().is_some())],
    ];
    parts.extend(tbs.extensions().unwrap().iter().map(|extension| extension.to_der().unwrap()));
    parts
}

#[test]
fn what_a_csr_asks_for_beside_its_names_changes_nothing() {
    let stage = Stage::new();
    let key_usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let authority = BasicConstraints { ca: true, path_len_constraint: None };
    let constraints = NameConstraints { permitted_subtrees: None, excluded_subtrees: None };
    let usages = ExtendedKeyUsage(vec![const_oid::db::rfc5280::ID_KP_CODE_SIGNING, ANY_USAGE]);
    let password = PrintableStringRef::new("secret").unwrap();
    let asks = [
        ("to be a CA", plain().extension(BasicConstraints::OID, true, &authority)),
        ("to sign certificates", plain().extension(KeyUsage::OID, true, &key_usage)),
        ("to sign code, and for everything", plain().extension(ExtendedKeyUsage::OID, true, &usages)),
        ("for name constraints", plain().extension(NameConstraints::OID, true, &constraints)),
        ("for what nobody knows, critically", plain().extension(UNKNOWN, true, &Null)),
        ("for a subject's name", plain().subject("O=Evil,OU=Root CA,C=XX")),
        ("with a password", plain().attribute(CHALLENGE_PASSWORD, &password)),
        ("with its name in upper case", TestRequest::of(&["HOST.TEST"])),
        ("with its name twice", TestRequest::of(&[HOST, HOST])),
        ("with bits of its own", plain().attribute(UNKNOWN, &BitString::from_bytes(&[0xff; 64]).unwrap())),
    ];
    let honest = content(&stage, 0, &plain().sign(&key()));
    for (number, (name, csr)) in (1..).zip(&asks) {
        assert_eq!(content(&stage, number, &csr.sign(&key())), honest, "a CSR that asks {name}");
    }
    assert_eq!(stage.site.events("intent").len(), asks.len() + 1);
    assert!(stage.site.events("intent").iter().any(|intent| intent["order"] == order(1)));
}
