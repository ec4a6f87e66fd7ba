//! Account keys: public JSON Web Keys of the kinds that may sign ACME requests (RFC 7517, RFC 8555 §6.2).

use std::fmt;

use ed25519_dalek as eddsa;
use jose_jwk::{EcCurves, Key, OkpCurves, Parameters, jose_b64::serde::Bytes};
use p256::ecdsa as es256;
use p384::ecdsa as es384;
use rsa::{BoxedUint, RsaPublicKey, pkcs1v15, traits::PublicKeyParts};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use signature::Verifier;
use spki::EncodePublicKey;

use crate::{
    base64url, ecdsa,
    public_key::{PublicKey, RSA_MAX_BITS, RSA_MIN_BITS, WeakKey, check_rsa},
};

/// A public account key, known to be well formed: the point is on its curve, the RSA modulus has 2048 to 4096 bits, and
/// there is no private member. On the wire the required members only, in the order of RFC 7638 §3.2.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "JsonObject", into = "jose_jwk::Jwk")]
pub struct Jwk {
    key: Key,
    verifier: KeyMaterial,
}

/// A JWK as it came, before anything about it is known.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// SHA-256 over the canonical JWK (RFC 7638): what names an account for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(pub [u8; 32]);

/// Signature algorithms of account keys. A key has exactly one (RFC 8555 §6.2, RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; the signature is r ‖ s, 64 bytes.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384; the signature is r ‖ s, 96 bytes.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519; the signature is 64 bytes (RFC 8037 §3.1).
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Why a JWK cannot be an account key; for `badPublicKey` (RFC 8555 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwk {
    /// The JWK carries `d` or another private member.
    #[error("the JWK carries private members: never send them, and replace this key")]
    Private,
    /// A kind or curve that no algorithm of ours uses.
    #[error("keys are P-256 or P-384 (EC), Ed25519 (OKP), or RSA of 2048 to 4096 bits")]
    Unsupported,
    /// x or y has the wrong length, or the point is not on the curve.
    #[error("the coordinates are not a point on the curve, in full length")]
    NotOnCurve,
    /// An RSA key that is too small, too large, or has a weak exponent or modulus.
    #[error(transparent)]
    Weak(#[from] WeakKey),
    /// A good key, but not one of the algorithm that the header names.
    #[error("the key is not one of the header's \"alg\"")]
    OtherAlgorithm,
}

#[derive(Clone, PartialEq, Eq)]
enum KeyMaterial {
    P256(Box<es256::VerifyingKey>),
    P384(Box<es384::VerifyingKey>),
    Ed25519(Box<eddsa::VerifyingKey>),
    Rsa(Box<RsaPublicKey>),
}

impl Algorithm {
    /// All that account keys may use, for `badSignatureAlgorithm` (RFC 8555 §6.2).
    pub const ALL: [Self; 4] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256];

    /// The name of the JOSE registry (RFC 7518 §3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Jwk {
    /// The one algorithm that fits the key.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.verifier {
            KeyMaterial::P256(_) => Algorithm::Es256,
            KeyMaterial::P384(_) => Algorithm::Es384,
            KeyMaterial::Ed25519(_) => Algorithm::EdDsa,
            KeyMaterial::Rsa(_) => Algorithm::Rs256,
        }
    }

    /// SHA-256 of the canonical form (RFC 7638 §3).
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint(Sha256::digest(self.canonical_json()).into())
    }

    /// The required members in lexicographic order without white space (RFC 7638 §3.2).
    #[must_use]
    pub fn canonical_json(&self) -> String {
        match &self.key {
            Key::Ec(ec) => {
                let crv = if ec.crv == EcCurves::P256 { "P-256" } else { "P-384" };
                let (x, y) = (base64url::encode(&ec.x), base64url::encode(&ec.y));
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Key::Okp(okp) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(&okp.x)),
            Key::Rsa(rsa) => {
                let (e, n) = (base64url::encode(&rsa.e), base64url::encode(&rsa.n));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
            // Unreachable by construction: `try_from` admits the kinds above. An empty text has no preimage as a key.
            _ => String::new(),
        }
    }

    /// True when a certificate's key is this key: an account key must not be one (RFC 8555 §11.1).
    #[must_use]
    pub fn is_same_key(&self, other: &PublicKey) -> bool {
        let der = match &self.verifier {
            KeyMaterial::P256(key) => key.to_public_key_der(),
            KeyMaterial::P384(key) => key.to_public_key_der(),
            // No certificate of ours has such a key.
            KeyMaterial::Ed25519(_) => return false,
            KeyMaterial::Rsa(key) => key.to_public_key_der(),
        };
        der.is_ok_and(|der| PublicKey::parse(der.as_bytes()).is_ok_and(|key| key.is_same(other)))
    }

    /// True when `signature`, in JOSE form, is this key's over `message`. False for a signature of another form, for r or
    /// s out of range, and for DER (RFC 7518 §3.3, §3.4).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            KeyMaterial::P256(key) => es256::Signature::from_slice(signature)
                .is_ok_and(|signature| ecdsa::verify_p256(key, message, &signature)),
            KeyMaterial::P384(key) => es384::Signature::from_slice(signature)
                .is_ok_and(|signature| ecdsa::verify_p384(key, message, &signature)),
            // As RFC 8032 §5.1.7 has it, and the platform: R may be of small order, which only who has the private key can
            // make it. Keys of small order are refused when they are read.
            KeyMaterial::Ed25519(key) => {
                eddsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            KeyMaterial::Rsa(key) => {
                let verifier = pkcs1v15::VerifyingKey::<Sha256>::new(key.as_ref().clone());
                signature.len() == key.size()
                    && pkcs1v15::Signature::try_from(signature)
                        .is_ok_and(|signature| verifier.verify(message, &signature).is_ok())
            }
        }
    }
}

