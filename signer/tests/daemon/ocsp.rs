//! The verb `ocsp` over real mutual TLS.

use std::{fs, process::Command, thread};

use shared::{
    chain::Issuer,
    ocsp::{CertIdHash, CertStatus, Response, ResponseContent},
    pointers::IssuerId,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{Issued, OcspReply, OcspRequest, Refusal, SignedResponse, Urgency},
};

use crate::{
    client::{Edge, simple},
    revoke::{revoked, simple_revocation},
    site::{Site, eventually},
};

/// A site whose certificates have status.
fn site(issuers: &[&str]) -> Site {
    let site = Site::new(issuers);
    site.tell_status("");
    site
}

pub(crate) fn issuer(issued: &Issued) -> Issuer {
    Issuer::from_der(&issued.chain[1].0).unwrap()
}

pub(crate) fn ask(issued: &Issued) -> OcspRequest {
    let issuer = IssuerId::of(&issuer(issued));
    OcspRequest { issuer, serial: issued.serial, hash: CertIdHash::Sha1, urgency: Urgency::Missing }
}

/// Asks until there is an answer that is not `queued`.
pub(crate) fn response(edge: &Edge, asked: &OcspRequest) -> SignedResponse {
    let started = crate::site::stopwatch();
    while started.elapsed() < crate::site::HANG {
        match edge.ocsp(asked).unwrap() {
            OcspReply::Signed(signed) => return signed,
            OcspReply::Queued { .. } => thread::sleep(std::time::Duration::from_millis(100)),
            OcspReply::Refused(refused) => panic!("{refused:?}"),
        }
    }
    panic!("no response");
}

pub(crate) fn content(signed: &SignedResponse, issued: &Issued) -> ResponseContent {
    match Response::verify(&signed.response.0, &issuer(issued)).unwrap() {
        Response::Answer(content) => content,
        Response::Failure(failure) => panic!("{failure:?}"),
    }
}

