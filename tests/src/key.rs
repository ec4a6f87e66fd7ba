//! Account keys. RSA ones are OpenSSL's and Ed25519 ones ring's: their signatures are not made by the code that checks them.

use anyhow::{Context as _, Result};
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    pkcs8::DecodePrivateKey as _,
};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::{Value, json};
use shared::base64url;
use tempfile::NamedTempFile;

use crate::{openssl, random};

/// A key that signs requests.
#[derive(Debug)]
pub enum AccountKey {
    /// ECDSA on P-256 with SHA-256.
    Es256(Box<SigningKey>),
    /// RSASSA-PKCS1-v1_5 with SHA-256: the private key in PEM, and the modulus.
    Rs256(NamedTempFile, Vec<u8>),
    /// Ed25519.
    EdDsa(Box<KeyPair>),
}

impl AccountKey {
    /// A fresh ES256 key.
    ///
    /// # Panics
    /// About once in 2^32 times the age of the universe.
    #[must_use]
    pub fn es256() -> Self {
        Self::Es256(Box::new(SigningKey::from_slice(&random::bytes::<32>()).expect("nearly all numbers are keys")))
    }

    /// A certificate's key on P-256, to sign requests with.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn of(pair: &KeyPair) -> Result<Self> {
        Ok(Self::Es256(Box::new(SigningKey::from_pkcs8_der(pair.serialized_der())?)))
    }

    /// A fresh Ed25519 key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ed25519() -> Result<Self> {
        Ok(Self::EdDsa(Box::new(KeyPair::generate_for(&PKCS_ED25519)?)))
    }

    /// A fresh RS256 key of 2048 bits.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn rs256() -> Result<Self> {
        Self::rsa(2048)
    }

    /// A fresh RS256 key of so many bits.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn rsa(bits: u32) -> Result<Self> {
        let file = NamedTempFile::new()?;
        openssl::run(openssl::command(["genrsa", "-out"]).arg(file.path()).arg(bits.to_string()), b"")?;
        let modulus = openssl::run(openssl::command(["rsa", "-noout", "-modulus", "-in"]).arg(file.path()), b"")?;
        let modulus = String::from_utf8(modulus)?;
        let digits = modulus.trim().strip_prefix("Modulus=").context("OpenSSL prints the modulus")?.as_bytes();
        let modulus = digits.chunks(2).map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?));
        Ok(Self::Rs256(file, modulus.collect::<Result<_>>()?))
    }

    /// The header's `alg`.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(..) => "RS256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    /// The public key (RFC 7517).
    ///
    /// # Panics
    /// Never: no public key is the point at infinity.
    #[must_use]
    pub fn jwk(&self) -> Value {
        match self {
            Self::Es256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let [x, y] = [point.x(), point.y()].map(|value| base64url::encode(value.expect("it is a point")));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Self::Rs256(_, modulus) => json!({"kty": "RSA", "n": base64url::encode(modulus), "e": "AQAB"}),
            Self::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(pair.public_key_raw())})
            }
        }
    }

    /// The thumbprint in base64url (RFC 7638).
    ///
    /// # Errors
    /// Never for a key of this type.
    pub fn thumbprint(&self) -> Result<String> {
        let jwk: shared::jwk::Jwk = serde_json::from_value(self.jwk())?;
        Ok(base64url::encode(&jwk.thumbprint().0))
    }

    /// A flattened JWS of this header, to which `alg` is added unless it is there, and this payload.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn sign(&self, header: &Value, payload: &[u8]) -> Result<Value> {
        let mut header = header.clone();
        if header.get("alg").is_none() {
            header["alg"] = json!(self.algorithm());
        }
        self.sign_text(&header.to_string(), payload)
    }

    /// A flattened JWS of a header that is taken as it is, and this payload.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn sign_text(&self, header: &str, payload: &[u8]) -> Result<Value> {
        let protected = base64url::encode(header.as_bytes());
        let payload = base64url::encode(payload);
        let message = format!("{protected}.{payload}");
        let signature = match self {
            Self::Es256(key) => {
                let signature: Signature = key.sign(message.as_bytes());
                signature.to_bytes().to_vec()
            }
            Self::Rs256(file, _) => {
                openssl::run(openssl::command(["dgst", "-sha256", "-sign"]).arg(file.path()), message.as_bytes())?
            }
            Self::EdDsa(pair) => pair.sign(message.as_bytes())?,
        };
        Ok(json!({"protected": protected, "payload": payload, "signature": base64url::encode(&signature)}))
    }
}
