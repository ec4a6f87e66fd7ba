//! Who issued a certificate, when an issuer has more than one certificate for its name and key.

use edge::status::issuers::Issuers;
use shared::{
    base64url::Base64Url,
    chain::Issuer,
    ocsp::{CertIdHash, IssuerHashes},
    pointers::{CrlShard, IssuerId},
    signing::{IssuerStatus, JournalState, Status},
    testing::TestCa,
    timestamp::Timestamp,
};

fn status(ders: &[Vec<u8>]) -> Status {
    let issuer = |der: &Vec<u8>| IssuerStatus {
        name: "a1".to_owned(),
        chain: vec![Base64Url(der.clone())],
        tokens: Vec::new(),
        drained: false,
        crl_shards: CrlShard::all(2).collect(),
    };
    Status {
        version: String::new(),
        issuers: ders.iter().map(issuer).collect(),
        journal_length: 0,
        journal_head: Base64Url(Vec::new()),
        queued: 0,
        policy: Base64Url::default(),
        journal: JournalState::Writable,
    }
}

#[test]
fn a_new_certificate_for_the_same_name_and_key_is_the_same_issuer() {
    let ca = TestCa::new(1);
    let first = ca.chain.issuer();
    let second = Issuer::from_pem(ca.cross_certificate(&ca)).unwrap();
    assert_ne!(first.der(), second.der());
    let now = Timestamp::from_seconds(1_800_000_000);
    let hashes = IssuerHashes::of(first, CertIdHash::Sha1).unwrap();
    // Before, during and after the change: who asks about a certificate of either finds the issuer.
    for ders in [vec![first], vec![first, &second], vec![&second]] {
        let mut issuers = Issuers::default();
        let ders: Vec<_> = ders.iter().map(|issuer| issuer.der().to_vec()).collect();
        issuers.learn("SIGNER_1", &status(&ders), &ca.root, now);
        let known = issuers.named(CertIdHash::Sha1, &hashes).unwrap();
        assert_eq!((known.signer.as_str(), known.chain.issuer().key()), ("SIGNER_1", first.key()));
        for der in &ders {
            let id = IssuerId::of(&Issuer::from_der(der).unwrap());
            assert_eq!(issuers.by_id(id).map(|known| known.chain.issuer().der()), Some(der.as_slice()));
        }
    }
}
