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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{frame::Kind, lint::check};
    use shared::{
        certificate::ResponderContent,
        ocsp::{CertIdHash, CertStatus, Responder, ResponseContent},
        public_key::PublicKey,
        testing::TestCa,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn status_of_the_issuer_is_signed_and_nothing_else_in_its_place() {
        let (ca, other) = (TestCa::new(1), TestCa::new(2));
        let (issuer, other) = (ca.chain.issuer(), other.chain.issuer());
        let serial = SerialNumber::from_random([7; 16]);
        let response = |life: u64| {
            let (hash, responder) = (CertIdHash::Sha256, Responder::Issuer(issuer));
            let times = (at(0), at(life));
            ResponseContent::tbs(serial, hash, CertStatus::Good, times, issuer, responder).unwrap().as_bytes().to_vec()
        };
        let crl = |life: u64| {
            let (this_update, next_update) = (at(0), at(life));
            let content =
                CrlContent { number: 1, this_update, next_update, distribution_point: None, entries: Vec::new() };
            content.tbs(issuer).unwrap().as_bytes().to_vec()
        };
        for (kind, tbs) in [(Kind::Ocsp, &response as &dyn Fn(u64) -> Vec<u8>), (Kind::Crl, &crl)] {
            assert_eq!(check(&kind, &tbs(3600), issuer), Ok(()));
            assert!(check(&kind, &tbs(3600), other).is_err(), "of another issuer");
            for life in [0, LONGEST + 1] {
                assert_eq!(check(&kind, &tbs(life), issuer), Err(Lint::Validity));
            }
            let others = [Kind::Certificate, Kind::Ocsp, Kind::Crl].into_iter().filter(|other| *other != kind);
            for wrong in others {
                assert_eq!(check(&wrong, &tbs(3600), issuer), Err(Lint::Form), "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_responder_is_certified_for_the_key_that_is_named_and_is_no_leaf() {
        let ca = TestCa::new(1);
        let issuer = ca.chain.issuer();
        let spki = |seed: u8| crate::fixture::csr(seed).public_key().spki().to_der().unwrap();
        let key = PublicKey::parse(&spki(7)).unwrap();
        let serial = SerialNumber::from_random([7; 16]);
        let tbs = |life: u64| {
            let (not_before, not_after) = (at(0), at(life));
            let content = ResponderContent { public_key: &key, serial, not_before, not_after };
            content.tbs(issuer).unwrap().as_bytes().to_vec()
        };
        let responder = |seed: u8| Kind::Responder(shared::base64url::Base64Url(spki(seed)));
        assert_eq!(check(&responder(7), &tbs(3600), issuer), Ok(()));
        assert_eq!(check(&responder(8), &tbs(3600), issuer), Err(Lint::Key));
        assert_eq!(check(&responder(7), &tbs(LONGEST + 1), issuer), Err(Lint::Validity));
        assert_eq!(check(&Kind::Certificate, &tbs(3600), issuer), Err(Lint::Nameless));
        let leaf = crate::fixture::intent(&ca, 7).tbs.0;
        assert_eq!(check(&responder(7), &leaf, issuer), Err(Lint::Responder));
    }
}
