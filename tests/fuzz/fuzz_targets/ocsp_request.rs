//! Bytes of strangers as an OCSP request, and of edges as what they ask a signer about status.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = shared::ocsp::Request::from_der(data);
    let _ = serde_json::from_slice::<shared::signing::OcspRequest>(data);
    let _ = serde_json::from_slice::<shared::signing::CrlRequest>(data);
});
