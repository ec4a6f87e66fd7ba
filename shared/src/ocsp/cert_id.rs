//! CertID: how an OCSP request names a certificate (RFC 6960 §4.1.1).

use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::{
    Decode, Encode, Sequence,
    asn1::{Any, Null, OctetString},
};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use spki::AlgorithmIdentifierOwned;
use x509_cert::serial_number::SerialNumber as X509SerialNumber;

use crate::{chain::Issuer, serial::SerialNumber};

/// The hash in a CertID. SHA-1 is what most clients use (RFC 5019 §2.1.1); nothing rests on its strength here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertIdHash {
    /// SHA-1.
    Sha1,
    /// SHA-256 (RFC 9919).
    Sha256,
}

/// A certificate as a client names it: by an issuer's hashes, and a serial number that may not be of our form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertId {
    /// Which hash.
    pub hash: CertIdHash,
    /// The issuer.
    pub issuer: IssuerHashes,
    /// None: not a number that this CA gives.
    pub serial: Option<SerialNumber>,
}

/// Hashes of an issuer's name (DER) and of its public key (the bits without the algorithm).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerHashes {
    /// Of the distinguished name, DER.
    pub name: Vec<u8>,
    /// Of the subjectPublicKey's bits.
    pub key: Vec<u8>,
}

impl CertIdHash {
    /// All.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
        }
    }

    const fn algorithm(self) -> AlgorithmIdentifierOwned {
        let oid = match self {
            Self::Sha1 => ID_SHA_1,
            Self::Sha256 => ID_SHA_256,
        };
        AlgorithmIdentifierOwned { oid, parameters: None }
    }
}

impl IssuerHashes {
    /// Those of an issuer.
    ///
    /// # Errors
    /// Never for an issuer that was parsed.
    pub fn of(issuer: &Issuer, hash: CertIdHash) -> der::Result<Self> {
        let name = hash.hash(&issuer.subject().to_der()?);
        Ok(Self { name, key: hash.hash(issuer.key().to_sec1_point(false).as_bytes()) })
    }
}

/// CertID (RFC 6960 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct CertIdAsn1 {
    hash_algorithm: AlgorithmIdentifierOwned,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial_number: X509SerialNumber,
}

impl CertIdAsn1 {
    /// Nothing for a hash that nobody uses.
    pub(super) fn read(&self) -> Option<CertId> {
        let hash = CertIdHash::ALL.into_iter().find(|hash| hash.algorithm().oid == self.hash_algorithm.oid)?;
        let issuer = IssuerHashes {
            name: self.issuer_name_hash.as_bytes().to_vec(),
            key: self.issuer_key_hash.as_bytes().to_vec(),
        };
        Some(CertId { hash, issuer, serial: SerialNumber::from_x509(&self.serial_number).ok() })
    }

    /// As clients write it: the algorithm with a NULL, which RFC 5019's examples and every client have.
    pub(super) fn new(issuer: &Issuer, hash: CertIdHash, serial: SerialNumber) -> der::Result<Self> {
        let IssuerHashes { name, key } = IssuerHashes::of(issuer, hash)?;
        let mut hash_algorithm = hash.algorithm();
        hash_algorithm.parameters = Some(Any::from_der(&Null.to_der()?)?);
        let serial_number = serial.to_x509().map_err(|_| der::ErrorKind::Failed)?;
        Ok(Self {
            hash_algorithm,
            issuer_name_hash: OctetString::new(name)?,
            issuer_key_hash: OctetString::new(key)?,
            serial_number,
        })
    }
}
