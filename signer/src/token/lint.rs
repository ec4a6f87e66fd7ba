//! What a worker signs: TBSCertificates that look like a leaf of its issuer, and what is said about such leaves, whoever asks. The
//! last of several checks, made from the bytes alone, in the process that has the key.

mod status;

use der::Decode;
use shared::{
    certificate::ecdsa_with_sha256, chain::Issuer, public_key::PublicKey, serial::SerialNumber, timestamp::Timestamp,
};
use x509_cert::{
    TbsCertificate,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
};

use super::frame::Kind;

/// Why a worker does not sign something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lint {
    /// Not DER of what it is said to be, or an extension that cannot be read or stands twice.
    #[error("not the DER of what it is said to be")]
    Form,
    /// Another issuer, or another signature algorithm.
    #[error("not of this worker's issuer and algorithm")]
    Issuer,
    /// Not a number of this CA.
    #[error("the serial number is not 127 positive bits")]
    Serial,
    /// A CA, or a certificate that says nothing about it.
    #[error("not a leaf: CA:FALSE and no usage of a CA are required")]
    NotALeaf,
    /// No names, or no extended key usage.
    #[error("no subject alternative names or no extended key usage")]
    Nameless,
    /// Empty, too long, or not within the issuer's.
    #[error("the validity is empty, too long or not within the issuer's")]
    Validity,
    /// Not what an OCSP responder's certificate says, and that alone.
    #[error("not the certificate of an OCSP responder")]
    Responder,
    /// A key that this CA does not certify.
    #[error("the subject's key is refused")]
    Key,
}

/// Reads what is to be signed and checks that it is this issuer's and what it is said to be.
pub(crate) fn check(kind: &Kind, tbs: &[u8], issuer: &Issuer) -> Result<(), Lint> {
    match kind {
        Kind::Certificate => check_leaf(tbs, issuer),
        Kind::Ocsp => status::check_response(tbs, issuer),
        Kind::Crl => status::check_crl(tbs, issuer),
        Kind::Responder(key) => status::check_responder(tbs, &key.0, issuer),
    }
}

/// Reads a TBSCertificate and checks that it is a leaf of this issuer.
fn check_leaf(tbs: &[u8], issuer: &Issuer) -> Result<(), Lint> {
    let tbs = TbsCertificate::from_der(tbs).map_err(|_| Lint::Form)?;
    if tbs.issuer() != issuer.subject() || *tbs.signature() != ecdsa_with_sha256() {
        return Err(Lint::Issuer);
    }
    SerialNumber::from_x509(tbs.serial_number()).map_err(|_| Lint::Serial)?;
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(|_| Lint::Form)?.ok_or(Lint::NotALeaf)?.1;
    let usage = tbs.get_extension::<KeyUsage>().map_err(|_| Lint::Form)?.ok_or(Lint::NotALeaf)?.1;
    if constraints.ca || usage.key_cert_sign() || usage.crl_sign() {
        return Err(Lint::NotALeaf);
    }
    let names = tbs.get_extension::<SubjectAltName>().map_err(|_| Lint::Form)?.ok_or(Lint::Nameless)?.1;
    let usages = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| Lint::Form)?.ok_or(Lint::Nameless)?.1;
    if names.0.is_empty() || usages.0.is_empty() {
        return Err(Lint::Nameless);
    }
    let not_before = Timestamp::from_x509(&tbs.validity().not_before);
    let not_after = Timestamp::from_x509(&tbs.validity().not_after);
    if not_after < not_before || not_after > issuer.not_after() {
        return Err(Lint::Validity);
    }
    PublicKey::from_spki(tbs.subject_public_key_info().clone()).map_err(|_| Lint::Key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use der::Encode;
    use shared::testing::TestCa;

    fn tbs_of(certificate: &[u8]) -> Vec<u8> {
        x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate().to_der().unwrap()
    }

    #[test]
    fn a_leaf_of_the_issuer_is_signed_and_nothing_else_is() {
        let ca = TestCa::new(1);
        let intent = fixture::intent(&ca, 7);
        let issuer = ca.chain.issuer();
        assert_eq!(check_leaf(&intent.tbs.0, issuer), Ok(()));
        assert_eq!(check_leaf(&intent.tbs.0, TestCa::new(2).chain.issuer()), Err(Lint::Issuer));
        // Under the root, whose name is its issuer's, the issuer's own certificate is refused for being a CA.
        assert_eq!(check_leaf(&tbs_of(issuer.der()), &ca.root), Err(Lint::NotALeaf));
        for bytes in [&[][..], &[0x30, 0], &[0; 32]] {
            assert_eq!(check_leaf(bytes, issuer), Err(Lint::Form), "a digest is not a TBSCertificate");
        }
    }
}
