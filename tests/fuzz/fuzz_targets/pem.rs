//! Bytes of strangers as a file in PEM: what is read has as many blocks as the file begins.
#![no_main]
use shared::pem::{Label, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(ders) = read(data, Label::Certificate) {
        let text = String::from_utf8_lossy(data);
        assert!(data.starts_with(&[0x30]) || ders.len() == text.matches("-----BEGIN ").count());
    }
});
