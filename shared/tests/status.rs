//! OCSP requests and responses and CRLs: as this crate builds them, as it reads them, and what it refuses.

use shared::{
    crl::{BadCrl, CrlContent, CrlEntry},
    ocsp::{
        Asked, BadRequest, BadResponse, CertIdHash, CertStatus, Failure, IssuerHashes, Request, Responder, Response,
        ResponseContent,
    },
    revocation::RevocationReason,
    serial::SerialNumber,
    testing::TestCa,
    timestamp::Timestamp,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

fn response(ca: &TestCa, hash: CertIdHash, status: CertStatus) -> Vec<u8> {
    let (serial, issuer) = (SerialNumber::from_random([7; 16]), ca.chain.issuer());
    let tbs = ResponseContent::tbs(serial, hash, status, (at(0), at(600)), issuer, Responder::Issuer(issuer)).unwrap();
    let signature = ca.sign(tbs.as_bytes());
    tbs.assemble(&signature, Responder::Issuer(issuer)).unwrap()
}

#[test]
fn a_response_is_read_as_it_was_built_and_by_its_issuer_alone() {
    let ca = TestCa::new(1);
    for hash in CertIdHash::ALL {
        for status in [CertStatus::Good, CertStatus::Revoked(at(5), RevocationReason::KeyCompromise)] {
            let der = response(&ca, hash, status);
            let Ok(Response::Answer(content)) = Response::verify(&der, ca.chain.issuer()) else { panic!("{status:?}") };
            assert_eq!(content.status, status);
            assert_eq!(content.cert_id.serial, Some(SerialNumber::from_random([7; 16])));
            assert_eq!(content.cert_id.issuer, IssuerHashes::of(ca.chain.issuer(), hash).unwrap());
            assert_eq!((content.this_update, content.next_update), (at(0), at(600)));
            let other = TestCa::new(2);
            assert_eq!(Response::verify(&der, other.chain.issuer()), Err(BadResponse::Signature));
        }
    }
}

#[test]
fn a_response_of_which_one_byte_was_changed_is_refused() {
    let ca = TestCa::new(1);
    let der = response(&ca, CertIdHash::Sha1, CertStatus::Good);
    for position in 0..der.len() {
        let mut changed = der.clone();
        changed[position] ^= 1;
        assert!(!matches!(Response::verify(&changed, ca.chain.issuer()), Ok(Response::Answer(_))), "byte {position}");
    }
}

#[test]
fn failures_are_five_bytes_that_are_read_back() {
    let ca = TestCa::new(1);
    for failure in [
        Failure::MalformedRequest,
        Failure::InternalError,
        Failure::TryLater,
        Failure::SigRequired,
        Failure::Unauthorized,
    ] {
        assert_eq!(Response::verify(&failure.to_der(), ca.chain.issuer()), Ok(Response::Failure(failure)));
    }
}

/// As `openssl ocsp -issuer issuer.pem -serial 0x07…07 [-no_nonce] -reqout` writes it, for the hashes of the issuer of seed 1.
fn request(ca: &TestCa, more: &[u8]) -> Vec<u8> {
    let IssuerHashes { name, key } = IssuerHashes::of(ca.chain.issuer(), CertIdHash::Sha1).unwrap();
    let sequence = |content: Vec<u8>| {
        assert!(content.len() < 128);
        [vec![0x30, content.len() as u8], content].concat()
    };
    let octets = |content: &[u8]| [vec![0x04, content.len() as u8], content.to_vec()].concat();
    let algorithm = vec![0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00];
    let serial = [vec![0x02, 16], vec![7; 16]].concat();
    let cert_id = sequence([algorithm, octets(&name), octets(&key), serial].concat());
    let list = sequence(sequence(cert_id));
    sequence(sequence([list, more.to_vec()].concat()))
}

#[test]
fn a_request_is_read_with_and_without_a_nonce() {
    let ca = TestCa::new(1);
    let nonce = [
        &[0xa2, 0x17, 0x30, 0x15, 0x30, 0x13, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02][..],
        &[0x04, 0x06, 0x04, 0x04, 1, 2, 3, 4],
    ]
    .concat();
    for (more, has_nonce) in [(&[][..], false), (&nonce, true)] {
        let request = Request::from_der(&request(&ca, more)).unwrap();
        assert_eq!(request.has_nonce, has_nonce);
        let [Asked::Known(cert_id)] = request.asked.as_slice() else { panic!("{request:?}") };
        assert_eq!(cert_id.serial, Some(SerialNumber::from_random([7; 16])));
        assert_eq!(cert_id.issuer, IssuerHashes::of(ca.chain.issuer(), CertIdHash::Sha1).unwrap());
    }
}

#[test]
fn what_is_not_a_request_is_malformed() {
    let whole = request(&TestCa::new(1), &[]);
    for length in 0..whole.len() {
        assert_eq!(Request::from_der(&whole[..length]), Err(BadRequest::Form), "{length} bytes");
    }
    assert_eq!(Request::from_der(&[whole.as_slice(), &[0]].concat()), Err(BadRequest::Form), "a byte behind it");
    assert_eq!(Request::from_der(&[0x30, 0x04, 0x30, 0x02, 0x30, 0x00]), Err(BadRequest::Count));
}

#[test]
fn a_crl_is_read_as_it_was_built_and_by_its_issuer_alone() {
    let ca = TestCa::new(1);
    let entry = |byte: u8, reason| CrlEntry { serial: SerialNumber::from_random([byte; 16]), at: at(1), reason };
    let full: Vec<_> = RevocationReason::ALL.into_iter().zip(1..).map(|(reason, byte)| entry(byte, reason)).collect();
    for entries in [Vec::new(), full] {
        for distribution_point in [None, Some("http://status.test/crl/00/1-of-8.crl".to_owned())] {
            let (this_update, next_update) = (at(0), at(600));
            let content =
                CrlContent { number: 1 << 63, this_update, next_update, distribution_point, entries: entries.clone() };
            let tbs = content.tbs(ca.chain.issuer()).unwrap();
            assert_eq!(CrlContent::read_tbs(tbs.as_bytes(), ca.chain.issuer()).as_ref(), Some(&content));
            let signature = ca.sign(tbs.as_bytes());
            let der = tbs.assemble(&signature).unwrap();
            assert_eq!(CrlContent::verify(&der, ca.chain.issuer()), Ok(content));
            assert_eq!(CrlContent::verify(&der, TestCa::new(2).chain.issuer()), Err(BadCrl::Form));
            let last = der.len() - 1;
            let mut changed = der;
            changed[last] ^= 1;
            assert_eq!(CrlContent::verify(&changed, ca.chain.issuer()), Err(BadCrl::Signature));
        }
    }
}

#[test]
fn a_crl_with_a_serial_number_of_20_octets_has_its_dates_verified() {
    use der::{Decode, Encode};
    use x509_cert::crl::{RevokedCert, TbsCertList};

    let ca = TestCa::new(1);
    let issuer = ca.chain.issuer();
    let at = |text: &str| text.parse::<shared::timestamp::Timestamp>().unwrap();
    let (this_update, next_update) = (at("2026-11-21T12:00:00Z"), at("2026-12-21T12:00:00Z"));
    let content = CrlContent { number: 1, this_update, next_update, distribution_point: None, entries: Vec::new() };
    let mut tbs = TbsCertList::from_der(content.tbs(issuer).unwrap().as_bytes()).unwrap();
    let serial_number = x509_cert::serial_number::SerialNumber::new(&[0x6a; 20]).unwrap();
    let revocation_date = this_update.to_x509().unwrap();
    tbs.revoked_certificates = Some(vec![RevokedCert { serial_number, revocation_date, crl_entry_extensions: None }]);
    let der = tbs.to_der().unwrap();
    let list = x509_cert::crl::CertificateList::<x509_cert::certificate::Rfc5280> {
        tbs_cert_list: tbs,
        signature_algorithm: shared::certificate::ecdsa_with_sha256(),
        signature: der::asn1::BitString::from_bytes(&ca.sign(&der)).unwrap(),
    };
    let list = list.to_der().unwrap();
    assert_eq!(CrlContent::verify_dates(&list, issuer), Ok((this_update, next_update)));
    assert_eq!(CrlContent::verify(&list, issuer), Err(BadCrl::Form), "this CA gives no such serial number");
    assert_eq!(CrlContent::verify_dates(&list, TestCa::new(2).chain.issuer()), Err(BadCrl::Signature));
}
