//! A certificate is a pure function of (profile, names, public key, serial, times, issuer), whatever a request says.

use std::collections::BTreeSet;

use proptest::prelude::*;
use shared::{
    certificate::{CannotBuild, Content},
    chain::{BadChain, IssuerChain},
    csr::{BadCsr, Csr},
    identifier::Identifier,
    profile::Usage,
    serial::SerialNumber,
    testing::{TestCa, TestKey, dns_names, server_profile},
    timestamp::Timestamp,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn what_is_built_reads_back_as_it_was_meant() {
    let (ca, key, profile) = (TestCa::new(1), TestKey::new(1), server_profile());
    let names = dns_names(&["a.test", "*.b.test"]);
    let content = Content {
        profile: &profile,
        names: &names,
        common_name: None,
        public_key: &key.public_key(),
        serial: SerialNumber::from_random([9; 16]),
        not_before: at("2026-11-21T12:00:00Z"),
        not_after: at("2026-11-22T11:59:59Z"),
        status: None,
        crl_shards: 1,
    };
    let leaf = ca.chain.verify_leaf(&ca.issue(&content)).unwrap();
    assert_eq!(leaf.names, names);
    assert_eq!(leaf.public_key, key.public_key());
    assert_eq!(leaf.serial, content.serial);
    assert_eq!((leaf.not_before, leaf.not_after), (content.not_before, content.not_after));
    assert_eq!(leaf.extended_key_usage, BTreeSet::from([Usage::ServerAuth.oid()]));
}

#[test]
fn what_must_not_be_built_is_refused() {
    let (ca, key, profile) = (TestCa::new(1), TestKey::new(1), server_profile());
    let (none, one) = (dns_names(&[]), dns_names(&["a.test"]));
    let other = "b.test".parse().unwrap();
    let content = |names, common_name, not_before, not_after| {
        let public_key = key.public_key();
        let serial = SerialNumber::from_random([9; 16]);
        let content = Content {
            profile: &profile,
            names,
            common_name,
            public_key: &public_key,
            serial,
            not_before,
            not_after,
            status: None,
            crl_shards: 1,
        };
        content.tbs(ca.chain.issuer()).unwrap_err()
    };
    let (first, last) = (at("2026-11-21T12:00:00Z"), at("2026-11-22T12:00:00Z"));
    assert_eq!(content(&none, None, first, last), CannotBuild::Names);
    assert_eq!(content(&one, Some(&other), first, last), CannotBuild::Names);
    assert_eq!(content(&one, None, last, first), CannotBuild::Validity);
    assert_eq!(content(&one, None, first, at("2050-01-01T00:00:00Z")), CannotBuild::Validity);
}

#[test]
fn a_chain_to_another_root_is_refused() {
    let (ours, other) = (TestCa::new(1), TestCa::new(2));
    let now = at("2026-11-21T12:00:00Z");
    assert_eq!(ours.chain.verify_to(&ours.root, now), Ok(()));
    assert_eq!(ours.chain.verify_to(&other.root, now), Err(BadChain::OtherRoot));
    assert_eq!(ours.chain.verify_to(&ours.root, at("2019-01-01T00:00:00Z")), Err(BadChain::Expired));
    let mixed = IssuerChain::from_ders([ours.chain.issuer().der(), other.root.der()]);
    assert_eq!(mixed.unwrap_err(), BadChain::NotIssuedByNext);
}

#[test]
fn the_root_is_not_sent_behind_the_leaf() {
    let ca = TestCa::new(1);
    let sent: Vec<_> = ca.chain.sent().map(|issuer| issuer.der().to_vec()).collect();
    assert_eq!(sent, [ca.chain.issuer().der().to_vec()]);
}

#[test]
fn a_request_shows_its_names_and_key() {
    let key = TestKey::new(4);
    let csr = Csr::parse(&key.csr(&["B.test", "a.test"], "CN=a.test")).unwrap();
    assert_eq!(csr.names(), &dns_names(&["a.test", "b.test"]));
    assert_eq!(csr.common_name().unwrap().as_str(), "a.test");
    assert_eq!(csr.public_key(), &key.public_key());
}

#[test]
fn a_common_name_counts_as_a_name() {
    let csr = Csr::parse(&TestKey::new(4).csr(&["a.test"], "CN=b.test")).unwrap();
    assert_eq!(csr.names(), &dns_names(&["a.test", "b.test"]));
}

#[test]
fn an_address_as_the_common_name_counts_as_a_name_and_is_no_common_name_of_a_certificate() {
    let csr = Csr::parse(&TestKey::new(4).csr(&["192.0.2.1", "2001:db8::1"], "CN=2001:DB8::1")).unwrap();
    let address = |text: &str| Identifier::Ip(text.parse().unwrap());
    assert_eq!(csr.names(), &BTreeSet::from([address("192.0.2.1"), address("2001:db8::1")]));
    assert_eq!(csr.common_name(), None);
    let csr = Csr::parse(&TestKey::new(4).csr(&["192.0.2.1"], "CN=192.0.2.2")).unwrap();
    assert_eq!(csr.names(), &BTreeSet::from([address("192.0.2.1"), address("192.0.2.2")]));
}

#[test]
fn a_certificate_carries_its_addresses() {
    let (ca, profile, key) = (TestCa::new(1), server_profile(), TestKey::new(3));
    let names = ["192.0.2.1", "2001:db8::1"].map(|text| Identifier::Ip(text.parse().unwrap())).into();
    let content = Content {
        profile: &profile,
        names: &names,
        common_name: None,
        public_key: &key.public_key(),
        serial: SerialNumber::from_random([9; 16]),
        not_before: at("2026-11-21T12:00:00Z"),
        not_after: at("2026-11-22T11:59:59Z"),
        status: None,
        crl_shards: 1,
    };
    assert_eq!(ca.chain.verify_leaf(&ca.issue(&content)).unwrap().names, names);
}

#[test]
fn requests_that_smuggle_are_refused() {
    let key = TestKey::new(4);
    let refused = |subject: &str| Csr::parse(&key.csr(&["a.test"], subject)).unwrap_err();
    assert!(matches!(refused("CN=a.test,CN=b.test"), BadCsr::CommonNames(_)));
    let said = "the common name \"a b\" is neither a DNS name nor an IP address in valid form";
    assert_eq!(refused("CN=a b").to_string(), said);
    assert!(matches!(refused("CN=::ffff:192.0.2.1"), BadCsr::CommonName(_)));
    let said = Csr::parse(&key.csr(&["::ffff:192.0.2.1"], "")).unwrap_err().to_string();
    assert!(said.starts_with("the subject alternative name \"::ffff:192.0.2.1\" is neither"), "{said}");
    let mut der = key.csr(&["a.test"], "");
    *der.last_mut().unwrap() ^= 1;
    assert!(Csr::parse(&der).is_err());
    assert_eq!(Csr::parse(b"").unwrap_err(), BadCsr::NotDer);
}

proptest! {
    #[test]
    fn bytes_of_a_stranger_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Csr::parse(&bytes);
        let _ = IssuerChain::from_ders([bytes.as_slice()]);
        let _ = shared::jws::Unverified::parse(&bytes);
        let _ = serde_json::from_slice::<shared::signing::IssueRequest>(&bytes);
    }

    #[test]
    fn a_mutated_request_never_panics_and_never_verifies(index in 0usize..200, flip in 1u8..=255) {
        let mut der = TestKey::new(4).csr(&["a.test"], "CN=a.test");
        let index = index % der.len();
        der[index] ^= flip;
        prop_assert!(Csr::parse(&der).is_err());
    }

    #[test]
    fn the_certificate_does_not_depend_on_the_request(subject in "(CN=a\\.test)?", extra in proptest::bool::ANY) {
        let (ca, key, profile) = (TestCa::new(1), TestKey::new(1), server_profile());
        let names: &[&str] = if extra { &["a.test", "b.test"] } else { &["b.test", "a.test"] };
        let csr = Csr::parse(&key.csr(names, &subject)).unwrap();
        let content = Content {
            profile: &profile,
            names: csr.names(),
            common_name: None,
            public_key: csr.public_key(),
            serial: SerialNumber::from_random([9; 16]),
            not_before: at("2026-11-21T12:00:00Z"),
            not_after: at("2026-11-22T11:59:59Z"),
            status: None,
            crl_shards: 1,
        };
        let direct = Content { names: &dns_names(&["a.test", "b.test"]), public_key: &key.public_key(), ..content };
        prop_assert_eq!(content.tbs(ca.chain.issuer()).unwrap(), direct.tbs(ca.chain.issuer()).unwrap());
    }
}
