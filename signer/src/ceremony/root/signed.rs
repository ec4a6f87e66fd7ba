//! SIGNED{ToBeSigned} of certificates and CRLs (RFC 5280 §4.1.1, §5.1.1), with the bytes that were signed kept as they are.

use anyhow::{Context, ensure};
use der::{
    Decode, Encode, Sequence,
    asn1::{Any, BitString},
};
use p256::ecdsa::VerifyingKey;
use shared::{certificate::ecdsa_with_sha256, public_key::PublicKey};
use spki::{AlgorithmIdentifierOwned, EncodePublicKey};

/// A structure and the signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(crate) struct Signed {
    content: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

impl Signed {
    /// Puts an ECDSA signature with SHA-256 (DER) behind the DER of what was signed. Gives DER.
    pub(super) fn assemble(content: &[u8], signature: &[u8]) -> anyhow::Result<Vec<u8>> {
        let content = Any::from_der(content).context("what is signed is not DER")?;
        let signed = Self { content, algorithm: ecdsa_with_sha256(), signature: BitString::from_bytes(signature)? };
        Ok(signed.to_der()?)
    }

    /// Reads DER.
    pub(crate) fn parse(der: &[u8]) -> anyhow::Result<Self> {
        let signed = Self::from_der(der).context("not a signed structure in DER")?;
        ensure!(signed.to_der()? == der, "the structure is not in DER");
        Ok(signed)
    }

    /// The bytes under the signature.
    pub(crate) fn content(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.content.to_der()?)
    }

    /// Checks the signature.
    pub(crate) fn verify(&self, key: &PublicKey) -> anyhow::Result<()> {
        let signature = self.signature.as_bytes().context("the signature is not whole bytes")?;
        key.verify(&self.content()?, &self.algorithm, signature).context("the signature")
    }
}

/// A P-256 key in the form that verifies any kind.
pub(super) fn public_key(key: &VerifyingKey) -> anyhow::Result<PublicKey> {
    Ok(PublicKey::parse(key.to_public_key_der().context("the public key cannot be encoded")?.as_bytes())?)
}
