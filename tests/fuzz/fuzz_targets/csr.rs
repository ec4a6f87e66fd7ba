//! Bytes of strangers as a certificate signing request of a client.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drop(shared::csr::Csr::parse(data)));
