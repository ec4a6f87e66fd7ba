//! The verb `issue` over real mutual TLS.

use std::{fs, process::Command};

use serde_json::json;
use shared::{
    chain::{Issuer, IssuerChain},
    signing::{IssueReply, Refusal},
    testing::TestKey,
    timestamp::Timestamp,
};

use crate::{
    client::{Edge, csr, finalize, order, request, simple},
    site::Site,
};

#[test]
fn a_certificate_is_what_was_asked_for_and_leads_to_the_root() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let names = ["a.test", "*.b.test"];
    let issued = Edge::new(&site).issued(&request(1, &TestKey::new(1), &csr(&names), &names));
    let [leaf, issuer] = issued.chain.as_slice() else { panic!("leaf and issuer, without the root") };
    let chain = IssuerChain::from_ders([issuer.0.as_slice()]).unwrap();
    let root = Issuer::from_pem(fs::read_to_string(site.path("root.pem")).unwrap()).unwrap();
    let read = chain.verify_leaf(&leaf.0).unwrap();
    chain.verify_to(&root, read.not_before.plus(60)).unwrap();
    assert_eq!(read.names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*.b.test", "a.test"]);
    assert_eq!(read.serial, issued.serial);
    assert_eq!(read.not_after.since(read.not_before), 86_399);

    fs::write(site.path("leaf.der"), &leaf.0).unwrap();
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(site.path("")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    openssl("verify -x509_strict -CAfile root.pem -untrusted issuers/a1.pem leaf.der");
    let text = openssl("x509 -noout -text -in leaf.der");
    assert!(text.contains("CA:FALSE") && text.contains("TLS Web Server Authentication"), "{text}");
}

#[test]
fn the_same_request_gets_the_same_bytes_and_one_record() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let (edge, asked) = (Edge::new(&site), simple(1));
    let first = edge.issued(&asked);
    assert_eq!(edge.issued(&asked), first);
    assert!(daemon.terminate().success());
    let _daemon = site.serve();
    assert_eq!(edge.issued(&asked), first, "after a restart too");
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
}

#[test]
fn twenty_requests_at_once_for_one_order_share_one_certificate() {
    let site = Site::new(&["a1", "a2"]);
    let _daemon = site.serve();
    let asked = simple(1);
    let serials: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let edge = Edge::new(&site);
            edge.issued(&asked).serial
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(serials.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
}

#[test]
fn an_order_that_was_used_is_refused_to_another_csr_and_another_key_for_ever() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let (edge, names) = (Edge::new(&site), ["a.test"]);
    let first = csr(&names);
    let issued = edge.issued(&request(1, &TestKey::new(1), &first, &names));
    let other_csr = request(1, &TestKey::new(1), &csr(&names), &names);
    let other_key = request(1, &TestKey::new(2), &first, &names);
    for _ in 0..2 {
        assert_eq!(edge.refusal(&other_csr), Refusal::OrderUsed);
        assert_eq!(edge.refusal(&other_key), Refusal::OrderUsed);
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
    assert_eq!(edge.issued(&request(1, &TestKey::new(1), &first, &names)), issued);
}

/// What an edge that was taken over may try.
#[test]
fn each_forbidden_thing_is_refused_for_its_reason_and_journaled() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let mut number = 0;
    let mut refusal = |change: &dyn Fn(&mut shared::signing::IssueRequest)| {
        number += 1;
        let mut asked = simple(number);
        change(&mut asked);
        edge.refusal(&asked)
    };
    let account = TestKey::new(1);
    let other = request(900, &account, &csr(&["host-900.test"]), &["host-900.test"]);
    let now = simple(0).deadline;
    assert_eq!(refusal(&|asked| asked.order = "https://other.test/acme/order/1".into()), Refusal::UnknownEdge);
    assert_eq!(refusal(&|asked| asked.finalize = other.finalize.clone()), Refusal::BadEvidence);
    assert_eq!(refusal(&|asked| asked.account_key = TestKey::new(2).jwk()), Refusal::BadEvidence);
    assert_eq!(refusal(&|asked| asked.finalize.payload = other.finalize.payload.clone()), Refusal::BadEvidence);
    assert_eq!(
        refusal(&|asked| {
            let header = json!({"nonce": "bm9uY2U", "url": format!("{}/finalize", asked.order)});
            asked.finalize = serde_json::from_value(account.sign_jws_with_jwk(&header, b"{}")).unwrap();
        }),
        Refusal::BadEvidence
    );
    assert_eq!(refusal(&|asked| asked.finalize = finalize(&account, &asked.order, b"not a csr")), Refusal::BadCsr);
    assert_eq!(refusal(&|asked| asked.identifiers.extend(other.identifiers.clone())), Refusal::NameMismatch);
    assert_eq!(refusal(&|asked| asked.identifiers.clear()), Refusal::NameMismatch);
    assert_eq!(refusal(&|asked| asked.identifiers[0].method = "tls-alpn-01".into()), Refusal::NotPermitted);
    assert_eq!(refusal(&|asked| asked.profile = "client".parse().unwrap()), Refusal::BadProfile);
    assert_eq!(refusal(&|asked| asked.not_after = Some(now.plus(90_000))), Refusal::BadProfile);
    assert_eq!(refusal(&|asked| asked.deadline = Timestamp::from_seconds(1)), Refusal::Busy);
    for name in ["host.com", "*.com"] {
        assert_eq!(edge.refusal(&request(901, &account, &csr(&[name]), &[name])), Refusal::NotPermitted);
    }
    assert!(site.events("intent").is_empty());
    // All but `Busy`, which is only a matter of time.
    assert_eq!(site.events("refused").len(), 13);
}

#[test]
fn bodies_that_are_not_of_the_protocol_are_malformed() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let mut more = serde_json::to_value(simple(1)).unwrap();
    more["tbs"] = json!("MAA");
    let long = vec![b' '; 70_000];
    for body in [b"".as_slice(), b"[]", b"{}", b"\xff", more.to_string().as_bytes(), &long] {
        let (status, answer) = edge.post(body).unwrap();
        assert_eq!((status, &answer["refused"]["reason"]), (400, &json!("malformed")), "{answer}");
    }
    assert!(matches!(edge.issue(&simple(1)), Ok(IssueReply::Issued(_))), "the connection goes on");
}

#[test]
fn times_within_the_profile_are_honoured() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let mut asked = simple(1);
    let end = asked.deadline.plus(3600);
    asked.not_after = Some(end);
    let issued = Edge::new(&site).issued(&asked);
    let chain = IssuerChain::from_ders(issued.chain[1..].iter().map(|der| der.0.as_slice())).unwrap();
    assert_eq!(chain.verify_leaf(&issued.chain[0].0).unwrap().not_after, end);
    assert!(asked.order == order(1));
}
