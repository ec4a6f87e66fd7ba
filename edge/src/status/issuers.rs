//! The issuers of all signers, as far as they are known: who issued a certificate that a stranger shows or asks about. Drained
//! ones are among them, for as long as their signers name them.

use shared::{
    base64url::Base64Url,
    chain::{Issuer, IssuerChain},
    ocsp::{CertIdHash, IssuerHashes},
    pointers::{CrlShard, IssuerId},
    serial::SerialNumber,
    signing::{CrlRequest, Status},
    timestamp::Timestamp,
};

/// Issuers with the bindings of the signers that have their keys.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Vec<KnownIssuer>);

/// One issuer.
#[derive(Clone, Debug)]
pub struct KnownIssuer {
    /// Its name in URLs.
    pub id: IssuerId,
    /// The binding of its signer.
    pub signer: String,
    /// It, and those above it.
    pub chain: IssuerChain,
    /// The parts of its CRL.
    pub shards: Vec<CrlShard>,
    hashes: Vec<(CertIdHash, IssuerHashes)>,
}

impl Issuers {
    /// Takes in what a signer says of itself. A chain that does not lead to our root now is left out.
    pub fn learn(&mut self, signer: &str, status: &Status, root: &Issuer, now: Timestamp) {
        self.0.retain(|known| known.signer != signer);
        for issuer in &status.issuers {
            let chain = IssuerChain::from_ders(issuer.chain.iter().map(|Base64Url(der)| der.as_slice()));
            if let Ok(chain) = chain
                && chain.verify_to(root, now).is_ok()
            {
                let of = |hash| IssuerHashes::of(chain.issuer(), hash).ok().map(|hashes| (hash, hashes));
                self.0.push(KnownIssuer {
                    id: IssuerId::of(chain.issuer()),
                    signer: signer.to_owned(),
                    hashes: CertIdHash::ALL.into_iter().filter_map(of).collect(),
                    shards: issuer.crl_shards.clone(),
                    chain,
                });
            }
        }
    }

    /// The signer one of whose issuers signed this certificate.
    #[must_use]
    pub fn signer_of(&self, certificate: &[u8]) -> Option<&str> {
        self.issuer_of(certificate).map(|known| known.signer.as_str())
    }

    /// The issuer that signed this certificate.
    #[must_use]
    pub fn issuer_of(&self, certificate: &[u8]) -> Option<&KnownIssuer> {
        self.0.iter().find(|known| known.chain.verify_leaf(certificate).is_ok())
    }

    /// The CRLs that a certificate can be in: of its issuer, and of every other certificate for the same name and key.
    #[must_use]
    pub fn parts_of(&self, certificate: &[u8], serial: SerialNumber) -> Vec<CrlRequest> {
        let same = self.0.iter().filter(|known| known.chain.verify_leaf(certificate).is_ok());
        let parts = same.flat_map(|known| known.shards.iter().map(|shard| (known.id, *shard)));
        parts.filter(|(_, shard)| shard.holds(serial)).map(|(issuer, shard)| CrlRequest { issuer, shard }).collect()
    }

    /// The issuer that an OCSP request means (RFC 6960 §4.1.1).
    #[must_use]
    pub fn named(&self, hash: CertIdHash, hashes: &IssuerHashes) -> Option<&KnownIssuer> {
        self.0.iter().find(|known| known.hashes.iter().any(|(own, of)| *own == hash && of == hashes))
    }

    /// The issuer of this name in URLs.
    #[must_use]
    pub fn by_id(&self, id: IssuerId) -> Option<&KnownIssuer> {
        self.0.iter().find(|known| known.id == id)
    }
}
