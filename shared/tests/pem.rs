//! Files in PEM as tools and editors leave them (RFC 7468 §2, §3).

use proptest::prelude::*;
use shared::{
    chain::{BadChain, Issuer, IssuerChain},
    pem::{BadPem, Label, read, read_one},
    testing::TestCa,
};

#[test]
fn text_marks_blank_lines_and_line_ends_around_blocks_are_accepted() {
    let ca = TestCa::new(1);
    let pem = &ca.root_pem;
    let der = ca.root.der().to_vec();
    let wide = pem.replace('\n', "").replace("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n");
    let wide = wide.replace("-----END", "\n-----END");
    for text in [
        pem.clone(),
        pem.trim_end().to_owned(),
        pem.replace('\n', "\r\n"),
        pem.replace('\n', "\r"),
        pem.replace('\n', "\n\n"),
        pem.replace('\n', " \n  "),
        format!("\u{feff}{pem}"),
        format!("Certificate:\n    Data: 1\n{pem}\nand behind it\n"),
        pem.replace("CERTIFICATE", "X509 CERTIFICATE"),
        wide,
    ] {
        assert_eq!(read(text.as_bytes(), Label::Certificate), Ok(vec![der.clone()]), "{text:?}");
        assert_eq!(Issuer::from_pem(&text).unwrap().der(), der);
    }
    assert_eq!(read_one(&der, Label::Certificate), Ok(der.clone()));
    assert_eq!(IssuerChain::from_pem(&der).unwrap().issuer().der(), der);
}

#[test]
fn a_block_that_cannot_be_used_is_an_error_with_its_number() {
    let (one, other) = (TestCa::new(1).root_pem, TestCa::new(2).root_pem);
    let said = |other: &str| read(format!("{one}{other}").as_bytes(), Label::Certificate).unwrap_err();
    let key = other.replace("CERTIFICATE", "PRIVATE KEY");
    assert_eq!(said(&key), BadPem::Label { number: 2, seen: "PRIVATE KEY", label: "CERTIFICATE" });
    assert_eq!(said(&other.replace("MI", "M!")), BadPem::Base64(2));
    assert_eq!(said(other.split("-----END").next().unwrap()), BadPem::Open(2));
    assert_eq!(said(&other.replace("-----END CERTIFICATE", "-----END X509 CRL")), BadPem::Open(2));
    let line = one.lines().count() + 1;
    assert_eq!(said(&other.replace("-----BEGIN", "----BEGIN")), BadPem::Boundary(line));
    assert_eq!(said(&format!("text {other}")), BadPem::Boundary(line));
    let windows = format!("{one}----BEGIN CERTIFICATE-----\n").replace('\n', "\r\n");
    assert_eq!(read(windows.as_bytes(), Label::Certificate), Err(BadPem::Boundary(line)));
    let two = BadPem::Several { label: "CERTIFICATE", count: 2 };
    assert_eq!(read_one(format!("{one}{other}").as_bytes(), Label::Certificate), Err(two));
    assert_eq!(Issuer::from_pem(format!("{one}{other}")).unwrap_err(), BadChain::Pem(two));
    assert_eq!(
        IssuerChain::from_pem(format!("{one}{}", other.replace("MI", "NI"))).unwrap_err(),
        BadChain::NotCertificate(2)
    );
    for nothing in ["", "nothing", "\u{feff}", "0"] {
        assert_eq!(read(nothing.as_bytes(), Label::Crl), Err(BadPem::Nothing("X509 CRL")));
    }
}

proptest! {
    #[test]
    fn bytes_of_a_stranger_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "(-----(BEGIN|END) (CERTIFICATE|X)-----|[a-zA-Z=\r\n-]{0,9}){0,9}") {
        let _ = read(&bytes, Label::Certificate);
        let _ = read(text.as_bytes(), Label::Certificate);
    }
}
