//! CRLs as this CA builds and reads them: of one part of an issuer's certificates, or of all (RFC 5280 §5).

use const_oid::AssociatedOid;
use der::{
    Decode, Encode,
    asn1::{BitString, Ia5String, ObjectIdentifier, OctetString, Uint},
};
use p256::ecdsa::{DerSignature, signature::Verifier};
use x509_cert::{
    Version,
    crl::{CertificateList, RevokedCert, TbsCertList},
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, CrlNumber, CrlReason,
            crl::dp::IssuingDistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
};

use crate::{
    certificate::ecdsa_with_sha256, chain::Issuer, ocsp::crl_reason, pem::BadPem, revocation::RevocationReason,
    serial::SerialNumber, timestamp::Timestamp,
};

/// id-ce-issuingDistributionPoint (RFC 5280 §5.2.5). x509-cert names the type with another one.
const ID_CE_ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// What a CRL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlContent {
    /// Strictly increasing for each URL (RFC 5280 §5.2.3).
    pub number: u64,
    /// When it was true.
    pub this_update: Timestamp,
    /// When there is a newer one at the latest.
    pub next_update: Timestamp,
    /// Where it is found, when it is not of all certificates: the same URL as in the certificates (RFC 5280 §5.2.5).
    pub distribution_point: Option<String>,
    /// By their numbers, each once.
    pub entries: Vec<CrlEntry>,
}

/// A revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrlEntry {
    /// Which.
    pub serial: SerialNumber,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// A TBSCertList in DER that this crate has built, ready for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TbsCrlDer(Vec<u8>);

/// Why a CRL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCrl {
    /// Not DER of a CRL of the form that this CA signs.
    #[error("not a CRL of this CA's form in DER")]
    Form,
    /// Not PEM of a CRL.
    #[error("not one CRL in PEM: {0}")]
    Pem(BadPem),
    /// Not by this issuer.
    #[error("the CRL is not signed by the issuer")]
    Signature,
}

impl CrlContent {
    /// Builds the TBSCertList for this issuer.
    ///
    /// # Errors
    /// When a value cannot be encoded.
    pub fn tbs(&self, issuer: &Issuer) -> der::Result<TbsCrlDer> {
        let time = |at: Timestamp| at.to_x509().map_err(|_| der::Error::from(der::ErrorKind::DateTime));
        let entry = |entry: &CrlEntry| -> der::Result<RevokedCert> {
            let reason =
                crl_reason(entry.reason).map(|reason| extension(false, CrlReason::OID, &reason)).transpose()?;
            Ok(RevokedCert {
                serial_number: entry.serial.to_x509().map_err(|_| der::ErrorKind::Failed)?,
                revocation_date: time(entry.at)?,
                crl_entry_extensions: reason.map(|reason| vec![reason]),
            })
        };
        let entries = self.entries.iter().map(entry).collect::<der::Result<Vec<_>>>()?;
        let identifier = OctetString::new(issuer.key_identifier())?;
        let authority =
            AuthorityKeyIdentifier { key_identifier: Some(identifier), ..AuthorityKeyIdentifier::default() };
        let number = CrlNumber(Uint::new(&self.number.to_be_bytes())?);
        let mut extensions = vec![
            extension(false, AuthorityKeyIdentifier::OID, &authority)?,
            extension(false, CrlNumber::OID, &number)?,
        ];
        if let Some(url) = &self.distribution_point {
            let point = IssuingDistributionPoint {
                distribution_point: Some(full_name(url)?),
                only_contains_user_certs: true,
                only_contains_ca_certs: false,
                only_some_reasons: None,
                indirect_crl: false,
                only_contains_attribute_certs: false,
            };
            extensions.push(extension(true, ID_CE_ISSUING_DISTRIBUTION_POINT, &point)?);
        }
        let list = TbsCertList {
            version: Version::V2,
            signature: ecdsa_with_sha256(),
            issuer: issuer.subject().clone(),
            this_update: time(self.this_update)?,
            next_update: Some(time(self.next_update)?),
            // An empty list is left out (RFC 5280 §5.1.2.6).
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: Some(extensions),
        };
        list.to_der().map(TbsCrlDer)
    }

    /// Reads a CRL and verifies that this issuer signed it.
    ///
    /// # Errors
    /// See [`BadCrl`].
    pub fn verify(der: &[u8], issuer: &Issuer) -> Result<Self, BadCrl> {
        let list: CertificateList = CertificateList::from_der(der).map_err(|_| BadCrl::Form)?;
        let tbs = list.tbs_cert_list.to_der().map_err(|_| BadCrl::Form)?;
        let content = Self::read(&list.tbs_cert_list, issuer).ok_or(BadCrl::Form)?;
        verify_signature(&list, &tbs, issuer)?;
        Ok(content)
    }

