//! Certificates as this CA builds them: a pure function of (profile, names, public key, serial, times, issuer). Nothing here
//! has seen a CSR (RFC 5280 §4.1, §4.2).

mod responder;

use std::collections::BTreeSet;

use const_oid::{
    AssociatedOid,
    db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP},
};
use der::{
    Decode, Encode, Sequence,
    asn1::{Any, BitString, Ia5String, Null, ObjectIdentifier, OctetString},
};
use p256::ecdsa::VerifyingKey;
use signature::Keypair;
use spki::{AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoRef};
use x509_cert::{
    TbsCertificate,
    builder::{Builder, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension,
        pkix::{
            AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
            CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
            crl::dp::DistributionPoint, name::GeneralName,
        },
    },
    name::Name,
    time::Validity,
};

use crate::{
    chain::Issuer,
    crl,
    identifier::{DnsName, Identifier},
    pointers::{CrlShard, IssuerId, StatusHost},
    profile::{Profile, Revocation},
    public_key::{ECDSA_WITH_SHA256, KeyKind, PublicKey},
    serial::SerialNumber,
    timestamp::Timestamp,
};

pub use self::responder::ResponderContent;

/// id-ce-noRevAvail (RFC 9608 §2).
pub const ID_CE_NO_REV_AVAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.56");

/// The characters of a common name at most (ub-common-name, RFC 5280 appendix A.1).
pub const UB_COMMON_NAME: usize = 64;

/// Everything that decides a certificate's bytes but the signature.
#[derive(Debug)]
pub struct Content<'a> {
    /// Key usage, extended key usage, revocation.
    pub profile: &'a Profile,
    /// The subject alternative names; at least one.
    pub names: &'a BTreeSet<Identifier>,
    /// One of the names, where the client asked for a common name.
    pub common_name: Option<&'a DnsName>,
    /// The subject's key.
    pub public_key: &'a PublicKey,
    /// 127 random bits.
    pub serial: SerialNumber,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second.
    pub not_after: Timestamp,
    /// Where status is told, for profiles that say so.
    pub status: Option<&'a StatusHost>,
    /// How many parts the issuer's CRL has.
    pub crl_shards: u8,
}

/// A TBSCertificate in DER that this crate has built, ready for a token. Consumed by [`Self::assemble`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TbsDer(Vec<u8>);

/// A certificate could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotBuild {
    /// No names, or a common name that is none of them.
    #[error("a certificate has at least one name, and its common name is one of them")]
    Names,
    /// A common name of more than [`UB_COMMON_NAME`] characters.
    #[error("a common name has at most 64 characters (RFC 5280 appendix A.1)")]
    CommonNameLength,
    /// notAfter is before notBefore, or outlives the issuer.
    #[error("the validity is empty or outlives the issuer's")]
    Validity,
    /// The profile says where status is told, and nobody tells it.
    #[error("the profile has a revocation mode, and there is no host of status services")]
    Status,
    /// A value that the encoding library refuses.
    #[error("a value cannot be encoded")]
    Encoding,
}

