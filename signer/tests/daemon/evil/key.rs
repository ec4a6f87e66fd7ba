//! Keys that are not certified: weak ones, and those that are somebody else's.

use std::{fs, process::Command};

use der::{
    Decode,
    asn1::{Any, BitString, ObjectIdentifier, OctetString},
};
use p256::ecdsa::SigningKey;
use shared::{
    signing::{IssueRequest, Refusal},
    testing::{TestKey, TestRequest},
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::{Attempt, Stage};
use crate::client::request;

const HOST: &str = "host.test";
/// The modulus of a key whose primes are made as in the library of CVE-2017-15361, 2048 bits.
const ROCA: &str = include_str!("roca.txt");
/// The product of two neighbouring primes of 1024 bits.
const CLOSE: &str = include_str!("close_primes.txt");

fn asked(csr: &[u8]) -> IssueRequest {
    request(1, &TestKey::new(1), csr, &[HOST])
}

/// A CSR that OpenSSL makes for a key of this kind.
fn openssl(stage: &Stage, key: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-nodes", "-keyout", "evil.key", "-outform", "DER", "-out", "evil.csr"]);
    command.args(["-subj", "/CN=host.test"]).args(key.split(' ')).current_dir(stage.site.path(""));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
    fs::read(stage.site.path("evil.csr")).unwrap()
}

/// A CSR for a key that is nothing but a modulus.
fn of_modulus(hex: &str) -> Vec<u8> {
    let mut modulus: Vec<u8> = vec![0];
    modulus.extend(
        hex.trim().as_bytes().chunks(2).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap()),
    );
    // SEQUENCE { INTEGER modulus, INTEGER 65537 } (RFC 8017 §A.1.1).
    let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
    let inner = [&[0x02, 0x82][..], &length, &modulus, &[0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let outer = u16::try_from(inner.len()).unwrap().to_be_bytes();
    let key = [&[0x30, 0x82][..], &outer, &inner].concat();
    let parameters = Some(Any::from_der(&[0x05, 0x00]).unwrap());
    of_key(const_oid::db::rfc5912::RSA_ENCRYPTION, parameters, &key)
}

/// A CSR for this key, which has not signed it.
fn of_key(oid: ObjectIdentifier, parameters: Option<Any>, key: &[u8]) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierOwned { oid, parameters };
    let public_key = SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(key).unwrap() };
    TestRequest::of(&[HOST]).sign_for(public_key, &TestKey::new(9))
}

/// The same on P-256.
fn of_point(point: &[u8]) -> Vec<u8> {
    let curve = Any::encode_from(&const_oid::db::rfc5912::SECP_256_R_1).unwrap();
    of_key(const_oid::db::rfc5912::ID_EC_PUBLIC_KEY, Some(curve), point)
}

/// Keys that are weak, or none.
pub(super) fn weak(stage: &Stage) -> Vec<Attempt> {
    let refused = |name, csr: &[u8]| Attempt::issue(name, Refusal::BadCsr, &asked(csr));
    let made = |name, key| refused(name, &openssl(stage, key));
    let point = SigningKey::from_slice(&[7; 32]).unwrap().verifying_key().to_sec1_point(false);
    let mut off = point.as_bytes().to_vec();
    off[64] ^= 1;
    let huge = format!("{}{}", "c5".repeat(1024), "01");
    vec![
        made("RSA of 1024 bits", "-newkey rsa:1024"),
        made("RSA of 2047 bits", "-newkey rsa:2047"),
        made("RSA with the exponent 3", "-newkey rsa:2048 -pkeyopt rsa_keygen_pubexp:3"),
        made("P-224", "-newkey ec -pkeyopt ec_paramgen_curve:secp224r1"),
        made("secp256k1", "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1"),
        made("P-521", "-newkey ec -pkeyopt ec_paramgen_curve:secp521r1"),
        made("a curve of its own", "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -pkeyopt ec_param_enc:explicit"),
        made("Ed25519", "-newkey ed25519"),
        made("SHA-1", "-newkey rsa:2048 -sha1"),
        refused("a modulus of 8200 bits", &of_modulus(&huge)),
        refused("an even modulus", &of_modulus(&format!("{}00", "c5".repeat(255)))),
        refused("a modulus with a small factor", &of_modulus(&"ff".repeat(256))),
        refused("primes that a fault of a library has made (ROCA)", &of_modulus(ROCA)),
        refused("primes that lie side by side", &of_modulus(CLOSE)),
        refused("a point off the curve", &of_point(&off)),
        refused("the point at infinity", &of_point(&[0])),
        refused("a point of zeros", &of_point(&[&[4][..], &[0; 64]].concat())),
        refused("half of a point", &of_point(&point.as_bytes()[..33])),
        refused("no key", &of_point(&[])),
        refused("bytes beside a modulus", &of_key(const_oid::db::rfc5912::RSA_ENCRYPTION, Some(octets()), b"\x30\x00")),
    ]
}

fn octets() -> Any {
    Any::encode_from(&OctetString::new([0x42; 32]).unwrap()).unwrap()
}

#[test]
fn a_key_that_is_another_ones_is_refused() {
    let stage = Stage::new();
    let account = TestKey::new(1);
    let refused = |name, csr: &[u8]| Attempt::issue(name, Refusal::BadCsr, &asked(csr));
    // The operator's own tool can make a CSR of the issuer's key: say that somebody has found one.
    let key = "--module /usr/lib/softhsm/libsofthsm2.so --token a1 --pin-file pins/a1 --label issuing";
    stage.site.signer_ok(&format!("csr {key} --subject CN={HOST} --out found.csr"));
    let pem = fs::read(stage.site.path("found.csr")).unwrap();
    let (_, found) = der::pem::decode_vec(&pem).unwrap();
    stage.try_each(&[refused("the account's key", &account.csr(&[HOST], "")), refused("the issuer's key", &found)]);
    // In its other form, a key is the same key.
    let other = account.public_key();
    let point = other.spki().subject_public_key.raw_bytes();
    let compressed = [&[2 + (point[64] & 1)][..], &point[1..33]].concat();
    let public_key = SubjectPublicKeyInfoOwned {
        algorithm: other.spki().algorithm.clone(),
        subject_public_key: BitString::from_bytes(&compressed).unwrap(),
    };
    let csr = TestRequest::of(&[HOST]).sign_for(public_key, &account);
    stage.try_each(&[refused("the account's key, as a compressed point", &csr)]);
}
