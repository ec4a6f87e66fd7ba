//! Each lint finds what it is for: a certificate of one intent, held against another.

use shared::{
    chain::Issuer,
    serial::SerialNumber,
    testing::{TestCa, TestKey},
    timestamp::Timestamp,
};

use x509_cert::name::Name;

use super::{
    intent::{CaIntent, CaUsage, Constraints, PlainUrl},
    key::RootKey,
    lint::{CaLint, Linted, Lints},
    signed::{self, Signed},
};
use crate::{ceremony::transcript::Transcript, clock, random};

fn root() -> Issuer {
    Issuer::from_pem(&TestCa::new(1).root_pem).unwrap()
}

fn url(text: &str) -> PlainUrl {
    PlainUrl::try_from(text.to_owned()).unwrap()
}

fn constraints() -> Constraints {
    Constraints {
        permitted_dns: vec!["corp.example".into()],
        permitted_ip: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()],
        excluded_dns: vec!["secret.corp.example".into()],
        excluded_ip: vec!["10.1.0.0/16".into(), "0.0.0.0/1".into()],
    }
}

fn intent(root: &Issuer) -> CaIntent {
    let key = random::signing_key().unwrap();
    CaIntent {
        issuer: root.subject().clone(),
        subject: "CN=Issuing".parse().unwrap(),
        public: signed::public_key(key.verifying_key()).unwrap(),
        authority: Some(root.key_identifier().to_vec()),
        serial: SerialNumber::from_random([0x55; 16]),
        not_before: clock::now().max(root.not_before()),
        not_after: root.not_after().minus(1),
        path_length: Some(0),
        constraints: constraints(),
        extended_key_usage: vec![CaUsage::ServerAuth],
        issuer_urls: vec![url("http://pki.example/root.der")],
        crl_urls: vec![url("http://pki.example/root.crl"), url("http://backup.example/root.crl")],
    }
}

/// Builds what `built` says and lints it as what `meant` says; gives the rule that is broken.
fn lint(built: &CaIntent, meant: &CaIntent, root: &Issuer) -> Result<(), String> {
    let key = RootKey::File(Box::new(random::signing_key().unwrap()));
    let tbs = built.tbs(key.public()).unwrap();
    let der = Signed::assemble(&tbs, &key.sign(&tbs).unwrap()).unwrap();
    CaLint { intent: meant, issuer: Some(root) }.lint(&der).map(drop).map_err(|error| error.to_string())
}

#[test]
fn what_was_meant_passes_every_lint_and_is_signed() {
    let root = root();
    let intent = intent(&root);
    let key = RootKey::File(Box::new(random::signing_key().unwrap()));
    let lints = CaLint { intent: &intent, issuer: Some(&root) };
    let transcript = &mut Transcript::none();
    let der = Linted::new(&lints, &key, transcript).unwrap().sign(&lints, &key, transcript).unwrap();
    Signed::parse(&der).unwrap().verify(&signed::public_key(key.public()).unwrap()).unwrap();
}

#[test]
fn whatever_was_not_meant_breaks_its_own_lint() {
    let root = root();
    let good = intent(&root);
    type Change = fn(&mut CaIntent);
    let table: [(&str, Change); 22] = [
        ("§4.1.2.2", |it| it.serial = SerialNumber::from_random([1; 16])),
        ("§4.1.2.2", |it| it.serial = SerialNumber::from_random([0; 16])),
        ("§4.1.2.4", |it| it.issuer = "CN=Another".parse().unwrap()),
        ("§4.1.2.6", |it| it.subject = "CN=Another".parse().unwrap()),
        ("§4.1.2.5", |it| it.not_before = it.not_before.plus(1)),
        ("§4.1.2.5", |it| it.not_after = it.not_after.minus(1)),
        ("§4.1.2.7", |it| it.public = TestKey::new(9).public_key()),
        ("§4.2.1.9", |it| it.path_length = Some(1)),
        ("§4.2.1.9", |it| it.path_length = None),
        ("§4.2.1.1", |it| it.authority = Some(vec![1; 20])),
        ("§4.2)", |it| it.authority = None),
        ("§4.2)", |it| it.constraints = Constraints::default()),
        ("§4.2.1.10", |it| it.constraints.permitted_dns.push("other.example".into())),
        ("§4.2.1.10", |it| it.constraints.permitted_ip[0] = "10.0.0.0/9".into()),
        ("§4.2.1.10", |it| it.constraints.permitted_ip[1] = "2001:db8::/33".into()),
        ("§4.2.1.10", |it| it.constraints.excluded_dns.clear()),
        ("§4.2.1.10", |it| it.constraints.excluded_ip.swap(0, 1)),
        ("§4.2.1.10", |it| it.constraints.permitted_dns[0].insert(0, '.')),
        ("§4.2.1.12", |it| it.extended_key_usage.push(CaUsage::ClientAuth)),
        ("§4.2.2.1", |it| it.issuer_urls.push(url("http://pki.example/other.der"))),
        ("§4.2.1.13", |it| drop(it.crl_urls.pop())),
        ("§4.2)", |it| it.crl_urls.clear()),
    ];
    assert_eq!(lint(&good, &good, &root), Ok(()));
    for (number, (rule, change)) in table.into_iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        let error = lint(&changed, &good, &root).unwrap_err();
        assert!(error.contains(rule), "{number}: {rule} is not in {error}");
    }
}

