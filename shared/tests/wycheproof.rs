//! Signatures of account keys against Project Wycheproof's vectors: every algorithm, in the form that JOSE gives it; and those
//! of TLS handshakes, in theirs.

use serde_json::json;
use shared::{
    base64url,
    handshake_signature::{self, Scheme},
    jwk::Jwk,
};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

fn check(valid: bool, result: TestResult, what: &str) {
    match result {
        TestResult::Valid => assert!(valid, "{what}: valid and refused"),
        TestResult::Invalid => assert!(!valid, "{what}: invalid and accepted"),
        TestResult::Acceptable => {}
    }
}

fn ec(set: ecdsa::TestName, crv: &str, bytes: usize) -> usize {
    let mut checked = 0;
    for group in ecdsa::TestSet::load(set).unwrap().test_groups {
        let point = group.key.key.as_ref();
        let (x, y) = point[1..].split_at(bytes);
        let jwk = json!({"kty": "EC", "crv": crv, "x": base64url::encode(x), "y": base64url::encode(y)});
        let jwk: Jwk = serde_json::from_value(jwk).unwrap();
        for test in group.tests {
            let what = format!("{crv} {}: {}", test.tc_id, test.comment);
            check(jwk.verify(&test.msg, &test.sig), test.result, &what);
            checked += 1;
        }
    }
    checked
}

#[test]
fn es256_agrees_with_every_vector() {
    assert!(ec(ecdsa::TestName::EcdsaSecp256r1Sha256P1363, "P-256", 32) > 200);
}

#[test]
fn es384_agrees_with_every_vector() {
    assert!(ec(ecdsa::TestName::EcdsaSecp384r1Sha384P1363, "P-384", 48) > 200);
}

#[test]
fn eddsa_agrees_with_every_vector() {
    let mut checked = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&group.key.pk)});
        let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
        for test in group.tests {
            let what = format!("Ed25519 {}: {}", test.tc_id, test.comment);
            check(jwk.verify(&test.msg, &test.sig), test.result, &what);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn rs256_agrees_with_every_vector() {
    use rsa_pkcs1_verify::TestName;
    let mut checked = 0;
    for set in [TestName::Rsa2048Sha256, TestName::Rsa3072Sha256, TestName::Rsa4096Sha256] {
        for group in rsa_pkcs1_verify::TestSet::load(set).unwrap().test_groups {
            let integer =
                |bytes: &[u8]| base64url::encode(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
            let jwk = json!({"kty": "RSA", "n": integer(&group.key.n), "e": integer(&group.key.e)});
            // Keys with a small exponent are no account keys here.
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
            for test in group.tests {
                let what = format!("{set:?} {}: {}", test.tc_id, test.comment);
                check(jwk.verify(&test.msg, &test.sig), test.result, &what);
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn handshakes_by_rsa_pss_agree_with_every_vector() {
    use rsa_pss_verify::TestName;
    let mut checked = 0;
    for (set, scheme) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, Scheme::RsaPssSha256),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, Scheme::RsaPssSha256),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Scheme::RsaPssSha384),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, Scheme::RsaPssSha512),
    ] {
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{set:?} {}: {}", test.tc_id, test.comment);
                check(handshake_signature::verify(&group.der, scheme, &test.msg, &test.sig), test.result, &what);
                checked += 1;
            }
        }
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn handshakes_by_another_salt_length_or_hash_are_refused() {
    use rsa_pss_verify::TestName;
    let mut checked = 0;
    for (set, scheme) in [
        (TestName::RsaPss2048Sha256Mgf1SaltLen0, Scheme::RsaPssSha256),
        (TestName::RsaPss4096Sha512Mgf1SaltLen32, Scheme::RsaPssSha512),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, Scheme::RsaPssSha256),
    ] {
        for group in rsa_pss_verify::TestSet::load(set).unwrap().test_groups {
            // What is invalid there may be valid here.
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                assert!(!handshake_signature::verify(&group.der, scheme, &test.msg, &test.sig), "{set:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn handshakes_by_ecdsa_agree_with_every_vector() {
    let mut checked = 0;
    for (set, scheme) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Scheme::EcdsaSha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha256, Scheme::EcdsaSha256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Scheme::EcdsaSha384),
    ] {
        for group in ecdsa::TestSet::load(set).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{set:?} {}: {}", test.tc_id, test.comment);
                check(handshake_signature::verify(&group.der, scheme, &test.msg, &test.sig), test.result, &what);
                checked += 1;
            }
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn handshakes_by_ed25519_agree_with_every_vector() {
    let mut checked = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        for test in group.tests {
            let what = format!("Ed25519 {}: {}", test.tc_id, test.comment);
            check(handshake_signature::verify(&group.der, Scheme::Ed25519, &test.msg, &test.sig), test.result, &what);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}
