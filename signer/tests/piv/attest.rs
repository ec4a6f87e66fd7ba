//! The attestation of a key, from the card through Yubico's module to `signer attest`.

use std::{fs, process::Output};

use rcgen::{CertificateParams, KeyPair};

use crate::{
    applet::ALWAYS_AUTHENTICATE,
    attester::Attester,
    estate::{Estate, Module},
};

/// What the module shows of the first card, judged as an attestation of the request's key.
fn attest(estate: &Estate, request: &str) -> Output {
    let (variable, socket) = estate.readers.environment();
    let mut command = estate.site.command("attest --root maker.pem --json --csr");
    command.args([request, "--module"]).arg(Module::Ykcs11.path());
    command.arg("--token").arg(format!("YubiKey PIV #{}", estate.cards[0].applet().serial));
    command.env(variable, socket).output().unwrap()
}

/// A card whose key in this slot was made in it, and its maker's root.
fn attested(slot: u8) -> Estate {
    let estate = Estate::with_slot(Module::Ykcs11, 1, slot);
    let attester = Attester::new();
    fs::write(estate.site.path("maker.pem"), attester.root()).unwrap();
    let mut applet = estate.cards[0].applet();
    applet.fit(attester);
    applet.pass_as_made_inside(slot);
    drop(applet);
    estate
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_key_that_was_made_in_the_card_is_attested_through_the_module_and_no_other_key() {
    for (slot, policy, warnings) in [(0x9a, "once", 0), (ALWAYS_AUTHENTICATE, "always", 1)] {
        let estate = attested(slot);
        let output = attest(&estate, "a1.csr");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&found["slot"], &found["pin_policy"]), (&format!("{slot:02x}").into(), &policy.into()));
        assert_eq!((&found["firmware"], &found["serial"]), (&"5.4.3".into(), &estate.cards[0].applet().serial.into()));
        assert_eq!((&found["touch_policy"], &found["root"]), (&"never".into(), &"CN=Maker Root".into()));
        assert_eq!(found["warnings"].as_array().unwrap().len(), warnings, "{found}");

        let another = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        fs::write(estate.site.path("another.csr"), another.pem().unwrap()).unwrap();
        assert!(refused(&attest(&estate, "another.csr")).contains("no attestation of this key"));
        // Another maker's device says the same of it.
        fs::write(estate.site.path("maker.pem"), Attester::new().root()).unwrap();
        assert!(refused(&attest(&estate, "a1.csr")).contains("does not lead to the root"));
    }
}

#[test]
fn a_key_that_was_imported_has_no_attestation() {
    let estate = attested(0x9a);
    estate.import_another_key(0);
    assert!(refused(&attest(&estate, "a1.csr")).contains("no attestation of this key"));
}