fn refusal(edge: &Edge, asked: &OcspRequest) -> Refusal {
    match edge.ocsp(asked).unwrap() {
        OcspReply::Refused(refused) => refused.reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Writes a certificate in PEM under this name.
pub(crate) fn write_pem(site: &Site, name: &str, der: &[u8]) {
    let encoded = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).unwrap();
    fs::write(site.path(name), encoded).unwrap();
}

/// What OpenSSL says of a response.
fn openssl(site: &Site, signed: &SignedResponse, issued: &Issued) -> String {
    write_pem(site, "leaf.pem", &issued.chain[0].0);
    write_pem(site, "above.pem", &issued.chain[1].0);
    fs::write(site.path("response.der"), &signed.response.0).unwrap();
    let mut command = Command::new("openssl");
    command.args(["ocsp", "-respin"]).arg(site.path("response.der"));
    command.arg("-issuer").arg(site.path("above.pem")).arg("-cert").arg(site.path("leaf.pem"));
    command.arg("-CAfile").arg(site.path("root.pem")).arg("-verify_other").arg(site.path("above.pem"));
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_certificate_is_good_until_it_is_revoked_and_openssl_agrees() {
    let site = site(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    let asked = ask(&issued);
    let good = response(&edge, &asked);
    assert!(!good.revoked);
    let said = content(&good, &issued);
    assert_eq!((said.status, said.cert_id.serial), (CertStatus::Good, Some(issued.serial)));
    assert_eq!((said.this_update, said.next_update), (good.this_update, good.next_update));
    let verdict = openssl(&site, &good, &issued);
    assert!(verdict.contains("Response verify OK") && verdict.contains("leaf.pem: good"), "{verdict}");

    let revocation = revoked(&edge, &simple_revocation(&issued));
    // However it is asked for, it is never good again, not even after a restart.
    for _ in 0..2 {
        for urgency in [Urgency::Refresh, Urgency::Missing] {
            let bad = response(&edge, &OcspRequest { urgency, ..asked.clone() });
            assert!(bad.revoked);
            let status = CertStatus::Revoked(revocation.at, RevocationReason::KeyCompromise);
            assert_eq!(content(&bad, &issued).status, status);
            let verdict = openssl(&site, &bad, &issued);
            assert!(verdict.contains("Response verify OK") && verdict.contains("leaf.pem: revoked"), "{verdict}");
        }
        assert!(daemon.terminate().success());
        daemon = site.serve();
    }
}

#[test]
fn nothing_is_said_of_what_is_not_there() {
    let site = site(&["a1", "a2"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    let asked = ask(&issued);
    let other = edge.status().unwrap().issuers.into_iter().map(|issuer| Issuer::from_der(&issuer.chain[0].0).unwrap());
    let other = other.map(|issuer| IssuerId::of(&issuer)).find(|id| *id != asked.issuer).unwrap();
    let unknown = OcspRequest { serial: SerialNumber::from_random([1; 16]), ..asked.clone() };
    assert_eq!(refusal(&edge, &unknown), Refusal::UnknownCertificate);
    assert_eq!(refusal(&edge, &OcspRequest { issuer: other, ..asked.clone() }), Refusal::UnknownCertificate);
    assert!(!response(&edge, &asked).revoked);
    assert!(site.events("refused").is_empty(), "strangers do not write into the journal");
}

#[test]
fn a_certificate_without_status_has_no_response() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    assert_eq!(refusal(&edge, &ask(&edge.issued(&simple(1)))), Refusal::NotPermitted);
}

#[test]
fn fifty_who_ask_at_once_get_one_signature_and_whoever_asks_later_gets_it_again() {
    let site = site(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let asked = ask(&edge.issued(&simple(1)));
    let responses: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| response(&Edge::new(&site), &asked))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(responses.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(response(&edge, &OcspRequest { urgency: Urgency::Refresh, ..asked.clone() }), responses[0]);
    assert_eq!(site.events("response").len(), 1);
    // Named by another hash it is another response.
    response(&edge, &OcspRequest { hash: CertIdHash::Sha256, ..asked });
    assert_eq!(site.events("response").len(), 2);
}

#[test]
fn a_responder_that_the_issuer_certifies_answers_without_the_token() {
    let site = site(&["a1"]);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let delegated = "name = \"a1\"\ndelegated_responder = true\nresponder_validity_seconds = 3600";
    fs::write(site.path("signer.toml"), text.replace("name = \"a1\"", delegated)).unwrap();
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    eventually("a responder", || site.events("responder").len() == 2);
    let issued = edge.issued(&simple(1));
    // The CRLs have been signed, too.
    eventually("all CRLs", || site.events("crl").len() == 8);
    let signatures = || edge.status().unwrap().issuers[0].tokens[0].signatures;
    let before = signatures();
    let good = response(&edge, &ask(&issued));
    assert_eq!(content(&good, &issued).status, CertStatus::Good);
    let end = site.events("responder")[1]["not_after"].clone();
    assert!(serde_json::to_value(good.next_update).unwrap().as_str() <= end.as_str(), "not longer than its responder");
    let verdict = openssl(&site, &good, &issued);
    assert!(verdict.contains("Response verify OK") && verdict.contains("leaf.pem: good"), "{verdict}");
    assert_eq!(signatures(), before);
    revoked(&edge, &simple_revocation(&issued));
    assert!(response(&edge, &ask(&issued)).revoked);
}

/// RFC 6960 leaves it open what is said of an expired certificate; nothing is said here.
#[test]
fn an_expired_certificate_has_no_response_however_good_the_last_one_is() {
    let site = site(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let mut request = simple(1);
    let end = request.deadline.minus(600).plus(6);
    request.not_after = Some(end);
    let asked = ask(&edge.issued(&request));
    let good = response(&edge, &asked);
    assert!(!good.revoked && good.next_update > end.plus(30));
    eventually("its end", || matches!(edge.ocsp(&asked).unwrap(), OcspReply::Refused(_)));
    assert_eq!(refusal(&edge, &asked), Refusal::UnknownCertificate);
}

/// More than a queue holds of what can wait.
#[cfg(feature = "slow-token")]
#[test]
fn when_tokens_are_short_refreshing_is_refused_as_busy_and_what_is_good_is_given_at_once() {
    let mut site = Site::new(&["a1"]);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(&["a1"], "latency_ms = 700");
    site.tell_status("crl_shards = 1\ncrl_delay_seconds = 600");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let first = ask(&edge.issued(&simple(0)));
    let good = response(&edge, &first);
    let issued: Vec<_> = (1..11).map(|number| ask(&edge.issued(&simple(number)))).collect();
    let questions = issued.iter().flat_map(|asked| {
        CertIdHash::ALL.into_iter().map(|hash| OcspRequest { hash, urgency: Urgency::Refresh, ..asked.clone() })
    });
    let busy = thread::scope(|scope| {
        let asking = questions.map(|asked| scope.spawn(|| Edge::new(&site).ocsp(&{ asked }).unwrap()));
        let asking: Vec<_> = asking.collect();
        assert_eq!(response(&edge, &first), good);
        let replies = asking.into_iter().map(|thread| thread.join().unwrap());
        let refused = replies.filter_map(|reply| match reply {
            OcspReply::Refused(refused) => Some(refused.reason),
            OcspReply::Signed(_) | OcspReply::Queued { .. } => None,
        });
        refused.collect::<Vec<_>>()
    });
    assert!(!busy.is_empty() && busy.iter().all(|reason| *reason == Refusal::Busy), "{busy:?}");
    // Who has no good response is in another line.
    assert!(!response(&edge, &issued[9]).revoked);
}

/// The revocation comes while the token signs that the certificate is good.
#[cfg(feature = "slow-token")]
#[test]
fn what_was_revoked_while_it_was_signed_as_good_is_signed_anew() {
    let mut site = Site::new(&["a1"]);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(&["a1"], "latency_ms = 1500");
    site.tell_status("crl_shards = 1\ncrl_delay_seconds = 600");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    eventually("the CRL", || site.events("crl").len() == 1);
    let first = thread::scope(|scope| {
        let asking = scope.spawn(|| response(&Edge::new(&site), &ask(&issued)));
        thread::sleep(std::time::Duration::from_millis(500));
        revoked(&edge, &simple_revocation(&issued));
        asking.join().unwrap()
    });
    assert!(first.revoked);
    assert_ne!(content(&first, &issued).status, CertStatus::Good);
    assert_eq!(site.events("response").len(), 1, "the good one is not even in the journal");
}
