//! Bytes of strangers as an external account binding, and of edges as what they ask a signer about one.
#![no_main]
use shared::{external_account::BindingClaim, grant::BindRequest, jws::Flattened};

const KEY: &str = r#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<BindRequest>(data);
    let (Ok(proof), Ok(key)) = (serde_json::from_slice::<Flattened>(data), serde_json::from_str(KEY)) else { return };
    let Ok(claim) = BindingClaim::parse(proof, &key, "https://ca.test/acme/new-account") else { return };
    assert!(claim.verify(b"a key that nobody knows, of 32 B").is_err());
});
