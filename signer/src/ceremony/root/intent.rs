//! What a CA certificate of ours is meant to say, and its bytes before the signature (RFC 5280 §4.1, §4.2.1).

use std::collections::BTreeSet;

use anyhow::ensure;
use der::{
    Encode,
    asn1::{Ia5String, OctetString},
    oid::{
        AssociatedOid, ObjectIdentifier,
        db::rfc5280::{ID_AD_CA_ISSUERS, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH},
    },
};
use p256::ecdsa::VerifyingKey;
use serde::{Deserialize, Serialize};
use shared::{
    identifier::DnsName, network::Network, public_key::PublicKey, serial::SerialNumber, timestamp::Timestamp,
};
use spki::SubjectPublicKeyInfoRef;
use x509_cert::{
    TbsCertificate,
    builder::{Builder, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension,
        pkix::{
            AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints,
            CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectKeyIdentifier,
            constraints::name::GeneralSubtree,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
    name::Name,
    time::Validity,
};

use super::super::PublicHalf;

/// Everything that a CA certificate says.
#[derive(Clone, Debug)]
pub(crate) struct CaIntent {
    pub(super) issuer: Name,
    pub(super) subject: Name,
    pub(super) public: PublicKey,
    /// The issuer's key identifier; none in a self-signed certificate.
    pub(super) authority: Option<Vec<u8>>,
    pub(super) serial: SerialNumber,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) path_length: Option<u8>,
    pub(super) constraints: Constraints,
    pub(super) extended_key_usage: Vec<CaUsage>,
    /// Where the issuer's certificate is (caIssuers).
    pub(super) issuer_urls: Vec<PlainUrl>,
    /// Where the CRL is that would list this certificate.
    pub(super) crl_urls: Vec<PlainUrl>,
}

/// What a CA may issue for (RFC 5280 §4.2.1.12). Never any usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CaUsage {
    /// TLS servers.
    #[serde(rename = "serverAuth")]
    ServerAuth,
    /// TLS clients.
    #[serde(rename = "clientAuth")]
    ClientAuth,
    /// Delegated OCSP responders: some clients want it above them too.
    #[serde(rename = "OCSPSigning")]
    OcspSigning,
}

/// Which names a CA may issue for. Nothing at all is no constraint (RFC 5280 §4.2.1.10).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Constraints {
    /// DNS suffixes: the name itself and all below it.
    pub(super) permitted_dns: Vec<String>,
    pub(super) permitted_ip: Vec<String>,
    pub(super) excluded_dns: Vec<String>,
    pub(super) excluded_ip: Vec<String>,
}

/// A plain HTTP URL in ASCII: who checks a certificate cannot need another one for it (RFC 5280 §8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PlainUrl(String);

impl CaIntent {
    /// The TBSCertificate in DER, for a signature by this key.
    pub(super) fn tbs(&self, signer: &VerifyingKey) -> anyhow::Result<Vec<u8>> {
        let validity = Validity::new(self.not_before.to_x509()?, self.not_after.to_x509()?);
        let built = CertificateBuilder::new(self.clone(), self.serial.to_x509()?, validity, self.public.spki().clone())
            .and_then(|mut builder| builder.finalize(&PublicHalf(*signer)));
        built.map_err(|_| anyhow::anyhow!("the certificate cannot be built"))
    }

    /// The extensions that it has, by their identifiers.
    pub(super) fn extension_ids(&self) -> BTreeSet<ObjectIdentifier> {
        let mut ids = BTreeSet::from([BasicConstraints::OID, KeyUsage::OID, SubjectKeyIdentifier::OID]);
        let optional = [
            (self.authority.is_some(), AuthorityKeyIdentifier::OID),
            (!self.extended_key_usage.is_empty(), ExtendedKeyUsage::OID),
            (!self.constraints.is_empty(), NameConstraints::OID),
            (!self.issuer_urls.is_empty(), AuthorityInfoAccessSyntax::OID),
            (!self.crl_urls.is_empty(), CrlDistributionPoints::OID),
        ];
        ids.extend(optional.into_iter().filter_map(|(present, id)| present.then_some(id)));
        ids
    }

