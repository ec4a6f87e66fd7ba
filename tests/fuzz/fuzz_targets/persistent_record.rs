//! Bytes of strangers as a record of dns-persist-01.
#![no_main]
use edge::acme::dns_persist::Expected;
use shared::{jwk::Thumbprint, timestamp::Timestamp};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (Ok(name), Ok(issuer)) = ("a.test".parse(), "ca.test".parse()) else { return };
    let expected = Expected {
        issuers: &[issuer],
        name: &name,
        wildcard: data.len() % 2 == 0,
        account_url: "https://ca.test/1",
        keys: &[Thumbprint([1; 32])],
        hash_prefix: "https://ca.test/account-hash/",
        now: Timestamp::from_seconds(1_800_000_000),
    };
    let _ = expected.judge(&[data.to_vec(), [b"ca.test;".as_slice(), data].concat()]);
});
