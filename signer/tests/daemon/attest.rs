//! Attestations of devices that never were: chains as YubiKeys make them, and each way in which one can be wrong.

use std::{fs, process::Command};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, SerialNumber,
};

use crate::site::{MODULE, Site};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// Yubico's arc, and what a device of firmware 5.4.3 puts there.
const ARC: [u64; 8] = [1, 3, 6, 1, 4, 1, 41482, 3];
const FIRMWARE: (u64, &[u8]) = (3, &[5, 4, 3]);
const SERIAL: (u64, &[u8]) = (7, &[0x02, 0x04, 0x00, 0xff, 0x01, 0x02]);
const POLICY: (u64, &[u8]) = (8, &[2, 1]);
const FORM_FACTOR: (u64, &[u8]) = (9, &[0x03]);

/// A maker's root, and a device under it.
struct Maker {
    site: Site,
    root: Ca,
    device: Ca,
    slot: KeyPair,
}

fn parameters(name: &str, ca: Option<BasicConstraints>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    if let Some(constraints) = ca {
        parameters.is_ca = IsCa::Ca(constraints);
    }
    parameters
}

fn root(key: KeyPair) -> Ca {
    Ca::self_signed(parameters("Maker Root", Some(BasicConstraints::Unconstrained)), key).unwrap()
}

fn device(root: &Ca) -> Ca {
    let parameters = parameters("Yubico PIV Attestation", Some(BasicConstraints::Constrained(0)));
    Ca::signed_by(parameters, KeyPair::generate().unwrap(), root).unwrap()
}

/// A slot's attestation with these extensions, PEM.
fn attestation(slot: &impl PublicKeyData, device: &Ca, claims: &[(u64, &[u8])]) -> String {
    let mut parameters = parameters("YubiKey PIV Attestation 9a", None);
    // As devices draw them: sixteen random bytes, here with the top bit set.
    parameters.serial_number = Some(SerialNumber::from_slice(&[0x8f; 16]));
    for (last, value) in claims {
        let id = [&ARC[..], &[*last]].concat();
        parameters.custom_extensions.push(CustomExtension::from_oid_content(&id, value.to_vec()));
    }
    parameters.signed_by(slot, device).unwrap().pem()
}

impl Maker {
    fn new() -> Self {
        Self::with_root(KeyPair::generate().unwrap())
    }

    fn with_root(key: KeyPair) -> Self {
        let site = Site::without_issuers();
        let root = root(key);
        let device = device(&root);
        let slot = KeyPair::generate().unwrap();
        let maker = Self { site, root, device, slot };
        let good = maker.attestation(&[FIRMWARE, SERIAL, POLICY, FORM_FACTOR]);
        maker.write("attestation.pem", &good);
        maker.write("device.pem", &maker.device.pem());
        maker.write("maker.pem", &maker.root.pem());
        maker.write("slot.pub", &maker.slot.public_key_pem());
        let request = CertificateParams::default().serialize_request(&maker.slot).unwrap().pem().unwrap();
        maker.write("slot.csr", &request);
        maker
    }

    fn attestation(&self, claims: &[(u64, &[u8])]) -> String {
        attestation(&self.slot, &self.device, claims)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.site.path(name), text).unwrap();
    }

    /// What is found out about these claims.
    fn found(&self, claims: &[(u64, &[u8])]) -> serde_json::Value {
        self.write("attestation.pem", &self.attestation(claims));
        serde_json::from_str(&self.site.signer_ok(&format!("{GOOD} --json"))).unwrap()
    }

    /// The last words about these claims.
    fn refused(&self, claims: &[(u64, &[u8])]) -> String {
        self.write("attestation.pem", &self.attestation(claims));
        self.site.signer_fails(GOOD)
    }
}

const GOOD: &str = "attest --attestation attestation.pem --device device.pem --root maker.pem --csr slot.csr";

#[test]
fn a_good_attestation_tells_what_the_device_is() {
    let maker = Maker::new();
    let text = maker.site.signer_ok(GOOD);
    for line in [
        "slot: 9a",
        "firmware: 5.4.3",
        "serial number: 16711938",
        "PIN policy: once",
        "touch policy: never",
        "form factor: USB-C keychain",
        "root: CN=Maker Root",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
    }
    assert!(!text.contains("warning"), "{text}");
    let found: serde_json::Value = serde_json::from_str(&maker.site.signer_ok(&format!("{GOOD} --json"))).unwrap();
    assert_eq!((&found["serial"], &found["pin_policy"]), (&16_711_938.into(), &"once".into()));
    assert_eq!(found["warnings"], serde_json::json!([]));
    let by_key = "attest --attestation attestation.pem --device device.pem --root maker.pem --public-key slot.pub";
    maker.site.signer_ok(by_key);
}

