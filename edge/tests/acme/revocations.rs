//! Revocation: who has the right to it (RFC 8555 §7.6), and the life of a certificate's status.

use edge::{
    acme::{
        authentication::{Home, home_of},
        nonce::EdgeNonce,
        problem::Problem,
        revoke::by_certificate_key,
        route::{Resource, Route},
        storage::{Change, Failure, Memory, Rows, Storage},
    },
    status::revocation::{self, Ask, Due, Outcome, Revoking, begin, due},
};
use serde_json::{Value, json};
use shared::{
    base64url::Base64Url,
    jws::Unverified,
    revocation::{BadRevocation, RevocationReason},
    serial::SerialNumber,
    signing::{Refusal, Refused, RevokeReply, Revoked, Right},
    testing::TestKey,
    timestamp::Timestamp,
};

use crate::desk::Desk;

fn payload(certificate: &[u8]) -> Value {
    json!({"certificate": Base64Url(certificate.to_vec()), "reason": 4})
}

#[test]
fn the_account_that_has_the_certificate_may() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    // Without a reason too: its authorizations are not what gives the right.
    desk.now = desk.now.plus(80_000);
    let order = desk.revoke(&json!({"certificate": Base64Url(certificate.clone())})).unwrap();
    assert_eq!((order.request.right, order.signer.as_deref()), (Right::Account, Some("SIGNER_1")));
    assert_eq!(order.certificate().unwrap(), certificate);
}

#[test]
fn an_account_that_holds_authorizations_for_all_names_may() {
    let (_, certificate) = Desk::with_a_certificate(&["a.test", "*.b.test"]);
    let mut other = Desk::new();
    other.account_key = TestKey::new(3);
    other.new_account();
    let refused = |desk: &mut Desk| match desk.revoke(&payload(&certificate)) {
        Err(problem @ Problem::NotHeld(_)) => problem.document().detail,
        other => panic!("{other:?}"),
    };
    assert!(refused(&mut other).contains(" of *.b.test "), "the first that is missing");
    other.issue(&["a.test"]);
    assert!(refused(&mut other).contains(" of *.b.test "));
    // The name below the wildcard is not the wildcard.
    other.issue(&["b.test"]);
    refused(&mut other);
    other.issue(&["*.b.test"]);
    let order = other.revoke(&payload(&certificate)).unwrap();
    assert_eq!((order.request.right, order.signer), (Right::Authorizations, None));
    // As long as they are valid.
    other.now = other.now.plus(501);
    refused(&mut other);
}

/// RFC 8555 §7.5.2 MUST NOT: an authorization that was given up is enough to have a certificate revoked.
#[test]
fn an_authorization_that_was_given_up_gives_no_right() {
    let (_, certificate) = Desk::with_a_certificate(&["a.test"]);
    let mut other = Desk::new();
    other.account_key = TestKey::new(3);
    other.new_account();
    let (_, view) = other.new_order(&["a.test"]);
    other.prove(&view, edge::acme::challenge::ChallengeType::Http01);
    let Resource::Authorization(id) = other.resource(&view["authorizations"][0]) else { panic!() };
    assert!(other.revoke(&payload(&certificate)).is_ok());
    other.post(Route::Of(other.account(), Resource::Authorization(id)), &json!({"status": "deactivated"})).unwrap();
    assert!(matches!(other.revoke(&payload(&certificate)), Err(Problem::NotHeld(_))));
}

#[test]
fn a_certificate_with_our_serial_number_and_other_bytes_is_not_the_accounts() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let mut forged = certificate;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    desk.now = desk.now.plus(501);
    assert!(matches!(desk.revoke(&payload(&forged)), Err(Problem::NotHeld(_))));
}

#[test]
fn what_cannot_be_revoked_is_said() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    for reason in [2, 6, 7, 8, 10, -1] {
        let asked = json!({"certificate": Base64Url(certificate.clone()), "reason": reason});
        let problem = desk.revoke(&asked).unwrap_err();
        assert_eq!(problem, Problem::Revocation(BadRevocation::Reason), "{reason}");
        assert_eq!(problem.document().kind, "urn:ietf:params:acme:error:badRevocationReason");
    }
    assert_eq!(desk.revoke(&json!({})).unwrap_err(), Problem::Revocation(BadRevocation::Form));
    desk.now = desk.now.plus(86_001);
    assert_eq!(
        desk.revoke(&payload(&certificate)).unwrap_err(),
        Problem::CertificateExpired("2026-11-22T11:53:20Z".parse().unwrap())
    );
}

