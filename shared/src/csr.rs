//! Certification requests: what a client asks for at finalize (RFC 2986, RFC 8555 §7.4). Only the public key of one ever
//! reaches a certificate; names are read to be compared with the order, nothing else is looked at.

use std::collections::BTreeSet;

use const_oid::db::{
    rfc3280::EMAIL_ADDRESS,
    rfc4519::COMMON_NAME,
    rfc5912::{ID_CE_EXT_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_EXTENSION_REQ},
};
use der::{Decode, Encode, asn1::ObjectIdentifier};
use sha2::{Digest, Sha256};
use x509_cert::{
    ext::{
        Extensions,
        pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
    },
    name::Name,
    request::CertReq,
};

use crate::{
    base64url,
    identifier::{DnsName, Identifier},
    public_key::{BadSignature, PublicKey, WeakKey},
    signed_der::{Proved, SignedDer},
};

/// A request whose form, key and own signature are good.
#[derive(Clone, Debug)]
pub struct Csr {
    names: BTreeSet<Identifier>,
    common_name: Option<DnsName>,
    extended_key_usage: Vec<ObjectIdentifier>,
    public_key: PublicKey,
    hash: CsrHash,
}

/// SHA-256 of a request's DER; half of the idempotency key of an issuance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CsrHash(pub [u8; 32]);

/// Why a request is refused; for `badCSR` (RFC 8555 §7.4). Each is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCsr {
    /// Not a DER CertificationRequest.
    #[error("not a PKCS#10 request in DER")]
    NotDer,
    /// The key is weak or of a kind that is not certified.
    #[error("the public key is refused: {0}")]
    Key(#[from] WeakKey),
    /// The request is not signed by its own key.
    #[error("the request's own signature is refused: {0}")]
    Signature(#[from] BadSignature),
    /// A name that is not an identifier of ACME.
    #[error("a name is neither a DNS name nor an IP address in valid form")]
    Name,
    /// Several common names, an e-mail address in the subject, or a common name that is not text.
    #[error("the subject may have one common name, which is one of the names, and nothing that names somebody else")]
    Subject,
    /// An extension twice, or one that cannot be read.
    #[error("the requested extensions are not well formed")]
    Extensions,
}

impl Csr {
    /// Parses a DER request and checks its own signature.
    ///
    /// # Errors
    /// The first thing that is wrong with it; see [`BadCsr`].
    pub fn parse(der: &[u8]) -> Result<Self, BadCsr> {
        Self::parse_proved(der, &Proved::default())
    }

    /// The same, without computing what is known to be valid.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_proved(der: &[u8], proved: &Proved) -> Result<Self, BadCsr> {
        let request = CertReq::from_der(der).map_err(|_| BadCsr::NotDer)?;
        let public_key = PublicKey::from_spki(request.info.public_key.clone())?;
        let signed = request.info.to_der().map_err(|_| BadCsr::NotDer)?;
        let signature = request.signature.as_bytes().ok_or(BadCsr::NotDer)?;
        SignedDer::new(public_key.clone(), signed, request.algorithm.clone(), signature.to_vec()).verify(proved)?;

        let extensions = requested_extensions(&request)?;
        let mut names = subject_alt_names(&extensions)?;
        let common_name = common_name(&request.info.subject)?;
        names.extend(common_name.clone());
        Ok(Self {
            names,
            common_name: common_name.and_then(|name| match name {
                Identifier::Dns(name) => Some(name),
                Identifier::Ip(_) => None,
            }),
            extended_key_usage: extended_key_usage(&extensions)?,
            public_key,
            hash: CsrHash(Sha256::digest(der).into()),
        })
    }

    /// The key of a request that was parsed before, without checking its signature again.
    ///
    /// # Errors
    /// [`BadCsr::NotDer`] or [`BadCsr::Key`].
    pub fn public_key_of(der: &[u8]) -> Result<PublicKey, BadCsr> {
        let request = CertReq::from_der(der).map_err(|_| BadCsr::NotDer)?;
        Ok(PublicKey::from_spki(request.info.public_key)?)
    }

    /// All names: the subject alternative names and the common name.
    #[must_use]
    pub const fn names(&self) -> &BTreeSet<Identifier> {
        &self.names
    }

    /// The common name, if the subject has one that is a DNS name; it is one of [`Self::names`].
    #[must_use]
    pub const fn common_name(&self) -> Option<&DnsName> {
        self.common_name.as_ref()
    }

    /// The extended key usages asked for; empty when the request says nothing.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[ObjectIdentifier] {
        &self.extended_key_usage
    }

    /// The key to certify.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub const fn hash(&self) -> CsrHash {
        self.hash
    }
}

