//! Alternate chains: what is taken for one, and for which issuer.

use shared::{
    alternate_chain::AlternateChain,
    chain::{BadChain, Issuer, IssuerChain},
    pem::BadPem,
    testing::TestCa,
};

/// Made with OpenSSL: the issuer of the test CA 1, certified by a P-384 CA with SHA-384; that one, certified by an RSA root
/// with SHA-256; the root. Valid from November 2026 to 2048.
const BY_OTHER_KEYS: &str = include_str!("vectors/alternate-chain.pem");

#[test]
fn a_cross_certificate_serves_the_issuer_of_its_name_and_key_alone() {
    let (ours, other) = (TestCa::new(1), TestCa::new(2));
    for pem in [ours.cross_certificate(&other), ours.cross_certificate(&other) + &other.root_pem] {
        let chain = AlternateChain::from_pem(&pem).unwrap();
        assert!(chain.is_for(ours.chain.issuer()));
        assert!(!chain.is_for(other.chain.issuer()) && !chain.is_for(&ours.root));
        let [cross] = chain.sent() else { panic!("the cross certificate alone") };
        let up = IssuerChain::from_ders([cross.as_slice()]).unwrap();
        assert_eq!(up.verify_to(&other.root, "2026-11-21T12:00:00Z".parse().unwrap()), Ok(()));
    }
}

#[test]
fn the_cas_above_may_have_keys_of_other_kinds() {
    let chain = AlternateChain::from_pem(BY_OTHER_KEYS).unwrap();
    assert!(chain.is_for(TestCa::new(1).chain.issuer()));
    assert_eq!(chain.sent().len(), 2, "all but the root");
    // Valid at all only when all of it is.
    assert!(chain.is_valid_at("2027-01-01T00:00:00Z".parse().unwrap()));
    assert!(!chain.is_valid_at("2026-01-01T00:00:00Z".parse().unwrap()));
    assert!(!chain.is_valid_at("2049-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn what_is_no_chain_of_a_cross_certificate_says_why() {
    let (ours, other) = (TestCa::new(1), TestCa::new(2));
    let cross = ours.cross_certificate(&other);
    let [first, middle, root] = BY_OTHER_KEYS.split_inclusive("-----END CERTIFICATE-----\n").collect::<Vec<_>>()[..]
    else {
        panic!("three")
    };
    let table = [
        (String::new(), BadChain::Pem(BadPem::Nothing("CERTIFICATE"))),
        ("nothing".to_owned(), BadChain::Pem(BadPem::Nothing("CERTIFICATE"))),
        (cross.replace("MI", "NI"), BadChain::NotCertificate(1)),
        (ours.root_pem.clone(), BadChain::NoCross),
        (cross.clone() + &ours.root_pem, BadChain::NotIssuedByNext),
        (cross + &other.cross_certificate(&ours), BadChain::NotIssuedByNext),
        (format!("{first}{root}"), BadChain::NotIssuedByNext),
        (format!("{first}{root}{middle}"), BadChain::NotIssuedByNext),
        (format!("{middle}{root}"), BadChain::CaKey),
    ];
    for (pem, why) in table {
        assert_eq!(AlternateChain::from_pem(&pem).unwrap_err(), why, "{pem}");
    }
    assert!(Issuer::from_pem(first).is_ok());
}