    fn extensions(&self) -> der::Result<Vec<Extension>> {
        let constraints = BasicConstraints { ca: true, path_len_constraint: self.path_length };
        let mut extensions = vec![
            extension(true, &constraints)?,
            extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
            extension(false, &SubjectKeyIdentifier(OctetString::new(self.public.key_identifier())?))?,
        ];
        if let Some(authority) = &self.authority {
            extensions.push(extension(false, &authority_key(authority)?)?);
        }
        if !self.extended_key_usage.is_empty() {
            let usages = self.extended_key_usage.iter().map(|usage| usage.oid()).collect();
            extensions.push(extension(false, &ExtendedKeyUsage(usages))?);
        }
        if !self.constraints.is_empty() {
            extensions.push(extension(true, &self.constraints.encode()?)?);
        }
        if !self.issuer_urls.is_empty() {
            let places = self.issuer_urls.iter().map(|url| {
                Ok(AccessDescription { access_method: ID_AD_CA_ISSUERS, access_location: url.general_name()? })
            });
            extensions.push(extension(false, &AuthorityInfoAccessSyntax(places.collect::<der::Result<_>>()?))?);
        }
        if !self.crl_urls.is_empty() {
            // One distribution point in several places: each has the whole CRL.
            let names = self.crl_urls.iter().map(PlainUrl::general_name).collect::<der::Result<_>>()?;
            let distribution_point = Some(DistributionPointName::FullName(names));
            let point = DistributionPoint { distribution_point, reasons: None, crl_issuer: None };
            extensions.push(extension(false, &CrlDistributionPoints(vec![point]))?);
        }
        Ok(extensions)
    }
}

impl BuilderProfile for CaIntent {
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
        Ok(self.extensions()?)
    }
}

impl CaUsage {
    /// Its identifier.
    pub(super) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::ServerAuth => ID_KP_SERVER_AUTH,
            Self::ClientAuth => ID_KP_CLIENT_AUTH,
            Self::OcspSigning => ID_KP_OCSP_SIGNING,
        }
    }
}

impl Constraints {
    /// Checks the values, and that permitting one kind of name does not leave the other kind free by an oversight.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for suffix in self.permitted_dns.iter().chain(&self.excluded_dns) {
            let good = suffix.parse::<DnsName>().is_ok_and(|name| !name.is_wildcard() && name.as_str() == suffix);
            ensure!(good, "{suffix:?} is not a DNS suffix in lower case without a leading dot");
        }
        for network in self.permitted_ip.iter().chain(&self.excluded_ip) {
            let parsed = network.parse::<Network>();
            ensure!(parsed.is_ok(), "{network:?} is not an IP range such as 10.0.0.0/8 or fd00::/8");
        }
        let (dns, ip) = (!self.permitted_dns.is_empty(), !self.permitted_ip.is_empty());
        let names_ip =
            |family: &str| self.permitted_ip.iter().chain(&self.excluded_ip).any(|range| range.contains(family));
        ensure!(
            !(dns || ip) || names_ip(".") && names_ip(":"),
            "what is not named is not constrained: name both families of addresses, permitted or excluded as a whole \
             (excluded_ip = [\"0.0.0.0/0\", \"::/0\"])"
        );
        ensure!(
            !ip || dns || !self.excluded_dns.is_empty(),
            "addresses alone are permitted, which leaves every DNS name free: name permitted_dns too"
        );
        Ok(())
    }

    /// True when nothing is constrained.
    pub(super) fn is_empty(&self) -> bool {
        [&self.permitted_dns, &self.permitted_ip, &self.excluded_dns, &self.excluded_ip]
            .iter()
            .all(|list| list.is_empty())
    }

    fn encode(&self) -> der::Result<NameConstraints> {
        Ok(NameConstraints {
            permitted_subtrees: subtrees(&self.permitted_dns, &self.permitted_ip)?,
            excluded_subtrees: subtrees(&self.excluded_dns, &self.excluded_ip)?,
        })
    }
}

impl PlainUrl {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn general_name(&self) -> der::Result<GeneralName> {
        Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(&self.0)?))
    }
}

impl TryFrom<String> for PlainUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").unwrap_or_default();
        let good = text.parse::<hyper::Uri>().is_ok_and(|uri| uri.authority().is_some()) && text.is_ascii();
        if rest.is_empty() || rest.starts_with('/') || !good {
            return Err(format!(
                "{text:?} is not a URL of plain HTTP (http://…): what checks a certificate reads it there"
            ));
        }
        Ok(Self(text))
    }
}

impl From<PlainUrl> for String {
    fn from(url: PlainUrl) -> Self {
        url.0
    }
}

/// An authority key identifier of the key identifier alone (RFC 5280 §4.2.1.1).
pub(super) fn authority_key(identifier: &[u8]) -> der::Result<AuthorityKeyIdentifier> {
    let key_identifier = Some(OctetString::new(identifier)?);
    Ok(AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() })
}

/// An extension with its value.
pub(super) fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

fn subtrees(dns: &[String], ip: &[String]) -> der::Result<Option<Vec<GeneralSubtree>>> {
    let dns = dns.iter().map(|suffix| Ok(GeneralName::DnsName(Ia5String::new(suffix)?)));
    let ip = ip.iter().map(|range| {
        let range: Network = range.parse().map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
        Ok(GeneralName::IpAddress(OctetString::new(range.octets_and_mask())?))
    });
    let subtrees = dns.chain(ip).map(|base| base.map(|base| GeneralSubtree { base, minimum: 0, maximum: None }));
    let subtrees = subtrees.collect::<der::Result<Vec<_>>>()?;
    Ok((!subtrees.is_empty()).then_some(subtrees))
}