impl TryFrom<JsonObject> for Jwk {
    type Error = BadJwk;

    fn try_from(object: JsonObject) -> Result<Self, BadJwk> {
        /// RFC 7518 §6.2.2, §6.3.2 and §6.4.
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if PRIVATE.iter().any(|member| object.contains_key(*member)) {
            return Err(BadJwk::Private);
        }
        let jwk: jose_jwk::Jwk =
            serde_json::from_value(serde_json::Value::Object(object)).map_err(|_| BadJwk::Unsupported)?;
        Self::try_from(jwk)
    }
}

impl TryFrom<jose_jwk::Jwk> for Jwk {
    type Error = BadJwk;

    fn try_from(jwk: jose_jwk::Jwk) -> Result<Self, BadJwk> {
        match jwk.key {
            Key::Ec(ec) if ec.d.is_some() => Err(BadJwk::Private),
            Key::Rsa(rsa) if rsa.prv.is_some() => Err(BadJwk::Private),
            Key::Okp(okp) if okp.d.is_some() => Err(BadJwk::Private),
            Key::Ec(ec) => {
                let verifier = match ec.crv {
                    EcCurves::P256 => KeyMaterial::P256(Box::new(
                        es256::VerifyingKey::from_sec1_bytes(&sec1_point::<32>(&ec.x, &ec.y)?)
                            .map_err(|_| BadJwk::NotOnCurve)?,
                    )),
                    EcCurves::P384 => KeyMaterial::P384(Box::new(
                        es384::VerifyingKey::from_sec1_bytes(&sec1_point::<48>(&ec.x, &ec.y)?)
                            .map_err(|_| BadJwk::NotOnCurve)?,
                    )),
                    _ => return Err(BadJwk::Unsupported),
                };
                Ok(Self { key: Key::Ec(ec), verifier })
            }
            Key::Okp(okp) if okp.crv == OkpCurves::Ed25519 => {
                let bytes = <[u8; 32]>::try_from(okp.x.as_ref()).map_err(|_| BadJwk::NotOnCurve)?;
                let key = eddsa::VerifyingKey::from_bytes(&bytes).map_err(|_| BadJwk::NotOnCurve)?;
                if key.is_weak() {
                    return Err(BadJwk::NotOnCurve);
                }
                Ok(Self { key: Key::Okp(okp), verifier: KeyMaterial::Ed25519(Box::new(key)) })
            }
            Key::Rsa(rsa) => {
                let (n, e) = (integer(&rsa.n)?, integer(&rsa.e)?);
                let key = RsaPublicKey::new_with_size_limits(n, e, RSA_MIN_BITS..=RSA_MAX_BITS)
                    .map_err(|_| WeakKey::RsaSize)?;
                check_rsa(&key)?;
                Ok(Self { key: Key::Rsa(rsa), verifier: KeyMaterial::Rsa(Box::new(key)) })
            }
            _ => Err(BadJwk::Unsupported),
        }
    }
}

