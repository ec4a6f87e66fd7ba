//! What a worker signs about certificates: OCSP responses, CRLs, and the certificates of OCSP responders.

use const_oid::db::{rfc5280::ID_KP_OCSP_SIGNING, rfc6960::ID_PKIX_OCSP_NOCHECK};
use der::{Decode, Encode};
use shared::{
    certificate::ecdsa_with_sha256,
    chain::Issuer,
    crl::CrlContent,
    ocsp::{IssuerHashes, read_tbs},
    serial::SerialNumber,
    timestamp::Timestamp,
};
use x509_cert::{
    TbsCertificate,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
};

use super::Lint;

/// The longest time in seconds that something may be said ahead: 31 days.
const LONGEST: u64 = 31 * 86_400;

/// A ResponseData about one certificate of this issuer.
pub(super) fn check_response(tbs: &[u8], issuer: &Issuer) -> Result<(), Lint> {
    let content = read_tbs(tbs).ok_or(Lint::Form)?;
    let hashes = IssuerHashes::of(issuer, content.cert_id.hash).map_err(|_| Lint::Issuer)?;
    if content.cert_id.issuer != hashes {
        return Err(Lint::Issuer);
    }
    content.cert_id.serial.ok_or(Lint::Serial)?;
    check_times(content.this_update, content.next_update, issuer)
}

/// A TBSCertList of this issuer.
pub(super) fn check_crl(tbs: &[u8], issuer: &Issuer) -> Result<(), Lint> {
    let content = CrlContent::read_tbs(tbs, issuer).ok_or(Lint::Form)?;
    check_times(content.this_update, content.next_update, issuer)
}

/// The TBSCertificate of an OCSP responder with this key, and good for nothing else (RFC 6960 §4.2.2.2).
pub(super) fn check_responder(tbs: &[u8], key: &[u8], issuer: &Issuer) -> Result<(), Lint> {
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
    let names = tbs.get_extension::<SubjectAltName>().map_err(|_| Lint::Form)?;
    let usages = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| Lint::Form)?.ok_or(Lint::Responder)?.1;
    let is_unchecked = tbs.extensions().is_some_and(|all| all.iter().any(|one| one.extn_id == ID_PKIX_OCSP_NOCHECK));
    if names.is_some() || usages.0 != [ID_KP_OCSP_SIGNING] || !is_unchecked {
        return Err(Lint::Responder);
    }
    let not_before = Timestamp::from_x509(&tbs.validity().not_before);
    check_times(not_before, Timestamp::from_x509(&tbs.validity().not_after), issuer)?;
    let spki = tbs.subject_public_key_info().to_der().map_err(|_| Lint::Key)?;
    if spki == key { Ok(()) } else { Err(Lint::Key) }
}

fn check_times(from: Timestamp, until: Timestamp, issuer: &Issuer) -> Result<(), Lint> {
    let is_sane = from < until && until.since(from) <= LONGEST && until <= issuer.not_after();
    if is_sane { Ok(()) } else { Err(Lint::Validity) }
}
