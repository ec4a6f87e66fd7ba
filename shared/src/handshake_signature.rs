//! Signatures of TLS handshakes under the key of the certificate that was presented (RFC 8446 §4.2.3, §4.4.3).

use const_oid::db::{rfc5912, rfc8410::ID_ED_25519};
use der::{Decode, asn1::ObjectIdentifier};
use ed25519_dalek as eddsa;
use sha2::{Sha256, Sha384, Sha512};
use signature::Verifier;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

use crate::public_key::PublicKey;

/// Signature schemes of TLS that are verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// ECDSA with SHA-256, on P-256 or (TLS 1.2) P-384; the signature is DER.
    EcdsaSha256,
    /// ECDSA with SHA-384, likewise.
    EcdsaSha384,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PSS with SHA-256 by an ordinary RSA key; the salt is as long as the digest.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, likewise.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, likewise.
    RsaPssSha512,
    /// RSASSA-PKCS1-v1_5 with SHA-256: TLS 1.2 only.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384: TLS 1.2 only.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512: TLS 1.2 only.
    RsaPkcs1Sha512,
}

/// True when `signature` over `message` verifies under the key in this DER SubjectPublicKeyInfo. False also for a key of
/// another kind than the scheme's, and for one that is weak or malformed.
#[must_use]
pub fn verify(spki: &[u8], scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let x509 = |oid: ObjectIdentifier| {
        let algorithm = AlgorithmIdentifierOwned { oid, parameters: None };
        PublicKey::parse(spki).is_ok_and(|key| key.verify(message, &algorithm, signature).is_ok())
    };
    match scheme {
        Scheme::EcdsaSha256 => x509(rfc5912::ECDSA_WITH_SHA_256),
        Scheme::EcdsaSha384 => x509(rfc5912::ECDSA_WITH_SHA_384),
        Scheme::RsaPkcs1Sha256 => x509(rfc5912::SHA_256_WITH_RSA_ENCRYPTION),
        Scheme::RsaPkcs1Sha384 => x509(rfc5912::SHA_384_WITH_RSA_ENCRYPTION),
        Scheme::RsaPkcs1Sha512 => x509(rfc5912::SHA_512_WITH_RSA_ENCRYPTION),
        Scheme::RsaPssSha256 => PublicKey::parse(spki).is_ok_and(|key| key.verify_pss::<Sha256>(message, signature)),
        Scheme::RsaPssSha384 => PublicKey::parse(spki).is_ok_and(|key| key.verify_pss::<Sha384>(message, signature)),
        Scheme::RsaPssSha512 => PublicKey::parse(spki).is_ok_and(|key| key.verify_pss::<Sha512>(message, signature)),
        Scheme::Ed25519 => verify_ed25519(spki, message, signature).is_some(),
    }
}

fn verify_ed25519(spki: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).ok().filter(|spki| spki.algorithm.oid == ID_ED_25519)?;
    let bytes = spki.subject_public_key.as_bytes()?.try_into().ok()?;
    let key = eddsa::VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())?;
    key.verify(message, &eddsa::Signature::from_slice(signature).ok()?).ok()
}
