//! The certificate of an OCSP responder: for a key that its issuer trusts with nothing else (RFC 6960 §4.2.2.2).

use const_oid::db::{rfc5280::ID_KP_OCSP_SIGNING, rfc6960::ID_PKIX_OCSP_NOCHECK};

use super::*;

/// The common name of every responder: nobody asks for it.
const SUBJECT: &str = "CN=OCSP Responder";

/// Everything that decides the bytes of a responder's certificate but the signature.
#[derive(Clone, Copy, Debug)]
pub struct ResponderContent<'a> {
    /// The responder's key.
    pub public_key: &'a PublicKey,
    /// 127 random bits.
    pub serial: SerialNumber,
    /// First valid second.
    pub not_before: Timestamp,
    /// Last valid second. Soon: whoever sees it does not ask whether it was revoked (RFC 6960 §4.2.2.2.1).
    pub not_after: Timestamp,
}

impl ResponderContent<'_> {
    /// Builds the TBSCertificate for this issuer.
    ///
    /// # Errors
    /// When the validity is empty or not within the issuer's, and when a value cannot be encoded.
    pub fn tbs(&self, issuer: &Issuer) -> Result<TbsDer, CannotBuild> {
        if self.not_after < self.not_before || self.not_after > issuer.not_after() {
            return Err(CannotBuild::Validity);
        }
        let validity = Validity::new(
            self.not_before.to_x509().map_err(|_| CannotBuild::Encoding)?,
            self.not_after.to_x509().map_err(|_| CannotBuild::Encoding)?,
        );
        let profile = Leaf {
            issuer: issuer.subject().clone(),
            subject: SUBJECT.parse().map_err(|_| CannotBuild::Encoding)?,
            extensions: self.extensions(issuer).map_err(|_| CannotBuild::Encoding)?,
        };
        let serial = self.serial.to_x509().map_err(|_| CannotBuild::Encoding)?;
        let mut builder = CertificateBuilder::new(profile, serial, validity, self.public_key.spki().clone())
            .map_err(|_| CannotBuild::Encoding)?;
        builder.finalize(&IssuerKey(issuer.key())).map(TbsDer).map_err(|_| CannotBuild::Encoding)
    }

    fn extensions(&self, issuer: &Issuer) -> der::Result<Vec<Extension>> {
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(issuer.key_identifier())?),
            ..AuthorityKeyIdentifier::default()
        };
        let no_check = OctetString::new(Null.to_der()?)?;
        Ok(vec![
            extension(true, &BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
            extension(false, &ExtendedKeyUsage(vec![ID_KP_OCSP_SIGNING]))?,
            Extension { extn_id: ID_PKIX_OCSP_NOCHECK, critical: false, extn_value: no_check },
            extension(false, &SubjectKeyIdentifier(OctetString::new(self.public_key.key_identifier())?))?,
            extension(false, &authority)?,
        ])
    }
}