    /// Verifies a CRL of this issuer whose entries may have serial numbers that this CA does not give, such as those of
    /// OpenSSL with 20 octets; gives thisUpdate and nextUpdate.
    ///
    /// # Errors
    /// See [`BadCrl`].
    pub fn verify_dates(der: &[u8], issuer: &Issuer) -> Result<(Timestamp, Timestamp), BadCrl> {
        let mut list: CertificateList = CertificateList::from_der(der).map_err(|_| BadCrl::Form)?;
        let tbs = list.tbs_cert_list.to_der().map_err(|_| BadCrl::Form)?;
        verify_signature(&list, &tbs, issuer)?;
        list.tbs_cert_list.revoked_certificates = None;
        let content = Self::read(&list.tbs_cert_list, issuer).ok_or(BadCrl::Form)?;
        Ok((content.this_update, content.next_update))
    }

    /// Reads a TBSCertList of this issuer, as it is handed to a key; nothing for any other bytes.
    #[must_use]
    pub fn read_tbs(tbs: &[u8], issuer: &Issuer) -> Option<Self> {
        Self::read(&TbsCertList::from_der(tbs).ok()?, issuer)
    }

    fn read(list: &TbsCertList, issuer: &Issuer) -> Option<Self> {
        if list.version != Version::V2 || list.issuer != *issuer.subject() || list.signature != ecdsa_with_sha256() {
            return None;
        }
        let (mut number, mut distribution_point) = (None, None);
        for Extension { extn_id, critical, extn_value } in list.crl_extensions.as_ref()? {
            match *extn_id {
                AuthorityKeyIdentifier::OID => {
                    let authority = AuthorityKeyIdentifier::from_der(extn_value.as_bytes()).ok()?;
                    (authority.key_identifier?.as_bytes() == issuer.key_identifier()).then_some(())?;
                }
                CrlNumber::OID => number = Some(to_number(&CrlNumber::from_der(extn_value.as_bytes()).ok()?)?),
                ID_CE_ISSUING_DISTRIBUTION_POINT => {
                    let point = IssuingDistributionPoint::from_der(extn_value.as_bytes()).ok()?;
                    distribution_point = Some(url_of(&point)?);
                }
                _ if *critical => return None,
                _ => {}
            }
        }
        let entries = list.revoked_certificates.iter().flatten().map(CrlEntry::read).collect::<Option<_>>()?;
        Some(Self {
            number: number?,
            this_update: Timestamp::from_x509(&list.this_update),
            next_update: Timestamp::from_x509(list.next_update.as_ref()?),
            distribution_point,
            entries,
        })
    }
}

impl CrlEntry {
    fn read(revoked: &RevokedCert) -> Option<Self> {
        let mut reason = RevocationReason::Unspecified;
        for Extension { extn_id, critical, extn_value } in revoked.crl_entry_extensions.iter().flatten() {
            match *extn_id {
                CrlReason::OID => {
                    let code = CrlReason::from_der(extn_value.as_bytes()).ok()?;
                    reason = RevocationReason::from_code(code as i64)?;
                }
                _ if *critical => return None,
                _ => {}
            }
        }
        let serial = SerialNumber::from_x509(&revoked.serial_number).ok()?;
        Some(Self { serial, at: Timestamp::from_x509(&revoked.revocation_date), reason })
    }
}

impl TbsCrlDer {
    /// The bytes to hash and sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the signature (ECDSA with SHA-256, DER) behind it: a CertificateList in DER.
    ///
    /// # Errors
    /// When the bytes are not DER.
    pub fn assemble(self, signature: &[u8]) -> der::Result<Vec<u8>> {
        let list = CertificateList {
            tbs_cert_list: TbsCertList::from_der(&self.0)?,
            signature_algorithm: ecdsa_with_sha256(),
            signature: BitString::from_bytes(signature)?,
        };
        let list: CertificateList = list;
        list.to_der()
    }
}

fn extension(critical: bool, oid: ObjectIdentifier, value: &impl Encode) -> der::Result<Extension> {
    Ok(Extension { extn_id: oid, critical, extn_value: OctetString::new(value.to_der()?)? })
}

fn verify_signature(list: &CertificateList, tbs: &[u8], issuer: &Issuer) -> Result<(), BadCrl> {
    let signature = list.signature.as_bytes().ok_or(BadCrl::Form)?;
    let signature = DerSignature::try_from(signature).map_err(|_| BadCrl::Signature)?;
    if list.signature_algorithm != ecdsa_with_sha256() || issuer.key().verify(tbs, &signature).is_err() {
        return Err(BadCrl::Signature);
    }
    Ok(())
}

/// A distribution point's name: one URL (RFC 5280 §4.2.1.13).
pub(crate) fn full_name(url: &str) -> der::Result<DistributionPointName> {
    Ok(DistributionPointName::FullName(vec![GeneralName::UniformResourceIdentifier(Ia5String::new(url)?)]))
}

fn url_of(point: &IssuingDistributionPoint) -> Option<String> {
    match point.distribution_point.as_ref()? {
        DistributionPointName::FullName(names) => match names.as_slice() {
            [GeneralName::UniformResourceIdentifier(url)] => Some(url.as_str().to_owned()),
            _ => None,
        },
        DistributionPointName::NameRelativeToCRLIssuer(_) => None,
    }
}

fn to_number(number: &CrlNumber) -> Option<u64> {
    let bytes = number.0.as_bytes();
    let mut full = [0; 8];
    full.get_mut(8_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(full))
}
