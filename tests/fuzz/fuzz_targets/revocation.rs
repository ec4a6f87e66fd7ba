//! Bytes of strangers as the payload of a revocation, with the certificate in it.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = shared::revocation::Revocation::parse(data);
    let _ = shared::chain::Leaf::from_der(data);
});