impl From<Jwk> for jose_jwk::Jwk {
    fn from(jwk: Jwk) -> Self {
        Self { key: jwk.key, prm: Parameters::default() }
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwk({:?}, {:?})", self.algorithm(), self.thumbprint())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

/// Uncompressed SEC 1 point of coordinates that have their full length, as RFC 7518 §6.2.1.2 requires.
fn sec1_point<const N: usize>(x: &Bytes, y: &Bytes) -> Result<Vec<u8>, BadJwk> {
    if x.len() != N || y.len() != N {
        return Err(BadJwk::NotOnCurve);
    }
    Ok([&[4], x.as_ref(), y.as_ref()].concat())
}

/// A big-endian integer without leading zeros (RFC 7518 §6.3.1.1), bounded before any arithmetic sees it.
fn integer(bytes: &Bytes) -> Result<BoxedUint, BadJwk> {
    let limit = RSA_MAX_BITS.div_ceil(8);
    if bytes.is_empty() || bytes.len() > limit || bytes.first() == Some(&0) {
        return Err(WeakKey::RsaSize.into());
    }
    let bits = u32::try_from(bytes.len().saturating_mul(8)).map_err(|_| WeakKey::RsaSize)?;
    BoxedUint::from_be_slice(bytes, bits.max(u32::try_from(RSA_MIN_BITS).unwrap_or(bits)))
        .map_err(|_| WeakKey::RsaSize.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1.
    const RFC_7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    /// RFC 7517 A.1.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}"#;

    #[test]
    fn thumbprint_is_that_of_rfc_7638() {
        let jwk: Jwk = serde_json::from_str(RFC_7638).unwrap();
        assert_eq!(jwk.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn canonical_form_is_stable_through_serde() {
        for text in [RFC_7638, P256] {
            let jwk: Jwk = serde_json::from_str(text).unwrap();
            let again: Jwk = serde_json::from_str(&serde_json::to_string(&jwk).unwrap()).unwrap();
            assert_eq!(again, jwk);
            assert_eq!(serde_json::from_str::<Jwk>(&jwk.canonical_json()).unwrap(), jwk);
        }
    }

    #[test]
    fn a_point_off_the_curve_is_refused() {
        let off = P256.replace("4Etl6SRW", "4Etl6SRX");
        assert!(serde_json::from_str::<Jwk>(&off).unwrap_err().to_string().contains("point on the curve"));
    }

    #[test]
    fn short_coordinates_are_refused() {
        let short = P256.replace("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "AQ");
        assert!(serde_json::from_str::<Jwk>(&short).is_err());
    }

    #[test]
    fn a_private_member_is_refused_and_named() {
        let private = P256.replace(r#""use":"enc""#, r#""d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE""#);
        assert!(serde_json::from_str::<Jwk>(&private).unwrap_err().to_string().contains("private"));
    }

    #[test]
    fn small_and_even_rsa_keys_are_refused() {
        assert!(serde_json::from_str::<Jwk>(r#"{"kty":"RSA","n":"0vx7ag","e":"AQAB"}"#).is_err());
        assert!(serde_json::from_str::<Jwk>(&RFC_7638.replace("AQAB", "Ag")).is_err());
        assert!(serde_json::from_str::<Jwk>(&RFC_7638.replace("AQAB", "AQ")).is_err());
    }

    #[test]
    fn other_kinds_are_refused() {
        for text in [
            r#"{"kty":"oct","k":"AQ"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"AQ"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"EC","crv":"P-521","x":"AQ","y":"AQ"}"#,
        ] {
            assert!(serde_json::from_str::<Jwk>(text).is_err(), "{text}");
        }
    }
}
