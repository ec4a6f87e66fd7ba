//! Signatures to ask both implementations about: Project Wycheproof's vectors, and those of `ed25519.json`, in the forms that the edge gives them.

use anyhow::{Context as _, Result};
use der::asn1::ObjectIdentifier;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    base64url,
    jwk::Jwk,
    public_key::{KeyKind, PublicKey},
    signed_der::{PlainSignature, Proved, SignedDer},
};
use spki::AlgorithmIdentifierOwned;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as rsa};

/// A signature, and what our code says of it.
#[derive(Debug)]
pub(crate) struct Case {
    /// The algorithm, for counting.
    pub(crate) set: String,
    /// Which vector it is.
    pub(crate) name: String,
    /// Our answer.
    pub(crate) ours: bool,
    /// For the platform. Nothing when the edge would not ask it.
    pub(crate) question: Option<Question>,
}

/// What the platform is asked. All bytes are in hexadecimal digits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    key: Key,
    message: String,
    signature: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Key {
    Account { jwk: String, algorithm: &'static str },
    Certified { spki: String, kind: &'static str, hash: &'static str },
}

/// A row of `ed25519.json`.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    key: String,
    message: String,
    signature: String,
}

impl Case {
    fn account(key: &Jwk, name: String, message: &[u8], signature: &[u8]) -> Self {
        let algorithm = key.algorithm().name();
        let jwk = Key::Account { jwk: key.canonical_json(), algorithm };
        Self {
            set: algorithm.to_owned(),
            name,
            ours: key.verify(message, signature),
            question: Some(Question { key: jwk, message: hex(message), signature: hex(signature) }),
        }
    }

    fn certified(set: &str, name: String, signed: &SignedDer) -> Result<Self> {
        let question = signed.plain().map(|plain| Question::plain(&plain, signed.content()));
        Ok(Self { set: set.to_owned(), name, ours: signed.verify(&Proved::nothing()).is_ok(), question })
    }
}

impl Question {
    fn plain(plain: &PlainSignature, content: &[u8]) -> Self {
        let kind = match plain.kind {
            KeyKind::P256 => "P256",
            KeyKind::P384 => "P384",
            KeyKind::Rsa(_) => "Rsa",
        };
        let key = Key::Certified { spki: hex(&plain.spki), kind, hash: plain.hash };
        Self { key, message: hex(content), signature: hex(&plain.signature) }
    }
}

/// Signatures of account keys.
pub(crate) fn account_keys() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (set, crv) in
        [(ecdsa::TestName::EcdsaSecp256r1Sha256P1363, "P-256"), (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, "P-384")]
    {
        for group in loaded(ecdsa::TestSet::load(set))?.test_groups {
            let point = group.key.key.get(1..).context("a point has its form first")?;
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({"kty": "EC", "crv": crv, "x": base64url::encode(x), "y": base64url::encode(y)});
            let jwk: Jwk = serde_json::from_value(jwk)?;
            cases.extend(group.tests.into_iter().map(|test| {
                Case::account(&jwk, format!("{set:?} {}: {}", test.tc_id, test.comment), &test.msg, &test.sig)
            }));
        }
    }
    for group in loaded(eddsa::TestSet::load(eddsa::TestName::Ed25519))?.test_groups {
        // A key that we refuse is never asked about.
        let Ok(jwk) = ed25519(&group.key.pk) else { continue };
        cases.extend(group.tests.into_iter().map(|test| {
            Case::account(&jwk, format!("Ed25519 {}: {}", test.tc_id, test.comment), &test.msg, &test.sig)
        }));
    }
    for set in [rsa::TestName::Rsa2048Sha256, rsa::TestName::Rsa3072Sha256, rsa::TestName::Rsa4096Sha256] {
        for group in loaded(rsa::TestSet::load(set))?.test_groups {
            let integer =
                |bytes: &[u8]| base64url::encode(&bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
            let jwk = json!({"kty": "RSA", "n": integer(&group.key.n), "e": integer(&group.key.e)});
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
            cases.extend(group.tests.into_iter().map(|test| {
                Case::account(&jwk, format!("{set:?} {}: {}", test.tc_id, test.comment), &test.msg, &test.sig)
            }));
        }
    }
    Ok(cases)
}

