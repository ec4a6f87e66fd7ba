//! Certificates that are read: the issuers that this CA signs with, and the leaves that come back (RFC 5280 §6.1).
//! The checks are those of a CA about itself, not of a general path validator.

use std::collections::BTreeSet;

use der::{Decode, Encode, asn1::ObjectIdentifier};
use p256::ecdsa::VerifyingKey;
use sha2::{Digest, Sha256};
use spki::DecodePublicKey;
use x509_cert::{
    Certificate,
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier, name::GeneralName,
    },
    name::Name,
};

use crate::{
    identifier::Identifier,
    pem::{self, BadPem, Label},
    public_key::PublicKey,
    serial::SerialNumber,
    signed_der::{Proved, SignedDer},
    timestamp::Timestamp,
};

/// A CA certificate whose P-256 key signs our certificates.
#[derive(Clone, Debug)]
pub struct Issuer {
    certificate: Certificate,
    der: Vec<u8>,
    key: VerifyingKey,
    key_identifier: Vec<u8>,
}

/// An issuer and the CA certificates above it, each verified under the next; the root may be absent.
#[derive(Clone, Debug)]
pub struct IssuerChain {
    issuer: Issuer,
    above: Vec<Issuer>,
}

/// A leaf certificate as read back from DER, with what this CA puts into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// All subject alternative names.
    pub names: BTreeSet<Identifier>,
    /// The subject's key.
    pub public_key: PublicKey,
    /// The serial number.
    pub serial: SerialNumber,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
    /// The extended key usages.
    pub extended_key_usage: BTreeSet<ObjectIdentifier>,
}

/// Why a certificate or a chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChain {
    /// Not PEM or DER of certificates.
    #[error("not certificates in PEM or DER")]
    NotCertificates,
    /// A file that is not PEM of certificates.
    #[error("not certificates in PEM: {0}")]
    Pem(#[from] BadPem),
    /// A block of a file that holds something other than a certificate; counted from 1.
    #[error("certificate {0} is not DER of a certificate")]
    NotCertificate(usize),
    /// A CA certificate without CA:TRUE, keyCertSign or a subject key identifier.
    #[error("a CA certificate lacks basicConstraints CA:TRUE, keyUsage keyCertSign or its subject key identifier")]
    NotACa,
    /// A CA key that is not P-256.
    #[error("a CA key is not P-256")]
    CaKey,
    /// A CA key above an alternate chain's first certificate that no signature is verified with here.
    #[error("a CA key is neither P-256 nor P-384 nor RSA of 2048 to 4096 bits")]
    AboveKey,
    /// An alternate chain that begins with a certificate that was issued under its own name.
    #[error("an alternate chain begins with a cross certificate: one that another CA issued")]
    NoCross,
    /// A certificate does not name the next one as its issuer, or does not verify under its key.
    #[error("a certificate was not issued by the next one in the chain")]
    NotIssuedByNext,
    /// The chain does not end at the root.
    #[error("the chain does not lead to the root")]
    OtherRoot,
    /// A certificate of the chain is not valid now.
    #[error("a certificate of the chain is not valid at this time")]
    Expired,
    /// A leaf that lacks what every leaf of ours has, or says CA:TRUE.
    #[error("the leaf is not of the form that this CA issues")]
    NotOurLeaf,
}

impl Issuer {
    /// Reads a CA certificate.
    ///
    /// # Errors
    /// When it is not DER, not a CA, or its key is not P-256.
    pub fn from_der(der: &[u8]) -> Result<Self, BadChain> {
        Self::checked(Certificate::from_der(der).map_err(|_| BadChain::NotCertificates)?)
    }

    /// Reads one CA certificate in PEM, or DER.
    ///
    /// # Errors
    /// As [`Self::from_der`].
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, BadChain> {
        Self::from_der(&pem::read_one(pem.as_ref(), Label::Certificate)?)
    }