#[test]
fn values_may_be_bare_or_in_an_octet_string() {
    let maker = Maker::new();
    let found = maker.found(&[(3, &[4, 3, 5, 7, 4]), SERIAL, (8, &[4, 2, 3, 2]), (9, &[4, 1, 0x81])]);
    assert_eq!((&found["firmware"], &found["pin_policy"]), (&"5.7.4".into(), &"always".into()));
    assert_eq!((&found["touch_policy"], &found["form_factor"]), (&"always".into(), &"USB-A keychain, FIPS".into()));
}

#[test]
fn policies_that_a_daemon_cannot_live_with_are_warned_of() {
    let maker = Maker::new();
    let table: [(&[u8], &[&str]); 6] = [
        (&[2, 1], &[]),
        (&[2, 2], &["touch"]),
        (&[2, 3], &["touch"]),
        (&[3, 1], &["each signature"]),
        (&[1, 1], &["whoever has the device"]),
        (&[5, 1], &["each signature", "fingerprint"]),
    ];
    for (policy, words) in table {
        let found = maker.found(&[FIRMWARE, SERIAL, (8, policy)]);
        let warnings = found["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), words.len(), "{policy:?}: {warnings:?}");
        for (warning, word) in warnings.iter().zip(words) {
            assert!(warning.as_str().unwrap().contains(word), "{policy:?}: {warning}");
        }
    }
}

#[test]
fn claims_that_are_missing_or_malformed_are_refused() {
    let maker = Maker::new();
    type Row = (&'static [(u64, &'static [u8])], &'static str);
    let table: [Row; 9] = [
        (&[], "not the attestation of a key that was made in a device"),
        (&[SERIAL, POLICY], "lacks the firmware version"),
        (&[FIRMWARE, SERIAL], "lacks the PIN and touch policy"),
        (&[(3, &[5, 4]), POLICY], "not three bytes"),
        (&[FIRMWARE, (8, &[2])], "not two bytes"),
        (&[FIRMWARE, (8, &[9, 1])], "PIN policy 9 is unknown"),
        (&[FIRMWARE, (8, &[2, 0])], "touch policy 0 is unknown"),
        (&[FIRMWARE, POLICY, (7, &[1, 2, 3])], "serial number"),
        (&[FIRMWARE, POLICY, POLICY], "stands twice"),
    ];
    for (claims, words) in table {
        let said = maker.refused(claims);
        assert!(said.contains(words), "{words} is not in {said}");
    }
}

#[test]
fn a_chain_that_is_not_the_makers_is_refused() {
    let maker = Maker::new();
    let claims = [FIRMWARE, SERIAL, POLICY];
    let good = maker.attestation(&claims);
    let refused = |attestation: &str, device: &str, root: &str, words: &str| {
        maker.write("attestation.pem", attestation);
        maker.write("device.pem", device);
        maker.write("maker.pem", root);
        let said = maker.site.signer_fails(GOOD);
        assert!(said.contains(words), "{words} is not in {said}");
    };
    let (device_pem, root_pem) = (maker.device.pem(), maker.root.pem());

    // Another maker of the same name.
    let forger = root(KeyPair::generate().unwrap());
    refused(&good, &device_pem, &forger.pem(), "does not lead to the root");
    // Another device of the same maker.
    let other = device(&maker.root);
    refused(&good, &other.pem(), &root_pem, "not made by the device");
    // A device that the forger has certified.
    let forged = device(&forger);
    refused(&attestation(&maker.slot, &forged, &claims), &forged.pem(), &root_pem, "does not lead to the root");
    // A certificate of the device's name that may not issue any.
    let key = KeyPair::generate().unwrap();
    let leaf = parameters("Yubico PIV Attestation", None);
    let plain = leaf.signed_by(&key, &maker.root).unwrap().pem();
    let issuer = Ca::self_signed(leaf, key).unwrap();
    refused(&attestation(&maker.slot, &issuer, &claims), &plain, &root_pem, "may not issue any");
    // A device whose key may not sign certificates.
    let mut weak = parameters("Yubico PIV Attestation", Some(BasicConstraints::Constrained(0)));
    weak.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let weak = Ca::signed_by(weak, KeyPair::generate().unwrap(), &maker.root).unwrap();
    refused(&attestation(&maker.slot, &weak, &claims), &weak.pem(), &root_pem, "may not issue any");
    // One byte of the signature is another.
    let mut der = fs::read(maker.site.path("attestation.pem")).unwrap();
    der.clone_from(&pem_to_der(&good));
    *der.last_mut().unwrap() ^= 1;
    fs::write(maker.site.path("changed.der"), der).unwrap();
    maker.write("device.pem", &device_pem);
    let said = maker.site.signer_fails(&GOOD.replace("attestation.pem", "changed.der"));
    assert!(said.contains("not made by the device"), "{said}");
}

