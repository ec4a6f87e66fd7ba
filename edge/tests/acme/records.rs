//! Stored forms are pinned: a change here needs a migration, and the version before must be able to read it.

use edge::{
    acme::{
        absorb::HeldRecord,
        rate_limit::Meter,
        record::{AccountRecord, AuthorizationRecord, OrderRecord, PointerRecord, RetiredRecord, ReusableRecord},
    },
    status::{
        renewal::{LoadRecord, RenewalRecord},
        revocation::CertificateRecord,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// Every stored form of every version is kept as a file and stays readable; the newest is also what is written.
fn pinned<T: Serialize + DeserializeOwned>(text: &str) {
    assert!(text.lines().count() >= 2, "the fixture is there");
    for line in text.lines().filter(|line| !line.is_empty()) {
        let record: T = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
}

#[test]
fn account_record_json_is_unchanged() {
    pinned::<AccountRecord>(include_str!("../records/1/account.jsonl"));
}

#[test]
fn order_record_json_is_unchanged() {
    pinned::<OrderRecord>(include_str!("../records/1/order.jsonl"));
}

#[test]
fn authorization_record_json_is_unchanged() {
    pinned::<AuthorizationRecord>(include_str!("../records/1/authorization.jsonl"));
}

#[test]
fn certificate_record_json_is_unchanged() {
    pinned::<CertificateRecord>(include_str!("../records/1/certificate.jsonl"));
}

#[test]
fn renewal_record_json_is_unchanged() {
    pinned::<RenewalRecord>(include_str!("../records/1/renewal.jsonl"));
}

#[test]
fn load_record_json_is_unchanged() {
    pinned::<LoadRecord>(include_str!("../records/1/load.jsonl"));
}

#[test]
fn pointer_record_json_is_unchanged() {
    pinned::<PointerRecord>(include_str!("../records/1/pointer.jsonl"));
}

#[test]
fn retired_record_json_is_unchanged() {
    pinned::<RetiredRecord>(include_str!("../records/1/retired.jsonl"));
}

#[test]
fn held_record_json_is_unchanged() {
    pinned::<HeldRecord>(include_str!("../records/1/held.jsonl"));
}

#[test]
fn meter_json_is_unchanged() {
    pinned::<Meter>("0\n1800000000000\n");
}

#[test]
fn reusable_record_json_is_unchanged() {
    pinned::<ReusableRecord>(include_str!("../records/1/reusable.jsonl"));
}