    pub(crate) fn checked(certificate: Certificate) -> Result<Self, BadChain> {
        let key_identifier = check_ca(&certificate)?;
        let spki = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|_| BadChain::CaKey)?;
        let key = VerifyingKey::from_public_key_der(&spki).map_err(|_| BadChain::CaKey)?;
        let der = certificate.to_der().map_err(|_| BadChain::NotCertificates)?;
        Ok(Self { der, key, key_identifier, certificate })
    }

    /// The certificate as parsed.
    pub(crate) const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its subject: the issuer field of what it signs.
    #[must_use]
    pub fn subject(&self) -> &Name {
        self.certificate.tbs_certificate().subject()
    }

    /// Its public key.
    #[must_use]
    pub const fn key(&self) -> VerifyingKey {
        self.key
    }

    /// Its subject key identifier: the authority key identifier of what it signs.
    #[must_use]
    pub fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }

    /// First valid second.
    #[must_use]
    pub fn not_before(&self) -> Timestamp {
        Timestamp::from_x509(&self.certificate.tbs_certificate().validity().not_before)
    }

    /// Last valid second: nothing that it signs may outlive it.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        Timestamp::from_x509(&self.certificate.tbs_certificate().validity().not_after)
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    /// [`BadChain::Expired`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), BadChain> {
        if self.not_before() <= now && now <= self.not_after() { Ok(()) } else { Err(BadChain::Expired) }
    }

    fn verify_issued(&self, certificate: &Certificate, proved: &Proved) -> Result<(), BadChain> {
        verify_issued(&self.certificate, certificate, proved)
    }
}

impl IssuerChain {
    /// Reads a PEM chain: the issuer first, each certificate issued by the next; the root may be last or absent.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BadChain`].
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, BadChain> {
        Self::from_certificates(certificates(pem.as_ref())?, &Proved::default())
    }

    /// The same from DER certificates.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_ders<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BadChain> {
        Self::from_ders_proved(ders, &Proved::default())
    }

    /// The same, without computing what is known to be valid.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_ders_proved<'a>(ders: impl IntoIterator<Item = &'a [u8]>, proved: &Proved) -> Result<Self, BadChain> {
        let certificates = ders.into_iter().map(Certificate::from_der).collect::<der::Result<Vec<_>>>();
        Self::from_certificates(certificates.map_err(|_| BadChain::NotCertificates)?, proved)
    }

    fn from_certificates(certificates: Vec<Certificate>, proved: &Proved) -> Result<Self, BadChain> {
        let mut issuers = certificates.into_iter().map(Issuer::checked);
        let issuer = issuers.next().ok_or(BadChain::NotCertificates)??;
        let above = issuers.collect::<Result<Vec<_>, _>>()?;
        let mut child = &issuer;
        for parent in &above {
            parent.verify_issued(&child.certificate, proved)?;
            child = parent;
        }
        Ok(Self { issuer, above })
    }

    /// The certificate whose key signs.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// All certificates of the chain, the issuer's first.
    pub fn all(&self) -> impl Iterator<Item = &Issuer> {
        std::iter::once(&self.issuer).chain(&self.above)
    }

    /// The chain that clients get behind a leaf: all but a self-issued root (RFC 8555 §9.1).
    pub fn sent(&self) -> impl Iterator<Item = &Issuer> {
        std::iter::once(&self.issuer)
            .chain(&self.above)
            .filter(|issuer| issuer.certificate.tbs_certificate().issuer() != issuer.subject())
    }

    /// True when one of the chain's certificates has this key.
    #[must_use]
    pub fn has_key(&self, key: &PublicKey) -> bool {
        std::iter::once(&self.issuer).chain(&self.above).any(|issuer| key.is_p256(&issuer.key))
    }

    /// Checks that the chain leads to `root` and that everything in it is valid at `now`.
    ///
    /// # Errors
    /// [`BadChain::OtherRoot`] or [`BadChain::Expired`].
    pub fn verify_to(&self, root: &Issuer, now: Timestamp) -> Result<(), BadChain> {
        self.verify_to_proved(root, now, &Proved::default())
    }

    /// The same, without computing what is known to be valid.
    ///
    /// # Errors
    /// As [`Self::verify_to`].
    pub fn verify_to_proved(&self, root: &Issuer, now: Timestamp, proved: &Proved) -> Result<(), BadChain> {
        root.check_time(now)?;
        self.issuer.check_time(now)?;
        self.above.iter().try_for_each(|issuer| issuer.check_time(now))?;
        let last = self.above.last().unwrap_or(&self.issuer);
        if last.der == root.der || root.verify_issued(&last.certificate, proved).is_ok() {
            Ok(())
        } else {
            Err(BadChain::OtherRoot)
        }
    }

    /// Reads a leaf, checks that this issuer signed it and that it has the form of ours: not a CA, names, usages, a serial
    /// of ours.
    ///
    /// # Errors
    /// When it is not DER, not signed by this issuer, or of another form.
    pub fn verify_leaf(&self, der: &[u8]) -> Result<Leaf, BadChain> {
        self.verify_leaf_proved(der, &Proved::default())
    }

    /// The same, without computing what is known to be valid.
    ///
    /// # Errors
    /// As [`Self::verify_leaf`].
    pub fn verify_leaf_proved(&self, der: &[u8], proved: &Proved) -> Result<Leaf, BadChain> {
        let certificate = Certificate::from_der(der).map_err(|_| BadChain::NotCertificates)?;
        self.issuer.verify_issued(&certificate, proved)?;
        Leaf::read(&certificate).ok_or(BadChain::NotOurLeaf)
    }
}

