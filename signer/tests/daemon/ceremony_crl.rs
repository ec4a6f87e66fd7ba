//! The root's CRLs: what is revoked stays so, and numbers only grow. OpenSSL reads each.

use serde_json::Value;

use crate::ceremony_root::{Ceremony, UNCONSTRAINED};

#[test]
fn a_crl_of_the_root_revokes_for_good_and_its_number_only_grows() {
    let ceremony = Ceremony::in_token();
    ceremony.sign("a1", UNCONSTRAINED);
    let signed = ceremony.sign("b1", UNCONSTRAINED);
    let serial = serde_json::from_str::<Value>(&signed).unwrap()["serial"].as_str().unwrap().to_owned();
    let crl = |number, previous, form: &str, revoked: &str| ceremony.write_crl(number, previous, form, revoked);

    ceremony.0.signer_ok(&crl(1, None, "der", ""));
    ceremony.openssl("crl -inform DER -verify -CAfile token-root.pem -noout -in root-1.crl");
    assert!(ceremony.openssl("crl -inform DER -noout -text -in root-1.crl").contains("No Revoked Certificates"));
    let check = |number: u64, form: &str, certificate: &str| {
        ceremony.openssl(&format!("crl -inform {form} -in root-{number}.crl -out now.pem"));
        let output = ceremony
            .openssl_output(&format!("verify -crl_check -CAfile token-root.pem -CRLfile now.pem {certificate}"));
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(check(1, "DER", "a1.pem").0);

    let by_certificate =
        "[[revoked]]\ncertificate = \"a1.pem\"\nreason = \"cACompromise\"\ndate = \"2026-01-02T03:04:05Z\"";
    let made: Value =
        serde_json::from_str(&ceremony.0.signer_ok(&format!("{} --json", crl(2, Some(1), "pem", by_certificate))))
            .unwrap();
    assert_eq!((&made["number"], &made["revoked"]), (&2.into(), &1.into()));
    assert!(check(2, "PEM", "a1.pem").1.contains("certificate revoked"));
    assert!(check(2, "PEM", "b1.pem").0);
    let text = ceremony.openssl("crl -noout -text -in root-2.crl");
    for expected in ["X509v3 CRL Number: \n                2", "CA Compromise", "Jan  2 03:04:05 2026 GMT"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }

    // A jump is no harm; a step back, a repetition, or a first one that is not the first, is refused.
    let by_serial =
        format!("[[revoked]]\nserial = \"{serial}\"\nreason = \"superseded\"\ndate = \"2026-02-03T04:05:06Z\"");
    ceremony.0.signer_ok(&crl(7, Some(2), "der", &by_serial));
    assert!(check(7, "DER", "a1.pem").1.contains("certificate revoked"), "what was revoked stays revoked");
    assert!(check(7, "DER", "b1.pem").1.contains("certificate revoked"));
    assert!(ceremony.0.signer_fails(&crl(6, Some(7), "der", "")).contains("larger"));
    assert!(ceremony.0.signer_fails(&crl(9, None, "der", "")).contains("previous is missing"));
    let other_date = by_certificate.replace("2026-01-02", "2026-01-03");
    assert!(ceremony.0.signer_fails(&crl(8, Some(7), "der", &other_date)).contains("revoked already"));
    let future = by_certificate.replace("a1.pem", "c1.pem").replace("2026", "2036");
    ceremony.sign("c1", UNCONSTRAINED);
    assert!(ceremony.0.signer_fails(&crl(8, Some(7), "der", &future)).contains("future"));
    let own = by_certificate.replace("a1.pem", "token-root.pem");
    assert!(ceremony.0.signer_fails(&crl(8, Some(7), "der", &own)).contains("its own CRL"));
    let hold = by_serial.replace("superseded", "certificateHold");
    assert!(ceremony.0.signer_fails(&crl(8, Some(7), "der", &hold)).contains("certificateHold"));
    // One root's CRL does not go before another's.
    ceremony.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj /CN=Other -out other.pem",
    );
    let foreign = crl(8, Some(7), "der", "").replace("crl.toml", "foreign.toml");
    ceremony.write("foreign.toml", &ceremony.text("crl.toml").replace("root-7.crl", "a1.pem"));
    assert!(ceremony.0.signer_fails(&foreign).contains("the CRL in"));
    assert!(!ceremony.0.path("root-8.crl").exists() && !ceremony.0.path("root-8.crl.transcript").exists());
}