/// A request signed by a key that no account has to have.
fn by_key(desk: &mut Desk, key: &TestKey, certificate: &[u8]) -> (Vec<u8>, Home) {
    let header = json!({"url": desk.urls.of(Route::RevokeCertificate), "nonce": "eA"});
    let body = key.sign_jws_with_jwk(&header, payload(certificate).to_string().as_bytes()).to_string().into_bytes();
    let home = home_of(Route::RevokeCertificate, &Unverified::parse(&body).unwrap(), &desk.urls).unwrap();
    (body, home)
}

#[test]
fn whoever_has_the_certificates_key_may() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let nonce = || EdgeNonce { shard: 0, expires: Timestamp::from_seconds(0), random: [0; 12] }.redeemed(true).unwrap();
    let key = TestKey::new(2);
    let (body, home) = by_key(&mut desk, &key, &certificate);
    let verified = Unverified::parse(&body).unwrap().verify(&key.jwk()).unwrap();
    let entropy = desk.entropy();
    let order = by_certificate_key(verified, nonce(), &desk.context(&entropy)).unwrap();
    assert_eq!((order.request.right, home), (Right::CertificateKey, Home::Status(order.serial)));

    let other = TestKey::new(4);
    let (body, _) = by_key(&mut desk, &other, &certificate);
    let verified = Unverified::parse(&body).unwrap().verify(&other.jwk()).unwrap();
    let refused = by_certificate_key(verified, nonce(), &desk.context(&entropy));
    assert!(matches!(refused, Err(Problem::Unauthorized(_))), "{refused:?}");
}

fn asked(desk: &mut Desk, certificate: &[u8]) -> (SerialNumber, Revoking) {
    let order = desk.revoke(&payload(certificate)).unwrap();
    (order.serial, Revoking { request: order.request, signer: "SIGNER_1".into(), since: desk.now })
}

fn confirmed(serial: SerialNumber, at: u64) -> RevokeReply {
    let at = Timestamp::from_seconds(at);
    RevokeReply::Revoked(Revoked { serial, reason: RevocationReason::Superseded, at, journal_index: 3 })
}

fn answered(rows: &Memory, ask: &Ask, answer: Result<RevokeReply, String>) -> Result<(Vec<Change>, Outcome), Problem> {
    let at = Timestamp::from_seconds;
    revocation::answered(rows, ask, answer, false, (at(1), at(2)))
}

fn refused(reason: Refusal) -> RevokeReply {
    RevokeReply::Refused(Refused { reason, detail: String::new(), retry_after: None })
}

#[test]
fn every_state_takes_every_event() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let (serial, revoking) = asked(&mut desk, &certificate);
    let other = SerialNumber::from_random([9; 16]);
    let ask = Ask { serial, revoking: revoking.clone() };
    let answers: [(&str, Result<RevokeReply, String>); 5] = [
        ("confirmed", Ok(confirmed(serial, 1))),
        ("another confirmed", Ok(confirmed(other, 1))),
        ("refused", Ok(refused(Refusal::UnknownCertificate))),
        ("busy", Ok(refused(Refusal::Unavailable))),
        ("unreachable", Err("no answer".into())),
    ];
    // What is stored before, then after each of the answers above, after an alarm, after another client asks.
    let table = [
        ("nothing", ["revoked", "nothing", "nothing", "nothing", "nothing", "nothing", "revoking"]),
        ("revoking", ["revoked", "revoking", "nothing", "revoking", "revoking", "revoking", "revoking"]),
        ("revoked", ["revoked"; 7]),
    ];
    let name = |rows: &Memory| match rows.read(edge::acme::storage::Key::Certificate(serial)).unwrap() {
        None => "nothing",
        Some(text) if text.contains("revoking") => "revoking",
        Some(_) => "revoked",
    };
    for (before, expected) in table {
        let mut start = Memory::default();
        if before != "nothing" {
            let (changes, _) = begin(&start, serial, revoking.clone(), desk.now).unwrap();
            start.commit(&changes).unwrap();
        }
        if before == "revoked" {
            let (changes, _) = answered(&start, &ask, Ok(confirmed(serial, 1))).unwrap();
            start.commit(&changes).unwrap();
        }
        assert_eq!(name(&start), before);
        for ((event, answer), expected) in answers.iter().zip(expected) {
            let mut rows = start.clone();
            let (changes, _) = answered(&rows, &ask, answer.clone()).unwrap();
            rows.commit(&changes).unwrap();
            assert_eq!(name(&rows), expected, "{before}: {event}");
        }
        let mut rows = start.clone();
        let (changes, _) = due(&rows, serial, desk.now).unwrap();
        rows.commit(&changes).unwrap();
        assert_eq!(name(&rows), expected[5], "{before}: alarm");
        let mut rows = start.clone();
        match begin(&rows, serial, revoking.clone(), desk.now) {
            Ok((changes, _)) => rows.commit(&changes).unwrap(),
            Err(problem) => assert_eq!(problem, Problem::AlreadyRevoked(Timestamp::from_seconds(1))),
        }
        assert_eq!(name(&rows), expected[6], "{before}: begin");
    }
}

