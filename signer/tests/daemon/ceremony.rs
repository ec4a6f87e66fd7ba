//! From an empty token to an issuer's chain, and every way in which a step refuses to do harm.

use std::{fs, process::Command};

use crate::site::{MODULE, Site};

const KEY: &str = "--token a1 --pin-file pins/a1 --label issuing";

#[test]
fn the_whole_ceremony_makes_an_issuer_that_openssl_accepts() {
    let site = Site::new(&["a1"]);
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(site.path("")).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    openssl("verify -x509_strict -CAfile root.pem issuers/a1.pem");
    openssl("req -verify -noout -in a1.csr");
    let text = openssl("x509 -noout -text -in issuers/a1.pem");
    for expected in
        ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Subject Key Identifier", "Authority Key Identifier"]
    {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert_eq!(openssl("x509 -noout -pubkey -in issuers/a1.pem"), fs::read_to_string(site.path("a1.pub")).unwrap());
    let findings: Vec<serde_json::Value> =
        serde_json::from_str(&site.signer_ok("check --config signer.toml --json")).unwrap();
    assert!(findings.iter().all(|finding| finding["level"] == "good"), "{findings:?}");
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&site.signer_ok(&format!("list --module {MODULE} --json"))).unwrap();
    assert_eq!((listed.len(), &listed[0]["keys"][0]["label"]), (1, &"issuing".into()));
}

#[test]
fn nothing_is_made_twice_and_nothing_is_overwritten() {
    let site = Site::new(&["a1"]);
    let root = fs::read(site.path("root.key")).unwrap();
    let table = [
        format!("init --module {MODULE} --label a1 --pin-file pins/a1 --so-pin-file pins/so"),
        format!("keygen --module {MODULE} {KEY} --out second.pub"),
        format!("csr --module {MODULE} {KEY} --subject CN=Other --out a1.csr"),
        "root create --subject CN=Root --days 1 --key root.key --certificate other.pem".into(),
        "root create --subject CN=Root --days 1 --key other.key --certificate root.pem".into(),
        "root sign --key root.key --certificate root.pem --csr a1.csr --days 1 --out a1.pem".into(),
        format!("import-chain --module {MODULE} {KEY} --chain a1.pem --root root.pem --out issuers/a1.pem"),
    ];
    for arguments in table {
        site.signer_fails(&arguments);
    }
    assert_eq!(fs::read(site.path("root.key")).unwrap(), root);
    for name in ["second.pub", "other.key", "other.pem"] {
        assert!(!site.path(name).exists(), "{name} was left behind");
    }
}

#[test]
fn a_chain_of_another_key_or_another_root_is_not_imported() {
    let site = Site::new(&["a1", "b1"]);
    let import = |chain: &str, root: &str| {
        site.signer_fails(&format!(
            "import-chain --module {MODULE} {KEY} --chain {chain} --root {root} --out issuers/new.pem"
        ))
    };
    assert!(import("b1.pem", "root.pem").contains("another key"));
    site.signer_ok("root create --subject CN=Root --days 3650 --key other.key --certificate other.pem");
    assert!(import("a1.pem", "other.pem").contains("does not lead to the root"));
    assert!(import("root.pem", "root.pem").contains("another key"));
    assert!(!site.path("issuers/new.pem").exists());
}

#[test]
fn a_root_key_is_encrypted_when_there_is_a_passphrase() {
    let site = Site::new(&["a1"]);
    site.write_secret("passphrase", "sesame");
    site.write_secret("wrong", "simsim");
    let files = "--key sealed.key --certificate sealed.pem --passphrase-file";
    site.signer_ok(&format!("root create --subject CN=Sealed --days 3650 {files} passphrase"));
    assert!(fs::read_to_string(site.path("sealed.key")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    site.signer_fails(&format!("root sign {files} wrong --csr a1.csr --days 1 --out sealed-a1.pem"));
    site.signer_ok(&format!("root sign {files} passphrase --csr a1.csr --days 1 --out sealed-a1.pem"));
}

#[test]
fn an_issuer_cannot_outlive_its_root() {
    let site = Site::new(&["a1"]);
    let words =
        site.signer_fails("root sign --key root.key --certificate root.pem --csr a1.csr --days 3651 --out long.pem");
    assert!(words.contains("outlive"), "{words}");
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new(&["a1"]);
    fs::set_permissions(site.path("pins/a1"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(site.signer_fails(&format!("csr --module {MODULE} {KEY} --subject CN=A --out new.csr")).contains("mode"));
    let said = site.signer_fails("check --config signer.toml");
    assert!(said.contains("1 of") && said.contains("mode is 0644"), "{said}");
}

#[test]
fn check_says_what_is_wrong_without_a_pin() {
    let site = Site::new(&["a1"]);
    fs::remove_dir_all(site.path("tokens")).unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
    fs::remove_file(site.path("tls/signer.key")).unwrap();
    let output = site.signer("check --config signer.toml");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("signer.key") && text.contains("token a1-0"), "{text}");
    // Which module, which configuration, which folder.
    assert!(text.contains("shows no token") && text.contains("SOFTHSM2_CONF names"), "{text}");
    assert!(text.contains(site.path("tokens").to_str().unwrap()), "{text}");
}

#[test]
fn an_unknown_key_of_the_configuration_is_an_error_that_is_not_retried() {
    let site = Site::new(&["a1"]);
    site.write_config(&["a1"], "deadline = 1");
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("`deadline`") && words.contains("deadline_ms") && words.contains("line"), "{words}");
}

#[test]
fn a_token_cannot_be_slowed_by_the_real_program() {
    let site = Site::new(&["a1"]);
    site.write_config(&["a1"], "latency_ms = 250");
    assert!(site.signer_fails("serve --config signer.toml").contains("latency_ms"));
}
