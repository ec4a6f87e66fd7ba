//! Bytes of strangers as a request of a client.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(shared::jws::Unverified::parse(data)));
