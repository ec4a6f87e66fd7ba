//! Public keys of certificates' subjects: SubjectPublicKeyInfo of the kinds that may be certified (RFC 5280 §4.1.2.7).

mod primes;

use der::{Decode, Encode, asn1::ObjectIdentifier};
use p256::ecdsa as es256;
use p384::ecdsa as es384;
use rsa::{RsaPublicKey, pkcs1v15, pss, traits::PublicKeyParts};
use sha2::{Digest, Sha256, Sha384, Sha512, digest::FixedOutputReset};
use signature::Verifier;
use spki::{AlgorithmIdentifierOwned, DecodePublicKey, SubjectPublicKeyInfoOwned};

use crate::ecdsa;

/// The smallest RSA modulus, in bits, that signs a request or is certified.
pub const RSA_MIN_BITS: usize = 2048;
/// The largest RSA modulus, in bits; larger ones cost more to verify than they protect.
pub const RSA_MAX_BITS: usize = 4096;

/// ecdsa-with-SHA256 (RFC 5758 §3.2).
pub const ECDSA_WITH_SHA256: ObjectIdentifier = const_oid::db::rfc5912::ECDSA_WITH_SHA_256;

const SMALL_PRIMES: [u64; 53] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199, 211, 223, 227, 229, 233, 239,
    241, 251,
];

/// The public key of a subject, known to be well formed and strong enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    spki: SubjectPublicKeyInfoOwned,
    key: Key,
}

/// What kind of key it is, for policy and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of this many bits.
    Rsa(usize),
}

/// Why a key is refused; for `badPublicKey` and `badCSR` (RFC 8555 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// The modulus is outside of 2048 to 4096 bits, not a multiple of 8 bits, or even.
    #[error("an RSA modulus has 2048 to 4096 bits, a multiple of 8, and is odd")]
    RsaSize,
    /// The exponent is even or outside of 2^16+1 to 2^33.
    #[error("an RSA exponent is odd and at least 65537")]
    RsaExponent,
    /// The modulus has a small factor.
    #[error("the RSA modulus has a small factor")]
    RsaSmallFactor,
    /// The primes can be found by strangers; told by [`PublicKey::check_primes`] alone.
    #[error("the RSA modulus has primes that strangers can find; make another key with up-to-date software")]
    RsaPrimes,
    /// Neither P-256, P-384 nor RSA, or not a valid point; with what it is.
    #[error("keys are P-256, P-384 or RSA of 2048 to 4096 bits, and this one is {0}")]
    Unsupported(&'static str),
}

/// A signature that does not verify, or is of an algorithm that does not fit the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The algorithm is unknown, obsolete (SHA-1) or of another kind of key.
    #[error("the signature algorithm does not fit the key; use SHA-256, SHA-384 or SHA-512")]
    Algorithm,
    /// It does not verify.
    #[error("the signature does not verify under the key")]
    Invalid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    P256(Box<es256::VerifyingKey>),
    P384(Box<es384::VerifyingKey>),
    Rsa(Box<RsaPublicKey>),
}

impl PublicKey {
    /// Parses a DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// When the DER or the key is not well formed, of an unsupported kind, or weak.
    pub fn parse(der: &[u8]) -> Result<Self, WeakKey> {
        SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| WeakKey::Unsupported("not DER")).and_then(Self::from_spki)
    }

    /// Checks a SubjectPublicKeyInfo that is part of a larger structure.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_spki(spki: SubjectPublicKeyInfoOwned) -> Result<Self, WeakKey> {
        let der = spki.to_der().map_err(|_| WeakKey::Unsupported("not DER"))?;
        let key = if let Ok(key) = es256::VerifyingKey::from_public_key_der(&der) {
            Key::P256(Box::new(key))
        } else if let Ok(key) = es384::VerifyingKey::from_public_key_der(&der) {
            Key::P384(Box::new(key))
        } else if spki.algorithm.oid == const_oid::db::rfc5912::RSA_ENCRYPTION {
            let key = RsaPublicKey::from_public_key_der(&der).map_err(|_| WeakKey::RsaSize)?;
            check_rsa(&key)?;
            Key::Rsa(Box::new(key))
        } else {
            return Err(WeakKey::Unsupported(kind_of(&spki.algorithm)));
        };
        Ok(Self { spki, key })
    }

    /// The SubjectPublicKeyInfo as parsed.
    #[must_use]
    pub const fn spki(&self) -> &SubjectPublicKeyInfoOwned {
        &self.spki
    }

    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match &self.key {
            Key::P256(_) => KeyKind::P256,
            Key::P384(_) => KeyKind::P384,
            Key::Rsa(key) => KeyKind::Rsa(key.size().saturating_mul(8)),
        }
    }

    /// True when both are the same key, in whatever form each was written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// True when it is this key.
    #[must_use]
    pub fn is_p256(&self, other: &es256::VerifyingKey) -> bool {
        matches!(&self.key, Key::P256(key) if **key == *other)
    }

    /// Leftmost 160 bits of SHA-256 over the key's bit string: the subject key identifier (RFC 7093 §2 method 1).
    #[must_use]
    pub fn key_identifier(&self) -> [u8; 20] {
        let digest = Sha256::digest(self.spki.subject_public_key.raw_bytes());
        let mut identifier = [0; 20];
        identifier.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        identifier
    }

    /// Verifies a signature in X.509 form (ECDSA as DER) over `message`.
    ///
    /// # Errors
    /// When the algorithm does not fit the key, or the signature does not verify.
    pub fn verify(
        &self,
        message: &[u8],
        algorithm: &AlgorithmIdentifierOwned,
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        use const_oid::db::rfc5912 as oid;
        let valid = match (&self.key, algorithm.oid) {
            (Key::P256(key), oid::ECDSA_WITH_SHA_256) => es256::Signature::from_der(signature)
                .is_ok_and(|signature| ecdsa::verify_p256(key, message, &signature)),
            (Key::P256(key), oid::ECDSA_WITH_SHA_384) => verify_p256_prehash(key, &Sha384::digest(message), signature),
            (Key::P256(key), oid::ECDSA_WITH_SHA_512) => verify_p256_prehash(key, &Sha512::digest(message), signature),
            (Key::P384(key), oid::ECDSA_WITH_SHA_256) => verify_p384_prehash(key, &Sha256::digest(message), signature),
            (Key::P384(key), oid::ECDSA_WITH_SHA_384) => es384::Signature::from_der(signature)
                .is_ok_and(|signature| ecdsa::verify_p384(key, message, &signature)),
            (Key::P384(key), oid::ECDSA_WITH_SHA_512) => verify_p384_prehash(key, &Sha512::digest(message), signature),
            (Key::Rsa(key), oid::SHA_256_WITH_RSA_ENCRYPTION) => verify_rsa::<Sha256>(key, message, signature),
            (Key::Rsa(key), oid::SHA_384_WITH_RSA_ENCRYPTION) => verify_rsa::<Sha384>(key, message, signature),
            (Key::Rsa(key), oid::SHA_512_WITH_RSA_ENCRYPTION) => verify_rsa::<Sha512>(key, message, signature),
            _ => return Err(BadSignature::Algorithm),
        };
        if valid { Ok(()) } else { Err(BadSignature::Invalid) }
    }

    /// True when this is an RSA key and `signature` its RSASSA-PSS signature over `message`, with a salt as long as the
    /// digest (RFC 8017 §8.1.2, RFC 8446 §4.2.3).
    pub(crate) fn verify_pss<D: Digest + FixedOutputReset>(&self, message: &[u8], signature: &[u8]) -> bool {
        let Key::Rsa(key) = &self.key else { return false };
        let verifier = pss::VerifyingKey::<D>::new(key.as_ref().clone());
        signature.len() == key.size()
            && pss::Signature::try_from(signature).is_ok_and(|signature| verifier.verify(message, &signature).is_ok())
    }
}

