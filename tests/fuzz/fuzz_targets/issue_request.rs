//! Bytes of strangers as a request of an edge to a signer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(serde_json::from_slice::<shared::signing::IssueRequest>(data)));