/// Ed25519 signatures that implementations are known to differ about, and a usual one.
pub(crate) fn ed25519_corners() -> Result<Vec<Case>> {
    let rows: Vec<Row> = serde_json::from_str(include_str!("ed25519.json"))?;
    let case = |row: Row| {
        let jwk = ed25519(&bytes(&row.key)?)?;
        Ok(Case::account(&jwk, row.name, row.message.as_bytes(), &bytes(&row.signature)?))
    };
    rows.into_iter().map(case).collect()
}

/// Signatures in X.509 form: ECDSA as DER, keys as SubjectPublicKeyInfo.
pub(crate) fn certified_keys() -> Result<Vec<Case>> {
    use const_oid::db::rfc5912 as oid;
    use ecdsa::TestName as Ec;
    use rsa::TestName as Rsa;
    let mut cases = Vec::new();
    for (set, algorithm) in [
        (Ec::EcdsaSecp256r1Sha256, oid::ECDSA_WITH_SHA_256),
        (Ec::EcdsaSecp256r1Sha512, oid::ECDSA_WITH_SHA_512),
        (Ec::EcdsaSecp384r1Sha256, oid::ECDSA_WITH_SHA_256),
        (Ec::EcdsaSecp384r1Sha384, oid::ECDSA_WITH_SHA_384),
        (Ec::EcdsaSecp384r1Sha512, oid::ECDSA_WITH_SHA_512),
    ] {
        for group in loaded(ecdsa::TestSet::load(set))?.test_groups {
            let tests = group.tests.into_iter().map(|test| (test.tc_id, test.comment, test.msg, test.sig));
            for (id, comment, message, signature) in tests {
                let signed = signed(&group.der, algorithm, &message, &signature)?;
                cases.push(Case::certified(&format!("{set:?}"), format!("{set:?} {id}: {comment}"), &signed)?);
            }
        }
    }
    for (set, algorithm) in [
        (Rsa::Rsa2048Sha256, oid::SHA_256_WITH_RSA_ENCRYPTION),
        (Rsa::Rsa2048Sha384, oid::SHA_384_WITH_RSA_ENCRYPTION),
        (Rsa::Rsa2048Sha512, oid::SHA_512_WITH_RSA_ENCRYPTION),
    ] {
        for group in loaded(rsa::TestSet::load(set))?.test_groups {
            if PublicKey::parse(&group.der).is_err() {
                continue;
            }
            for test in group.tests {
                let signed = signed(&group.der, algorithm, &test.msg, &test.sig)?;
                let name = format!("{set:?} {}: {}", test.tc_id, test.comment);
                cases.push(Case::certified(&format!("{set:?}"), name, &signed)?);
            }
        }
    }
    Ok(cases)
}

fn signed(spki: &[u8], algorithm: ObjectIdentifier, message: &[u8], signature: &[u8]) -> Result<SignedDer> {
    let algorithm = AlgorithmIdentifierOwned { oid: algorithm, parameters: None };
    Ok(SignedDer::new(PublicKey::parse(spki)?, message.to_vec(), algorithm, signature.to_vec()))
}

fn ed25519(key: &[u8]) -> Result<Jwk> {
    Ok(serde_json::from_value(json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(key)}))?)
}

fn loaded<T, E: std::fmt::Debug>(set: Result<T, E>) -> Result<T> {
    set.map_err(|error| anyhow::anyhow!("{error:?}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let digits = |at: usize| hex.get(at..at + 2).context("two digits for each byte");
    (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?)).collect()
}