/// Refuses RSA keys that are small, large, of a weak exponent, or have a small factor.
///
/// # Errors
/// The first reason found.
pub fn check_rsa(key: &RsaPublicKey) -> Result<(), WeakKey> {
    let modulus = key.n().to_be_bytes();
    let significant = modulus.iter().skip_while(|byte| **byte == 0);
    let bits = significant.clone().count().saturating_mul(8).saturating_sub(
        significant.clone().next().map_or(0, |byte| usize::try_from(byte.leading_zeros()).unwrap_or(0)),
    );
    let even = modulus.last().is_none_or(|byte| byte % 2 == 0);
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) || bits % 8 != 0 || even {
        return Err(WeakKey::RsaSize);
    }
    let exponent = key.e().to_be_bytes().iter().fold(0_u128, |value, byte| (value << 8) | u128::from(*byte));
    if exponent < 65_537 || exponent % 2 == 0 {
        return Err(WeakKey::RsaExponent);
    }
    let divides = |prime: &u64| remainder(&modulus, *prime) == 0;
    if SMALL_PRIMES.iter().any(divides) { Err(WeakKey::RsaSmallFactor) } else { Ok(()) }
}

/// What is left of a number, most significant byte first, when it is divided by a small one.
fn remainder(number: &[u8], divisor: u64) -> u64 {
    let fold = |rest: u64, byte: &u8| ((rest << 8) | u64::from(*byte)).checked_rem(divisor).unwrap_or(0);
    number.iter().fold(0, fold)
}

/// Names a key of a kind that is not certified (RFC 5480 §2.1.1, RFC 8410 §3, RFC 4055 §1.2).
fn kind_of(algorithm: &AlgorithmIdentifierOwned) -> &'static str {
    use const_oid::db::{rfc5912 as oid, rfc8410};
    let curve = || algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok();
    match algorithm.oid {
        rfc8410::ID_ED_25519 => "Ed25519",
        rfc8410::ID_ED_448 => "Ed448",
        oid::ID_RSASSA_PSS => "RSASSA-PSS",
        oid::ID_EC_PUBLIC_KEY => match curve() {
            Some(oid::SECP_521_R_1) => "P-521",
            Some(oid::SECP_224_R_1) => "P-224",
            Some(oid::SECP_256_R_1 | oid::SECP_384_R_1) => "not a point of its curve",
            _ => "on another curve",
        },
        _ => "of another kind",
    }
}

fn verify_p256_prehash(key: &es256::VerifyingKey, digest: &[u8], signature: &[u8]) -> bool {
    use signature::hazmat::PrehashVerifier;
    es256::DerSignature::try_from(signature).is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
}

fn verify_p384_prehash(key: &es384::VerifyingKey, digest: &[u8], signature: &[u8]) -> bool {
    use signature::hazmat::PrehashVerifier;
    es384::DerSignature::try_from(signature).is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
}

fn verify_rsa<D>(key: &RsaPublicKey, message: &[u8], signature: &[u8]) -> bool
where
    D: Digest + const_oid::AssociatedOid,
{
    let verifier = pkcs1v15::VerifyingKey::<D>::new(key.clone());
    signature.len() == key.size()
        && pkcs1v15::Signature::try_from(signature).is_ok_and(|signature| verifier.verify(message, &signature).is_ok())
}