impl Leaf {
    /// Reads a leaf of the form of ours, whoever signed it.
    ///
    /// # Errors
    /// [`BadChain::NotCertificates`] or [`BadChain::NotOurLeaf`].
    pub fn from_der(der: &[u8]) -> Result<Self, BadChain> {
        let certificate = Certificate::from_der(der).map_err(|_| BadChain::NotCertificates)?;
        Self::read(&certificate).ok_or(BadChain::NotOurLeaf)
    }

    fn read(certificate: &Certificate) -> Option<Self> {
        let tbs = certificate.tbs_certificate();
        let (_, constraints) = tbs.get_extension::<BasicConstraints>().ok()??;
        let (_, usage) = tbs.get_extension::<KeyUsage>().ok()??;
        if constraints.ca || usage.key_cert_sign() || usage.crl_sign() {
            return None;
        }
        let (_, names) = tbs.get_extension::<SubjectAltName>().ok()??;
        let (_, usages) = tbs.get_extension::<ExtendedKeyUsage>().ok()??;
        Some(Self {
            names: names.0.iter().map(identifier).collect::<Option<_>>()?,
            public_key: PublicKey::from_spki(tbs.subject_public_key_info().clone()).ok()?,
            serial: SerialNumber::from_x509(tbs.serial_number()).ok()?,
            not_before: Timestamp::from_x509(&tbs.validity().not_before),
            not_after: Timestamp::from_x509(&tbs.validity().not_after),
            extended_key_usage: usages.0.into_iter().collect(),
        })
    }
}

/// Parses every certificate of a file.
///
/// # Errors
/// Numbers the block that is none.
pub(crate) fn certificates(file: &[u8]) -> Result<Vec<Certificate>, BadChain> {
    let ders = pem::read(file, Label::Certificate)?;
    let parse = |(position, der): (usize, &Vec<u8>)| {
        Certificate::from_der(der).map_err(|_| BadChain::NotCertificate(position.saturating_add(1)))
    };
    ders.iter().enumerate().map(parse).collect()
}

/// Checks that it is a CA's certificate, and gives its subject key identifier.
///
/// # Errors
/// [`BadChain::NotACa`].
pub(crate) fn check_ca(certificate: &Certificate) -> Result<Vec<u8>, BadChain> {
    let tbs = certificate.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(|_| BadChain::NotACa)?;
    let usage = tbs.get_extension::<KeyUsage>().map_err(|_| BadChain::NotACa)?;
    let identifier = tbs.get_extension::<SubjectKeyIdentifier>().map_err(|_| BadChain::NotACa)?;
    match (constraints, usage, identifier) {
        (Some((_, constraints)), Some((_, usage)), Some((_, identifier)))
            if constraints.ca && usage.key_cert_sign() =>
        {
            Ok(identifier.0.as_bytes().to_vec())
        }
        _ => Err(BadChain::NotACa),
    }
}

/// Checks that `certificate` names `issuer` and verifies under its key.
///
/// # Errors
/// [`BadChain::NotIssuedByNext`], or [`BadChain::AboveKey`] for a key that nothing is verified with.
pub(crate) fn verify_issued(issuer: &Certificate, certificate: &Certificate, proved: &Proved) -> Result<(), BadChain> {
    let tbs = certificate.tbs_certificate();
    let signed = SignedDer::issued(certificate, issuer).ok_or(BadChain::AboveKey)?;
    let algorithms_agree = tbs.signature() == certificate.signature_algorithm();
    let names_it = tbs.issuer() == issuer.tbs_certificate().subject();
    if names_it && algorithms_agree && signed.verify(proved).is_ok() { Ok(()) } else { Err(BadChain::NotIssuedByNext) }
}

fn identifier(name: &GeneralName) -> Option<Identifier> {
    match name {
        GeneralName::DnsName(name) => name.as_str().parse().ok().map(Identifier::Dns),
        GeneralName::IpAddress(octets) => Identifier::from_octets(octets.as_bytes()),
        _ => None,
    }
}
