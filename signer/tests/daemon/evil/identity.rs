//! Who the edge is, and that another policy holds at once.

use nix::sys::signal::Signal;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::json;
use shared::{
    checkpoint::JOURNAL_PATH,
    grant::BIND_PATH,
    signing::{CRL_PATH, ISSUE_PATH, OCSP_PATH, REVOKE_PATH, Refusal, STATUS_PATH},
};

use super::{
    SECOND, Stage,
    connections::{Stream, connect, post},
    rewrite,
};
use crate::{
    client::{Edge, csr, request, simple},
    site::{EDGE, Identity, eventually, signal},
};
use shared::testing::TestKey;

/// A certificate of the infrastructure CA that `change` has changed.
fn identity(stage: &Stage, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut parameters = CertificateParams::new([EDGE.to_owned()]).unwrap();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, &stage.site.infrastructure).unwrap();
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn named(stage: &Stage, names: &[&str]) -> Identity {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    identity(stage, |parameters| {
        parameters.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    })
}

#[test]
fn a_certificate_that_names_no_edge_opens_no_verb() {
    let stage = Stage::new();
    let before = stage.spent();
    let body = serde_json::to_vec(&simple(1)).unwrap();
    let strangers =
        ["somebody.colophon.internal", "*.colophon.internal", "edge.colophon.internal.evil.test", "localhost"];
    for name in strangers {
        let edge = Edge::with(&stage.site, Some(&named(&stage, &[name])));
        for path in [ISSUE_PATH, REVOKE_PATH, BIND_PATH, OCSP_PATH, CRL_PATH, JOURNAL_PATH, STATUS_PATH, "/v2/none"] {
            let records = stage.site.events("refused").len();
            let (status, answer) = edge.post_to(path, &body).unwrap();
            assert!(status == 403 && answer.contains("\"unknown-edge\""), "{name}, {path}: {status} {answer}");
            let refused = stage.site.events("refused");
            assert_eq!(refused.len(), records + 1, "{name}, {path}");
            let last = &refused[records];
            assert_eq!((&last["reason"], &last["edge"]), (&json!("unknown-edge"), &json!(name)));
        }
        assert!(edge.status().is_err(), "{name}: the status is for edges");
    }
    assert_eq!(stage.spent(), before);
}

#[test]
fn an_edge_with_two_names_is_the_one_that_its_certificate_names_first() {
    let stage = Stage::new();
    let other_order = |base: &str| {
        let mut asked = simple(1);
        asked.order = format!("{base}/acme/order/1");
        asked.finalize = crate::client::finalize(&TestKey::new(1), &asked.order, &csr(&["host-1.test"]));
        asked
    };
    for names in [[EDGE, SECOND], ["somebody.internal", EDGE]] {
        let edge = Edge::with(&stage.site, Some(&named(&stage, &names)));
        let before = stage.spent();
        assert_eq!(edge.refusal(&other_order("https://second.test")), Refusal::UnknownEdge, "{names:?}");
        assert_eq!(stage.spent(), before);
        let last = stage.site.events("refused").pop().unwrap();
        assert_eq!(last["edge"], json!(EDGE), "{names:?}");
    }
}

#[test]
fn a_certificate_that_is_not_an_edges_does_not_get_through_the_handshake() {
    let stage = Stage::new();
    let past = identity(&stage, |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let future = identity(&stage, |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2045, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2046, 1, 1);
    });
    let server = identity(&stage, |parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let nameless = identity(&stage, |parameters| {
        parameters.subject_alt_names.clear();
        parameters.distinguished_name.push(DnType::CommonName, EDGE);
    });
    // One that the edge has made itself, with its own good certificate as the issuer.
    let issuer = stage.site.edge();
    let forged = {
        let key = KeyPair::from_pem(&issuer.key).unwrap();
        let subject = CertificateParams::new([EDGE.to_owned()]).unwrap();
        let above = rcgen::Issuer::new(subject, key);
        let own = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([SECOND.to_owned()]).unwrap();
        let leaf = parameters.signed_by(&own, &above).unwrap().pem();
        Identity { certificate: leaf + &issuer.certificate, key: own.serialize_pem() }
    };
    let others = [
        ("expired", past),
        ("not yet valid", future),
        ("a server's", server),
        ("with a common name alone", nameless),
        ("made by an edge", forged),
    ];
    for (name, identity) in others {
        let answer = connect(&stage.site, &identity).and_then(|mut stream| post(&mut stream, ISSUE_PATH, b"{}"));
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    stage.edge.issued(&simple(1));
}

#[test]
fn a_narrower_policy_holds_at_once_on_a_connection_that_is_open() {
    let stage = Stage::new();
    let own = stage.site.edge();
    let open = || connect(&stage.site, &own).unwrap();
    let ask = |stream: &mut Stream, number: usize, name: &str| {
        let asked = request(number, &TestKey::new(1), &csr(&[name]), &[name]);
        let (status, answer) = post(stream, ISSUE_PATH, &serde_json::to_vec(&asked).unwrap()).unwrap();
        (status, answer["refused"]["reason"].clone())
    };
    let mut times = 0;
    let mut narrow = |from: &str, to: &str| {
        rewrite(&stage.site, |text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        times += 1;
        signal(stage.daemon.child.id(), Signal::SIGHUP);
        eventually("a rotation", || stage.daemon.log().matches(" rotated ").count() >= times);
    };
    // A connection of before gets one answer more, by the policy of now.
    let mut stream = open();
    assert_eq!(ask(&mut stream, 1, "host-1.test").0, 200);
    narrow("dns_suffixes = [\"test\"]", "dns_suffixes = [\"narrow.test\"]");
    let before = stage.spent();
    assert_eq!(ask(&mut stream, 2, "host-2.test"), (403, json!("not-permitted")));
    assert_eq!(stage.spent(), before);
    let mut stream = open();
    assert_eq!(ask(&mut stream, 3, "host.narrow.test").0, 200);
    narrow("methods = [\"http-01\", \"dns-01\"]", "methods = [\"http-01\"]");
    assert_eq!(ask(&mut stream, 4, "host.narrow.test"), (403, json!("not-permitted")));
    let mut stream = open();
    narrow(&format!("name = \"{EDGE}\""), "name = \"renamed.colophon.internal\"");
    assert_eq!(ask(&mut stream, 5, "host.narrow.test"), (403, json!("unknown-edge")));
    assert!(stage.edge.status().is_err());
    let refused = stage.site.events("refused");
    // The last one asked for the status.
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert_eq!(stage.site.events("intent").len(), 2);
}