#[test]
fn a_key_in_a_slot_cannot_attest_another() {
    let maker = Maker::new();
    let claims = [FIRMWARE, SERIAL, POLICY];
    // The slot's own attestation is under the maker; its key signs for one that was never in a device.
    let mut middle = parameters("YubiKey PIV Attestation 9a", None);
    middle.is_ca = IsCa::ExplicitNoCa;
    let slot = KeyPair::generate().unwrap();
    let middle_pem = middle.signed_by(&slot, &maker.device).unwrap().pem();
    let middle = Ca::self_signed(middle, slot).unwrap();
    maker.write("attestation.pem", &attestation(&maker.slot, &middle, &claims));
    maker.write("middle.pem", &middle_pem);
    let arguments = GOOD.replace("--device device.pem", "--device middle.pem --intermediates device.pem");
    assert!(maker.site.signer_fails(&arguments).contains("may not issue any"));
    // Nor can a CA under a device: the device's path length is 0.
    let ca = parameters("Yubico PIV Attestation", Some(BasicConstraints::Unconstrained));
    let ca = Ca::signed_by(ca, KeyPair::generate().unwrap(), &maker.device).unwrap();
    maker.write("attestation.pem", &attestation(&maker.slot, &ca, &claims));
    maker.write("middle.pem", &ca.pem());
    assert!(maker.site.signer_fails(&arguments).contains("more than it may"));
}

#[test]
fn an_attestation_of_another_key_is_refused() {
    let maker = Maker::new();
    let other = KeyPair::generate().unwrap();
    maker.write("slot.csr", &CertificateParams::default().serialize_request(&other).unwrap().pem().unwrap());
    assert!(maker.site.signer_fails(GOOD).contains("another one"));
    maker.write("slot.pub", &other.public_key_pem());
    assert!(maker.site.signer_fails(&GOOD.replace("--csr slot.csr", "--public-key slot.pub")).contains("another one"));
    assert!(maker.site.signer_fails(&GOOD.replace("--csr slot.csr", "--chain root.pem")).contains("another one"));
    maker.site.signer_fails(&GOOD.replace("--csr slot.csr", ""));
    maker.site.signer_fails(&GOOD.replace("--root maker.pem", ""));
}

#[test]
fn a_maker_with_rsa_keys_and_intermediates_is_verified_too() {
    let rsa = || {
        let made =
            Command::new("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output();
        let pem = String::from_utf8(made.unwrap().stdout).unwrap();
        KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &PKCS_RSA_SHA256).unwrap()
    };
    let maker = Maker::with_root(rsa());
    let unconstrained = || Some(BasicConstraints::Unconstrained);
    let first = Ca::signed_by(parameters("Intermediate A 1", unconstrained()), rsa(), &maker.root).unwrap();
    let second = Ca::signed_by(parameters("PIV Attestation A 1", unconstrained()), rsa(), &first).unwrap();
    let device = parameters("Yubico PIV Attestation", Some(BasicConstraints::Constrained(0)));
    let device = Ca::signed_by(device, rsa(), &second).unwrap();
    maker.write("attestation.pem", &attestation(&maker.slot, &device, &[FIRMWARE, SERIAL, POLICY]));
    maker.write("device.pem", &device.pem());
    assert!(maker.site.signer_fails(GOOD).contains("does not lead to the root"));
    // In any order, as they are published.
    maker.write("between.pem", &format!("{}{}", first.pem(), second.pem()));
    maker.site.signer_ok(&format!("{GOOD} --intermediates between.pem"));
    maker.write("between.pem", &first.pem());
    assert!(maker.site.signer_fails(&format!("{GOOD} --intermediates between.pem")).contains("does not lead"));
}

#[test]
fn the_certificates_are_read_from_a_token_that_shows_them() {
    let maker = Maker::new();
    maker.site.write_secret("pins/y1", "123456");
    let token = format!("--module {MODULE}");
    maker.site.signer_ok(&format!("init {token} --label y1 --pin-file pins/y1 --so-pin-file pins/so"));
    let from_token = GOOD.replace("--attestation attestation.pem --device device.pem", &format!("{token} --token y1"));
    assert!(maker.site.signer_fails(&from_token).contains("shows no attestation"));
    let import = |name: &str| {
        fs::write(maker.site.path("object.der"), pem_to_der(&fs::read_to_string(maker.site.path(name)).unwrap()))
            .unwrap();
        let output = Command::new("pkcs11-tool")
            .args(["--module", MODULE, "--token-label", "y1", "--login", "--pin", "123456", "--type", "cert"])
            .args(["--write-object", "object.der", "--label", name])
            .current_dir(maker.site.path(""))
            .env("SOFTHSM2_CONF", maker.site.path("softhsm2.conf"))
            .output()
            .expect("pkcs11-tool of OpenSC is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    import("attestation.pem");
    assert!(maker.site.signer_fails(&from_token).contains("does not show its device certificate"));
    import("device.pem");
    assert!(maker.site.signer_ok(&from_token).contains("firmware: 5.4.3"));
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