impl Content<'_> {
    /// Builds the TBSCertificate for this issuer.
    ///
    /// # Errors
    /// See [`CannotBuild`].
    pub fn tbs(&self, issuer: &Issuer) -> Result<TbsDer, CannotBuild> {
        let common_name_is_listed =
            self.common_name.is_none_or(|name| self.names.contains(&Identifier::Dns(name.clone())));
        if self.names.is_empty() || !common_name_is_listed {
            return Err(CannotBuild::Names);
        }
        if self.common_name.is_some_and(|name| name.as_str().len() > UB_COMMON_NAME) {
            return Err(CannotBuild::CommonNameLength);
        }
        if self.not_after < self.not_before || self.not_after > issuer.not_after() {
            return Err(CannotBuild::Validity);
        }
        let validity = Validity::new(
            self.not_before.to_x509().map_err(|_| CannotBuild::Encoding)?,
            self.not_after.to_x509().map_err(|_| CannotBuild::Encoding)?,
        );
        if self.profile.revocation() != Revocation::None && self.status.is_none() {
            return Err(CannotBuild::Status);
        }
        let serial = self.serial.to_x509().map_err(|_| CannotBuild::Encoding)?;
        let profile = Leaf {
            issuer: issuer.subject().clone(),
            subject: self.subject()?,
            extensions: self.extensions(issuer).map_err(|_| CannotBuild::Encoding)?,
        };
        let mut builder = CertificateBuilder::new(profile, serial, validity, self.public_key.spki().clone())
            .map_err(|_| CannotBuild::Encoding)?;
        builder.finalize(&IssuerKey(issuer.key())).map(TbsDer).map_err(|_| CannotBuild::Encoding)
    }

    fn subject(&self) -> Result<Name, CannotBuild> {
        self.common_name
            .map_or_else(|| Ok(Name::default()), |name| format!("CN={name}").parse().map_err(|_| CannotBuild::Encoding))
    }

    fn extensions(&self, issuer: &Issuer) -> der::Result<Vec<Extension>> {
        let names = self.names.iter().map(general_name).collect::<der::Result<Vec<_>>>()?;
        let usages = self.profile.extended_key_usage().iter().map(|usage| usage.oid()).collect();
        let mut extensions = vec![
            extension(true, &BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(true, &self.key_usage())?,
            extension(false, &ExtendedKeyUsage(usages))?,
            extension(false, &SubjectKeyIdentifier(OctetString::new(self.public_key.key_identifier())?))?,
            extension(
                false,
                &AuthorityKeyIdentifier {
                    key_identifier: Some(OctetString::new(issuer.key_identifier())?),
                    ..AuthorityKeyIdentifier::default()
                },
            )?,
            // Critical exactly when the subject is empty (RFC 5280 §4.2.1.6).
            extension(self.common_name.is_none(), &SubjectAltName(names))?,
        ];
        match self.status {
            Some(host) if self.profile.revocation() != Revocation::None => {
                extensions.extend(self.pointers(host, issuer)?);
            }
            _ => extensions.push(Extension {
                extn_id: ID_CE_NO_REV_AVAIL,
                critical: false,
                extn_value: OctetString::new(Null.to_der()?)?,
            }),
        }
        Ok(extensions)
    }

    /// Where the issuer's certificate, OCSP responses and the CRL are (RFC 5280 §4.2.1.13, §4.2.2.1).
    fn pointers(&self, host: &StatusHost, issuer: &Issuer) -> der::Result<Vec<Extension>> {
        let (id, revocation) = (IssuerId::of(issuer), self.profile.revocation());
        let access = |method, url: &str| -> der::Result<AccessDescription> {
            let location = GeneralName::UniformResourceIdentifier(Ia5String::new(url)?);
            Ok(AccessDescription { access_method: method, access_location: location })
        };
        let mut accesses = Vec::new();
        if revocation.has_ocsp() {
            accesses.push(access(ID_AD_OCSP, &host.ocsp())?);
        }
        accesses.push(access(ID_AD_CA_ISSUERS, &host.issuer(id))?);
        let mut pointers = vec![extension(false, &AuthorityInfoAccessSyntax(accesses))?];
        if revocation.has_crl() {
            let shard = CrlShard::holding(self.serial, self.crl_shards);
            let point = DistributionPoint {
                distribution_point: Some(crl::full_name(&host.crl(id, shard))?),
                reasons: None,
                crl_issuer: None,
            };
            pointers.push(extension(false, &CrlDistributionPoints(vec![point]))?);
        }
        Ok(pointers)
    }

    /// Only RSA keys can encipher keys; everybody signs (RFC 5280 §4.2.1.3, RFC 8446 §4.4.2.2).
    fn key_usage(&self) -> KeyUsage {
        match self.public_key.kind() {
            KeyKind::Rsa(_) => KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment),
            KeyKind::P256 | KeyKind::P384 => KeyUsage(KeyUsages::DigitalSignature.into()),
        }
    }
}

impl TbsDer {
    /// DER of a TBSCertificate that this crate built earlier and a journal kept.
    #[must_use]
    pub const fn from_journal(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The bytes to hash and sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the signature (ECDSA with SHA-256, DER) behind it: a Certificate in DER.
    ///
    /// # Errors
    /// When the bytes are not DER.
    pub fn assemble(self, signature: &[u8]) -> Result<Vec<u8>, CannotBuild> {
        let signed = Signed {
            tbs: Any::from_der(&self.0).map_err(|_| CannotBuild::Encoding)?,
            algorithm: ecdsa_with_sha256(),
            signature: BitString::from_bytes(signature).map_err(|_| CannotBuild::Encoding)?,
        };
        signed.to_der().map_err(|_| CannotBuild::Encoding)
    }
}

/// AlgorithmIdentifier of ecdsa-with-SHA256: no parameters (RFC 5758 §3.2).
#[must_use]
pub const fn ecdsa_with_sha256() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None }
}

/// SIGNED{ToBeSigned} (RFC 5280 §4.1.1).
#[derive(Sequence)]
struct Signed {
    tbs: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// The builder's view of one certificate: everything was decided before.
struct Leaf {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Leaf {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// The public half of an issuing key, in the form that the builder asks for: it never signs.
struct IssuerKey(VerifyingKey);

impl Keypair for IssuerKey {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.0
    }
}

impl DynSignatureAlgorithmIdentifier for IssuerKey {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(ecdsa_with_sha256())
    }
}

fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

fn general_name(identifier: &Identifier) -> der::Result<GeneralName> {
    Ok(match identifier {
        Identifier::Dns(name) => GeneralName::DnsName(Ia5String::new(name.as_str())?),
        Identifier::Ip(std::net::IpAddr::V4(address)) => GeneralName::IpAddress(OctetString::new(address.octets())?),
        Identifier::Ip(std::net::IpAddr::V6(address)) => GeneralName::IpAddress(OctetString::new(address.octets())?),
    })
}
