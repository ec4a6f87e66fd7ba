//! Text of strangers as a path.
#![no_main]
use edge::acme::route::{UrlSecret, Urls};
libfuzzer_sys::fuzz_target!(|path: &str| {
    let _ = Urls::new("https://ca.test".to_owned(), UrlSecret::new("secret")).parse(path);
});
