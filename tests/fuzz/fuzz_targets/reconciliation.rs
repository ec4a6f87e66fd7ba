//! Bytes of strangers as what an edge asks to learn what was signed for it, and to disown it.
#![no_main]
use shared::signing::{DisownRequest, RecordsRequest};
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drop(serde_json::from_slice::<RecordsRequest>(data));
    drop(serde_json::from_slice::<DisownRequest>(data));
});
