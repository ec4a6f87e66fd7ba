//! Text of strangers as an identifier, and as what an order says that it replaces.
#![no_main]
use shared::identifier::{Identifier, IdentifierObject};

libfuzzer_sys::fuzz_target!(|data: &str| {
    let _ = data.parse::<edge::acme::renewal_info::CertificateId>();
    for kind in ["dns", "ip"] {
        let _ = Identifier::try_from(IdentifierObject { kind: kind.to_owned(), value: data.to_owned() });
    }
});