impl std::fmt::Debug for CsrHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

fn requested_extensions(request: &CertReq) -> Result<Extensions, BadCsr> {
    let mut values = request.info.attributes.iter().filter(|attribute| attribute.oid == ID_EXTENSION_REQ);
    let Some(attribute) = values.next() else { return Ok(Extensions::new()) };
    let value = match (values.next(), attribute.values.as_slice()) {
        (None, [value]) => value,
        _ => return Err(BadCsr::Extensions),
    };
    let extensions: Extensions = value.decode_as().map_err(|_| BadCsr::Extensions)?;
    let distinct: BTreeSet<_> = extensions.iter().map(|extension| extension.extn_id).collect();
    if distinct.len() == extensions.len() { Ok(extensions) } else { Err(BadCsr::Extensions) }
}

fn subject_alt_names(extensions: &Extensions) -> Result<BTreeSet<Identifier>, BadCsr> {
    let Some(extension) = extensions.iter().find(|extension| extension.extn_id == ID_CE_SUBJECT_ALT_NAME) else {
        return Ok(BTreeSet::new());
    };
    let names = SubjectAltName::from_der(extension.extn_value.as_bytes()).map_err(|_| BadCsr::Extensions)?;
    names.0.iter().map(identifier).collect()
}

fn identifier(name: &GeneralName) -> Result<Identifier, BadCsr> {
    match name {
        GeneralName::DnsName(name) => name.as_str().parse().map(Identifier::Dns).map_err(|_| BadCsr::Name),
        GeneralName::IpAddress(octets) => Identifier::from_octets(octets.as_bytes()).ok_or(BadCsr::Name),
        _ => Err(BadCsr::Name),
    }
}

/// The common name. An address there, which some clients put into every request for one, is a name like another.
fn common_name(subject: &Name) -> Result<Option<Identifier>, BadCsr> {
    let attributes: Vec<_> = subject.iter().collect();
    if attributes.iter().any(|attribute| attribute.oid == EMAIL_ADDRESS) {
        return Err(BadCsr::Subject);
    }
    let mut common_names = attributes.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (Some(attribute), None) = (common_names.next(), common_names.next()) else {
        return if attributes.iter().any(|attribute| attribute.oid == COMMON_NAME) {
            Err(BadCsr::Subject)
        } else {
            Ok(None)
        };
    };
    let text = std::str::from_utf8(attribute.value.value()).map_err(|_| BadCsr::Subject)?;
    if text.is_empty() {
        return Ok(None);
    }
    let name = match text.parse() {
        Ok(address) => Identifier::of_address(address),
        Err(_) => text.parse().ok().map(Identifier::Dns),
    };
    name.map(Some).ok_or(BadCsr::Subject)
}

fn extended_key_usage(extensions: &Extensions) -> Result<Vec<ObjectIdentifier>, BadCsr> {
    match extensions.iter().find(|extension| extension.extn_id == ID_CE_EXT_KEY_USAGE) {
        None => Ok(Vec::new()),
        Some(extension) => match ExtendedKeyUsage::from_der(extension.extn_value.as_bytes()) {
            Ok(usage) if !usage.0.is_empty() => Ok(usage.0),
            _ => Err(BadCsr::Extensions),
        },
    }
}