#[test]
fn what_was_meant_may_break_a_rule_too() {
    let root = root();
    type Change = fn(&mut CaIntent, &Issuer);
    let table: [(&str, Change); 7] = [
        ("within the root's", |it, root| it.not_after = root.not_after().plus(1)),
        ("within the root's", |it, root| it.not_before = root.not_before().minus(1)),
        ("another name than its root", |it, root| it.subject = root.subject().clone()),
        ("not empty", |it, _| it.subject = Name::default()),
        ("path length 0", |it, _| it.path_length = Some(1)),
        ("never any", |it, _| it.extended_key_usage = vec![CaUsage::ServerAuth, CaUsage::ServerAuth]),
        ("§4.2.1.1)", |it, _| it.authority = Some(vec![7; 20])),
    ];
    for (rule, change) in table {
        let mut meant = intent(&root);
        change(&mut meant, &root);
        let error = lint(&meant, &meant, &root).unwrap_err();
        assert!(error.contains(rule), "{rule} is not in {error}");
    }
}

#[test]
fn no_byte_of_what_is_signed_can_be_another() {
    let root = root();
    let good = intent(&root);
    let key = RootKey::File(Box::new(random::signing_key().unwrap()));
    let lints = CaLint { intent: &good, issuer: Some(&root) };
    let tbs = good.tbs(key.public()).unwrap();
    let der = Signed::assemble(&tbs, &key.sign(&tbs).unwrap()).unwrap();
    // Flip each byte of the signed part: a lint or the parser must see it.
    for position in 4..tbs.len() {
        let mut changed = der.clone();
        changed[position + 4] ^= 0x01;
        assert!(lints.lint(&changed).is_err(), "byte {position} of the signed part may be anything");
    }
}

#[test]
fn constraints_that_leave_a_kind_of_name_free_by_an_oversight_are_refused() {
    type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str], bool);
    let table: [Row; 8] = [
        (&["corp.example"], &[], &["0.0.0.0/0", "::/0"], true),
        (&["corp.example"], &["10.0.0.0/8"], &["::/0"], true),
        (&[], &[], &["10.0.0.0/8"], true),
        (&["corp.example"], &[], &[], false),
        (&["corp.example"], &["10.0.0.0/8"], &[], false),
        (&[".corp.example"], &[], &["0.0.0.0/0", "::/0"], false),
        (&["*.corp.example"], &[], &["0.0.0.0/0", "::/0"], false),
        (&["corp.example"], &[], &["0.0.0.0", "::/0"], false),
    ];
    for (permitted_dns, permitted_ip, excluded_ip, good) in table {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let constraints = Constraints {
            permitted_dns: list(permitted_dns),
            permitted_ip: list(permitted_ip),
            excluded_dns: Vec::new(),
            excluded_ip: list(excluded_ip),
        };
        assert_eq!(constraints.check().is_ok(), good, "{constraints:?}");
    }
}

#[test]
fn pointers_are_plain_http() {
    for text in [
        "https://pki.example/a",
        "ldap://pki.example",
        "http://",
        "http:///a",
        "pki.example/a",
        "http://ü.example/a",
        "http://a b/",
    ] {
        assert!(PlainUrl::try_from(text.to_owned()).is_err(), "{text}");
    }
}

#[test]
fn times_change_their_form_in_2050_and_the_lint_knows() {
    let root = root();
    let mut late = intent(&root);
    late.authority = None;
    late.issuer = late.subject.clone();
    late.not_after = "2062-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let key = RootKey::File(Box::new(random::signing_key().unwrap()));
    let tbs = late.tbs(key.public()).unwrap();
    let der = Signed::assemble(&tbs, &key.sign(&tbs).unwrap()).unwrap();
    CaLint { intent: &late, issuer: None }.lint(&der).unwrap();
    assert!(der.windows(15).any(|bytes| bytes == b"20620101000000Z"));
}
