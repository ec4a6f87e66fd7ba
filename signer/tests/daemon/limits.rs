//! What a chain permits against what the policy gives, and the roots of clients against both.

use std::fs;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use shared::{
    signing::{IssueReply, Refusal, Refused},
    testing::TestKey,
};

use crate::{
    client::{Edge, csr, request, simple},
    site::{MODULE, Site},
};

const KEY: &str = "--token a1 --pin-file pins/a1 --label issuing";

/// A site whose issuer is certified again, with this usage and these names.
fn constrained(usage: &str, permitted: &str, excluded: &str) -> Site {
    let site = Site::new(&["a1"]);
    site.write_secret("passphrase", "sesame");
    site.signer_ok(
        "root create --subject CN=Sealed --days 3650 --key sealed.key --certificate sealed.pem --passphrase-file passphrase",
    );
    let plan = format!(
        r#"
csr = "a1.csr"
out = "bound-a1.pem"
subject = "CN=Issuing-a1"
days = 1825
extended_key_usage = ["{usage}"]
issuer_urls = []
crl_urls = []
[name_constraints]
permitted_dns = ["{permitted}"]
permitted_ip = []
excluded_dns = ["{excluded}"]
excluded_ip = ["0.0.0.0/0", "::/0"]
[root]
certificate = "sealed.pem"
[root.key]
file = "sealed.key"
passphrase_file = "passphrase"
"#
    );
    fs::write(site.path("sign.toml"), plan).unwrap();
    site.signer_ok("root sign --ceremony sign.toml");
    site
}

fn import(more: &str) -> String {
    format!(
        "import-chain --module {MODULE} {KEY} --chain bound-a1.pem --root sealed.pem --out issuers/bound.pem {more}"
    )
}

/// Takes the new chain into the configuration.
fn take(site: &Site) {
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("issuers/a1.pem", "issuers/bound.pem")).unwrap();
}

/// It is refused by the import that knows the policy, by `check` and by the daemon, in these words.
fn refused_everywhere(site: &Site, words: &[&str]) {
    let has_all = |said: &str| words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
    has_all(&site.signer_fails(&import("--config signer.toml")));
    assert!(!site.path("issuers/bound.pem").exists());
    site.signer_ok(&import(""));
    take(site);
    let check = site.signer("check --config signer.toml");
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.starts_with("BAD") && check.status.code() == Some(1), "{said}");
    has_all(&said);
    let serve = site.signer("serve --config signer.toml");
    assert_eq!(serve.status.code(), Some(78));
    has_all(&String::from_utf8(serve.stderr).unwrap());
}

#[test]
fn a_suffix_of_which_nothing_verifies_is_refused_everywhere() {
    let site = constrained("serverAuth", "other", "secret.other");
    refused_everywhere(&site, &["scope open", "the names under test", "permit other"]);
}

#[test]
fn a_profile_with_a_usage_that_the_chain_lacks_is_refused_everywhere() {
    let site = constrained("clientAuth", "test", "secret.test");
    refused_everywhere(&site, &["profile server", "CN=Issuing-a1", "extended key usages"]);
}

#[test]
fn a_name_that_would_not_verify_is_refused_and_not_signed() {
    let site = constrained("serverAuth", "test", "secret.test");
    site.signer_ok(&import("--config signer.toml"));
    take(&site);
    let check = site.signer_ok("check --config signer.toml");
    assert!(
        check.contains("warning policy: scope open: the names under test: under issuer a1 some of them"),
        "{check}"
    );
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let names = ["db.secret.test"];
    let reply = edge.issue(&request(1, &TestKey::new(1), &csr(&names), &names)).unwrap();
    let IssueReply::Refused(Refused { reason: Refusal::NotPermitted, detail, .. }) = reply else { panic!("{reply:?}") };
    assert!(detail.contains("db.secret.test") && detail.contains("exclude secret.test"), "{detail}");
    assert!(site.events("intent").is_empty(), "no signature is spent on it");
    edge.issued(&simple(2));
}

#[test]
fn client_roots_are_of_a_ca_that_issues_nothing_else() {
    let site = Site::new(&["a1"]);
    let roots = site.path("tls/clients.pem");
    let good = fs::read_to_string(&roots).unwrap();
    let leaf = site.edge().certificate;
    let root = fs::read_to_string(site.path("root.pem")).unwrap();
    let issuer = fs::read_to_string(site.path("issuers/a1.pem")).unwrap();
    let table = [(&root, "CN=Root is the CA of issuer a1"), (&issuer, "is the CA of issuer a1"), (&leaf, "is no CA")];
    for (pem, why) in table {
        // The second of two is looked at, too.
        fs::write(&roots, format!("{good}{pem}")).unwrap();
        let check = site.signer("check --config signer.toml");
        let said = String::from_utf8(check.stdout).unwrap();
        let line = said.lines().find(|line| line.starts_with("BAD     listen: ")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains("certificate 2 in") && line.contains(why), "{line}");
        assert_eq!(check.status.code(), Some(1));
        let serve = site.signer("serve --config signer.toml");
        assert_eq!(serve.status.code(), Some(78));
        assert!(String::from_utf8(serve.stderr).unwrap().contains(why));
    }
}

#[test]
fn an_expired_certificate_of_the_listener_is_bad() {
    let site = Site::new(&["a1"]);
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let key = KeyPair::generate().unwrap();
    fs::write(site.path("tls/signer.pem"), parameters.signed_by(&key, &site.infrastructure).unwrap().pem()).unwrap();
    fs::write(site.path("tls/signer.key"), key.serialize_pem()).unwrap();
    let check = site.signer("check --config signer.toml");
    let said = String::from_utf8(check.stdout).unwrap();
    let line = said.lines().find(|line| line.starts_with("BAD     listen: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("2021-01-01") && line.contains("the clock of this machine says"), "{line}");
    assert_eq!(check.status.code(), Some(1));
}
