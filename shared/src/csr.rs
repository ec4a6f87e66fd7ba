//! Certification requests: what a client asks for at finalize (RFC 2986, RFC 8555 §7.4). Only the public key of one ever
//! reaches a certificate; names are read to be compared with the order, nothing else is looked at.

mod parts;

use std::collections::BTreeSet;

use const_oid::db::{
    rfc3280::EMAIL_ADDRESS,
    rfc4519::COMMON_NAME,
    rfc5912::{ID_CE_EXT_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME},
};
use der::{Decode, asn1::ObjectIdentifier};
use sha2::{Digest, Sha256};
use x509_cert::ext::{
    Extensions,
    pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
};

pub(crate) use self::parts::Parts;
use crate::{
    base64url,
    certificate::UB_COMMON_NAME,
    identifier::{DnsName, Identifier},
    public_key::{BadSignature, PublicKey, WeakKey},
    quoted::{self, Quoted},
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCsr {
    /// Not a DER CertificationRequest.
    #[error("not a PKCS#10 request in DER")]
    NotDer,
    /// A version that is neither 0, which RFC 2986 asks for, nor 1 or 2, which some clients write.
    #[error("the request's version is {0}, and it must be 0 (RFC 2986 §4.1); 1 and 2 are accepted")]
    Version(Quoted),
    /// The key is weak or of a kind that is not certified.
    #[error("the public key is refused: {0}")]
    Key(#[from] WeakKey),
    /// The request is not signed by its own key.
    #[error("the request's own signature is refused: {0}")]
    Signature(#[from] BadSignature),
    /// A subject alternative name that is not an identifier of ACME.
    #[error("the subject alternative name {0} is neither a DNS name nor an IP address in valid form")]
    Name(Quoted),
    /// Several common names.
    #[error("the subject has several common names, of which the second is {0}; it may have one")]
    CommonNames(Quoted),
    /// An e-mail address in the subject.
    #[error("the subject has the e-mail address {0}, which this CA does not certify")]
    Email(Quoted),
    /// A common name that is not text of the kind that its tag says.
    #[error("the common name {0} is not text of the string type of its tag")]
    NotText(Quoted),
    /// A common name that is not an identifier of ACME.
    #[error("the common name {0} is neither a DNS name nor an IP address in valid form")]
    CommonName(Quoted),
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
        let parts = Parts::read(der)?;
        let public_key = PublicKey::from_spki(parts.spki.clone())?;
        SignedDer::new(public_key.clone(), parts.info.to_vec(), parts.algorithm.clone(), parts.signature.clone())
            .verify(proved)?;

        let extensions = requested_extensions(&parts)?;
        let mut names = subject_alt_names(&extensions)?;
        let common_name = common_name(&parts)?;
        names.extend(common_name.clone());
        Ok(Self {
            names,
            common_name: common_name.and_then(|name| match name {
                Identifier::Dns(name) if name.as_str().len() <= UB_COMMON_NAME => Some(name),
                // RFC 5280 has no room for a longer one: it stays a name, and the certificate's subject is empty.
                Identifier::Dns(_) | Identifier::Ip(_) => None,
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
        Ok(PublicKey::from_spki(Parts::read(der)?.spki)?)
    }

    /// All names: the subject alternative names and the common name.
    #[must_use]
    pub const fn names(&self) -> &BTreeSet<Identifier> {
        &self.names
    }

    /// The common name, if the subject has one that is a DNS name of at most 64 characters; it is one of [`Self::names`].
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

fn requested_extensions(parts: &Parts<'_>) -> Result<Extensions, BadCsr> {
    let extensions = parts.extensions()?;
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
        GeneralName::DnsName(name) => {
            name.as_str().parse().map(Identifier::Dns).map_err(|_| BadCsr::Name(quoted::text(name.as_str())))
        }
        GeneralName::IpAddress(octets) => {
            Identifier::from_octets(octets.as_bytes()).ok_or_else(|| BadCsr::Name(quoted_address(octets.as_bytes())))
        }
        GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name) => {
            Err(BadCsr::Name(quoted::text(name.as_str())))
        }
        GeneralName::DirectoryName(name) => Err(BadCsr::Name(quoted::text(&name.to_string()))),
        GeneralName::RegisteredId(identifier) => Err(BadCsr::Name(quoted::text(&identifier.to_string()))),
        GeneralName::OtherName(name) => Err(BadCsr::Name(quoted::text(&name.type_id.to_string()))),
        GeneralName::EdiPartyName(_) => Err(BadCsr::Name(quoted::text("ediPartyName"))),
    }
}

/// Quotes the octets of an address as the address that they are, or in hexadecimal digits.
fn quoted_address(octets: &[u8]) -> Quoted {
    <[u8; 16]>::try_from(octets)
        .map_or_else(|_| quoted::hex(octets), |octets| quoted::text(&std::net::Ipv6Addr::from(octets).to_string()))
}

/// The common name. An address there, which some clients put into every request for one, is a name like another.
fn common_name(parts: &Parts<'_>) -> Result<Option<Identifier>, BadCsr> {
    let attributes = parts.subject()?;
    let quote = |attribute: &parts::SubjectAttribute<'_>| {
        attribute.text().map_or_else(|| quoted::hex(attribute.bytes()), |text| quoted::text(&text))
    };
    if let Some(address) = attributes.iter().find(|attribute| attribute.is(EMAIL_ADDRESS)) {
        return Err(BadCsr::Email(quote(address)));
    }
    let mut common_names = attributes.iter().filter(|attribute| attribute.is(COMMON_NAME));
    let Some(attribute) = common_names.next() else { return Ok(None) };
    if let Some(second) = common_names.next() {
        return Err(BadCsr::CommonNames(quote(second)));
    }
    let text = attribute.text().ok_or_else(|| BadCsr::NotText(quoted::hex(attribute.bytes())))?;
    if text.is_empty() {
        return Ok(None);
    }
    let name = match text.parse() {
        Ok(address) => Identifier::of_address(address),
        Err(_) => text.parse().ok().map(Identifier::Dns),
    };
    name.map(Some).ok_or_else(|| BadCsr::CommonName(quoted::text(&text)))
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
