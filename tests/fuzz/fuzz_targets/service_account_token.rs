//! Bytes of strangers as a ServiceAccount token, and as a cluster's key set.
#![no_main]
use shared::kubernetes::{keys::KeySet, token::Unverified};
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let keys = KeySet::parse(data);
    if let Ok(token) = str::from_utf8(data).map_err(drop).and_then(|text| Unverified::parse(text).map_err(drop)) {
        let _ = keys.map(|keys| token.verify(&keys));
    }
});
