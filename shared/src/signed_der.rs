//! DER that somebody signed: a certification request, or a certificate. Whether the signature is valid may be found out by any
//! implementation; what was found out is remembered as [`Proved`], so that nobody computes it again.

use std::collections::BTreeSet;

use const_oid::db::rfc5912 as oid;
use der::{Decode, Encode};
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;

use crate::{
    csr::Parts,
    public_key::{BadSignature, KeyKind, PublicKey},
};

/// A signature over DER, and the key that it must verify under.
#[derive(Clone, Debug)]
pub struct SignedDer {
    key: PublicKey,
    content: Vec<u8>,
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
}

/// Signatures that are known to be valid. Only a positive answer is ever kept.
#[derive(Clone, Debug, Default)]
pub struct Proved(BTreeSet<[u8; 32]>);

/// A signature as WebCrypto's `verify` takes it (and most other interfaces).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainSignature {
    /// What kind of key.
    pub kind: KeyKind,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// `SHA-256`, `SHA-384` or `SHA-512`.
    pub hash: &'static str,
    /// ECDSA: r ‖ s (IEEE P1363). RSA: PKCS#1 v1.5.
    pub signature: Vec<u8>,
}

impl Proved {
    /// None.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(BTreeSet::new())
    }

    /// Remembers that this signature is valid: the caller has found it to be.
    pub fn note(&mut self, signed: &SignedDer) {
        self.0.insert(signed.identity());
    }

    /// Takes in what another one knows.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// True when the signature is known to be valid.
    #[must_use]
    pub fn holds(&self, signed: &SignedDer) -> bool {
        !self.0.is_empty() && self.0.contains(&signed.identity())
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl SignedDer {
    /// From its parts: what was signed, and the signature in X.509 form (ECDSA as DER).
    #[must_use]
    pub const fn new(
        key: PublicKey,
        content: Vec<u8>,
        algorithm: AlgorithmIdentifierOwned,
        signature: Vec<u8>,
    ) -> Self {
        Self { key, content, algorithm, signature }
    }

    /// A certification request, signed by its own key (RFC 2986 §4.2). Nothing when it is none, or its key is refused.
    #[must_use]
    pub fn request(der: &[u8]) -> Option<Self> {
        let parts = Parts::read(der).ok()?;
        let key = PublicKey::from_spki(parts.spki).ok()?;
        Some(Self::new(key, parts.info.to_vec(), parts.algorithm, parts.signature))
    }

    /// A certificate, signed by the key of the one that issued it. Nothing when either is none.
    #[must_use]
    pub fn certificate(der: &[u8], issuer: &[u8]) -> Option<Self> {
        let (certificate, issuer) = (Certificate::from_der(der).ok()?, Certificate::from_der(issuer).ok()?);
        Self::issued(&certificate, &issuer)
    }

    pub(crate) fn issued(certificate: &Certificate, issuer: &Certificate) -> Option<Self> {
        let key = PublicKey::from_spki(issuer.tbs_certificate().subject_public_key_info().clone()).ok()?;
        let content = certificate.tbs_certificate().to_der().ok()?;
        let signature = certificate.signature().as_bytes()?.to_vec();
        Some(Self::new(key, content, certificate.signature_algorithm().clone(), signature))
    }

    /// Checks the signature, unless it is known to be valid.
    ///
    /// # Errors
    /// As [`PublicKey::verify`].
    pub fn verify(&self, proved: &Proved) -> Result<(), BadSignature> {
        if proved.holds(self) { Ok(()) } else { self.key.verify(&self.content, &self.algorithm, &self.signature) }
    }

    /// What was signed.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The signature for another implementation; nothing when its algorithm does not fit the key, or it has no such form:
    /// [`Self::verify`] refuses it then.
    #[must_use]
    pub fn plain(&self) -> Option<PlainSignature> {
        let kind = self.key.kind();
        let (hash, signature) = match (kind, self.algorithm.oid) {
            (KeyKind::P256, oid::ECDSA_WITH_SHA_256) => ("SHA-256", p256(&self.signature)?),
            (KeyKind::P256, oid::ECDSA_WITH_SHA_384) => ("SHA-384", p256(&self.signature)?),
            (KeyKind::P256, oid::ECDSA_WITH_SHA_512) => ("SHA-512", p256(&self.signature)?),
            (KeyKind::P384, oid::ECDSA_WITH_SHA_256) => ("SHA-256", p384(&self.signature)?),
            (KeyKind::P384, oid::ECDSA_WITH_SHA_384) => ("SHA-384", p384(&self.signature)?),
            (KeyKind::P384, oid::ECDSA_WITH_SHA_512) => ("SHA-512", p384(&self.signature)?),
            (KeyKind::Rsa(_), oid::SHA_256_WITH_RSA_ENCRYPTION) => ("SHA-256", self.signature.clone()),
            (KeyKind::Rsa(_), oid::SHA_384_WITH_RSA_ENCRYPTION) => ("SHA-384", self.signature.clone()),
            (KeyKind::Rsa(_), oid::SHA_512_WITH_RSA_ENCRYPTION) => ("SHA-512", self.signature.clone()),
            _ => return None,
        };
        Some(PlainSignature { kind, spki: self.key.spki().to_der().ok()?, hash, signature })
    }

    /// SHA-256 over everything that the answer depends on.
    fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [
            self.key.spki().subject_public_key.raw_bytes(),
            self.algorithm.oid.as_bytes(),
            self.signature.as_slice(),
            self.content.as_slice(),
        ] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

fn p256(der: &[u8]) -> Option<Vec<u8>> {
    p256::ecdsa::Signature::from_der(der).ok().map(|signature| signature.to_bytes().to_vec())
}

fn p384(der: &[u8]) -> Option<Vec<u8>> {
    p384::ecdsa::Signature::from_der(der).ok().map(|signature| signature.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestCa, TestKey};

    #[test]
    fn a_request_and_a_certificate_verify_and_others_do_not() {
        let request = TestKey::new(2).csr(&["a.test"], "");
        let signed = SignedDer::request(&request).unwrap();
        let nothing = Proved::default();
        assert!(signed.verify(&nothing).is_ok());
        let ca = TestCa::new(1);
        let root = crate::chain::Issuer::from_pem(&ca.root_pem).unwrap();
        let certificate = SignedDer::certificate(ca.chain.issuer().der(), root.der()).unwrap();
        assert!(certificate.verify(&nothing).is_ok());
        let foreign = TestCa::new(7);
        let foreign = SignedDer::certificate(foreign.chain.issuer().der(), root.der()).unwrap();
        assert_eq!(foreign.verify(&nothing), Err(BadSignature::Invalid));
    }

    #[test]
    fn what_is_proved_is_proved_of_these_very_bytes() {
        let signed = SignedDer::request(&TestKey::new(2).csr(&["a.test"], "")).unwrap();
        let mut proved = Proved::default();
        proved.note(&signed);
        assert!(proved.holds(&signed));
        let mut changed = signed.clone();
        changed.content.push(0);
        assert!(!proved.holds(&changed));
        let mut changed = signed.clone();
        changed.signature.pop();
        assert!(!proved.holds(&changed));
        let other = SignedDer::request(&TestKey::new(3).csr(&["a.test"], "")).unwrap();
        assert!(!proved.holds(&SignedDer { key: other.key, ..signed }));
    }

    #[test]
    fn the_plain_form_has_both_numbers_in_full() {
        let signed = SignedDer::request(&TestKey::new(2).csr(&["a.test"], "")).unwrap();
        let plain = signed.plain().unwrap();
        assert_eq!((plain.kind, plain.hash, plain.signature.len()), (KeyKind::P256, "SHA-256", 64));
    }
}