/// RFC 8555 §7.6 MUST: what is revoked already is `alreadyRevoked`, for those too that asked before it was.
#[test]
fn of_four_revocations_at_the_same_time_one_succeeds_and_the_others_hear_already_revoked() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let mut rows = Memory::default();
    let mut asks = Vec::new();
    for _ in 0..4 {
        let (serial, revoking) = asked(&mut desk, &certificate);
        let (changes, ask) = begin(&rows, serial, revoking, desk.now).unwrap();
        rows.commit(&changes).unwrap();
        asks.push(ask);
    }
    // The signer answers all of them alike, in any order.
    asks.rotate_left(2);
    let mut outcomes = Vec::new();
    for ask in &asks {
        let (changes, outcome) = answered(&rows, ask, Ok(confirmed(ask.serial, 7))).unwrap();
        rows.commit(&changes).unwrap();
        outcomes.push(outcome);
    }
    let already = Outcome::AlreadyRevoked(Timestamp::from_seconds(7));
    assert_eq!(outcomes, [Outcome::Revoked, already.clone(), already.clone(), already]);
}

#[test]
fn a_refusal_takes_away_only_its_own_question() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let (serial, first) = asked(&mut desk, &certificate);
    let (_, second) = asked(&mut desk, &certificate);
    assert_ne!(first, second, "each has its own request");
    let mut rows = Memory::default();
    let (changes, ask) = begin(&rows, serial, first, desk.now).unwrap();
    rows.commit(&changes).unwrap();
    let (changes, _) = begin(&rows, serial, second, desk.now).unwrap();
    rows.commit(&changes).unwrap();
    let (changes, outcome) = answered(&rows, &ask, Ok(refused(Refusal::UnknownCertificate))).unwrap();
    assert_eq!((changes.len(), outcome), (0, Outcome::Refused(Problem::NotOurCertificate)));
}

#[test]
fn every_write_of_a_revocation_may_fail() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    for failure in [Failure::Lost, Failure::Kept] {
        for at in 0..3 {
            let (serial, revoking) = asked(&mut desk, &certificate);
            let mut rows = Memory::default();
            rows.fail_commit_number(at, failure);
            // The client asks until it is told that the certificate is revoked; in between an alarm rings.
            let mut told = false;
            for _ in 0..4 {
                match begin(&rows, serial, revoking.clone(), desk.now) {
                    Err(problem) => {
                        assert_eq!(problem, Problem::AlreadyRevoked(Timestamp::from_seconds(1)));
                        told = true;
                        break;
                    }
                    Ok((changes, ask)) => {
                        if rows.commit(&changes).is_ok() {
                            let (changes, _) = answered(&rows, &ask, Ok(confirmed(serial, 1))).unwrap();
                            let _ = rows.commit(&changes);
                        }
                    }
                }
                let (changes, next) = due(&rows, serial, desk.now).unwrap();
                if rows.commit(&changes).is_ok()
                    && let Due::Ask(ask) = next
                {
                    let (changes, outcome) = answered(&rows, &ask, Ok(confirmed(serial, 1))).unwrap();
                    assert!(matches!(outcome, Outcome::Revoked | Outcome::AlreadyRevoked(_)), "{outcome:?}");
                    let _ = rows.commit(&changes);
                }
            }
            assert!(told, "{failure:?} at commit {at}");
        }
    }
}
