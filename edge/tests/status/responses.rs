//! The stored response of one certificate: every pair of what is stored and what happens.

use edge::{
    acme::storage::{Change, Key, Memory, Rows, Storage},
    status::{
        exchange::Question,
        response::{Ask, Look, Outcome, ResponseRecord, answered, due, forgotten, look, wanted},
        revocation::{CertificateRecord, CertificateState},
    },
};
use shared::{
    base64url::Base64Url,
    ocsp::{CertIdHash, CertStatus, IssuerHashes, Responder, ResponseContent},
    pointers::IssuerId,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{OcspReply, OcspRequest, Refusal, Refused, Revoked, SignedResponse, Urgency},
    testing::TestCa,
    timestamp::Timestamp,
};

const LIFE: u64 = 1000;

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

pub(crate) fn serial() -> SerialNumber {
    SerialNumber::from_random([7; 16])
}

pub(crate) fn question(ca: &TestCa) -> Question {
    let IssuerHashes { name, key } = IssuerHashes::of(ca.chain.issuer(), CertIdHash::Sha1).unwrap();
    Question { serial: serial(), hash: CertIdHash::Sha1, name: Base64Url(name), key: Base64Url(key) }
}

fn ask(ca: &TestCa) -> Ask {
    let issuer = IssuerId::of(ca.chain.issuer());
    let request = OcspRequest { issuer, serial: serial(), hash: CertIdHash::Sha1, urgency: Urgency::Missing };
    Ask { question: question(ca), request, signer: "SIGNER_1".to_owned() }
}

fn signed_for(ca: &TestCa, serial: SerialNumber, from: u64, revoked: bool) -> SignedResponse {
    let issuer = ca.chain.issuer();
    let status = if revoked { CertStatus::Revoked(at(from), RevocationReason::Unspecified) } else { CertStatus::Good };
    let (this_update, next_update) = (at(from), at(from + LIFE));
    let responder = Responder::Issuer(issuer);
    let tbs =
        ResponseContent::tbs(serial, CertIdHash::Sha1, status, (this_update, next_update), issuer, responder).unwrap();
    let signature = ca.sign(tbs.as_bytes());
    let response = Base64Url(tbs.assemble(&signature, responder).unwrap());
    SignedResponse { response, this_update, next_update, revoked }
}

pub(crate) fn signed(ca: &TestCa, from: u64, revoked: bool) -> SignedResponse {
    signed_for(ca, serial(), from, revoked)
}

/// The event of an answer, committed.
pub(crate) fn take_in(rows: &mut Memory, ca: &TestCa, reply: Result<OcspReply, String>, now: u64) -> Outcome {
    let (changes, outcome, _) = answered(rows, &ask(ca), ca.chain.issuer(), reply, at(now)).unwrap();
    rows.commit(&changes).unwrap();
    outcome
}

pub(crate) fn stored(rows: &Memory) -> Option<ResponseRecord> {
    let body = rows.read(Key::Response(serial(), CertIdHash::Sha1)).unwrap()?;
    Some(serde_json::from_str(&body).unwrap())
}

pub(crate) fn revoke(rows: &mut Memory, now: u64) {
    let mut changes = forgotten(rows, serial(), at(now)).unwrap();
    let revoked = Revoked { serial: serial(), reason: RevocationReason::Unspecified, at: at(now), journal_index: 1 };
    let body = serde_json::to_string(&CertificateRecord::new(CertificateState::Revoked(revoked))).unwrap();
    changes.push(Change::Put { key: Key::Certificate(serial()), body, due: None });
    rows.commit(&changes).unwrap();
}

pub(crate) fn looked(rows: &mut Memory, ca: &TestCa, now: u64) -> &'static str {
    let (changes, look) = look(rows, &question(ca), at(now), Some(1)).unwrap();
    rows.commit(&changes).unwrap();
    match look {
        Look::Fresh(_) => "fresh",
        Look::Aging(_) => "aging",
        Look::Missing => "missing",
    }
}

#[test]
fn a_response_is_fresh_then_aging_then_missing() {
    let ca = TestCa::new(1);
    for revoked in [false, true] {
        let mut rows = Memory::default();
        assert_eq!(looked(&mut rows, &ca, 0), "missing");
        let reply = Ok(OcspReply::Signed(signed(&ca, 0, revoked)));
        assert!(matches!(take_in(&mut rows, &ca, reply, 0), Outcome::Signed(_)));
        for (now, expected) in
            [(0, "fresh"), (499, "fresh"), (500, "aging"), (999, "aging"), (1000, "missing"), (5000, "missing")]
        {
            assert_eq!(looked(&mut rows, &ca, now), expected, "{now}, revoked: {revoked}");
        }
    }
}

/// Stored: nothing, a good one, one that says revoked, one that a revocation has made untrue. Each with every answer of a signer, at
/// a time when what is stored is good and when it has expired.
#[test]
fn every_answer_to_every_stored_response() {
    let ca = TestCa::new(1);
    let refused = |reason| Ok(OcspReply::Refused(Refused { reason, detail: String::new(), retry_after: None }));
    let answers = |from: u64| -> Vec<(&str, Result<OcspReply, String>)> {
        vec![
            ("good", Ok(OcspReply::Signed(signed(&ca, from, false)))),
            ("revoked", Ok(OcspReply::Signed(signed(&ca, from, true)))),
            ("queued", Ok(OcspReply::Queued { retry_after: 3 })),
            ("busy", refused(Refusal::Busy)),
            ("unknown", refused(Refusal::UnknownCertificate)),
            ("unreachable", Err("no answer".to_owned())),
        ]
    };
    for (before, now) in
        ["nothing", "good", "revoked", "untrue"].into_iter().flat_map(|before| [(before, 600), (before, 1600)])
    {
        for (answer, reply) in answers(now) {
            let mut rows = Memory::default();
            match before {
                "nothing" => {}
                "revoked" => drop(take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, true))), 0)),
                _ => drop(take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 0)),
            }
            if before == "untrue" {
                revoke(&mut rows, 10);
            }
            let old = stored(&rows).and_then(|record| record.signed);
            let outcome = take_in(&mut rows, &ca, reply, now);
            let new = stored(&rows).and_then(|record| record.signed);
            let case = format!("{before} at {now}, {answer}");
            let sent = match &outcome {
                Outcome::Signed(document) => Some(document.body.clone()),
                _ => None,
            };
            match (before, answer) {
                ("revoked", "good") => {
                    assert_eq!(new, old, "{case}");
                    // It has expired: what is true cannot be shown, and what is false is not.
                    let shown = (now < LIFE).then(|| old.clone().unwrap().response);
                    assert_eq!(sent, shown, "{case}");
                }
                ("untrue", "good") => assert_eq!((new, sent), (None, None), "{case}"),
                (_, "good" | "revoked") => {
                    assert_eq!(
                        new.clone().map(|new| (new.revoked, new.this_update)),
                        Some((answer == "revoked", at(now)))
                    );
                    assert_eq!(sent, new.map(|new| new.response), "{case}");
                }
                (_, "queued") => assert_eq!((new, outcome), (old, Outcome::Later(3)), "{case}"),
                (_, "unknown") => assert_eq!((new, outcome), (old, Outcome::Unknown), "{case}"),
                _ => assert_eq!((new, outcome), (old, Outcome::Later(5)), "{case}"),
            }
        }
    }
}

#[test]
fn what_the_issuer_has_not_signed_about_this_certificate_is_not_stored() {
    let (ca, other) = (TestCa::new(1), TestCa::new(2));
    let good = signed(&ca, 0, false);
    let mut broken = good.clone();
    *broken.response.0.last_mut().unwrap() ^= 1;
    let wrong = [
        ("another issuer", signed(&other, 0, false)),
        ("another certificate", signed_for(&ca, SerialNumber::from_random([8; 16]), 0, false)),
        ("one bit", broken),
        ("another status", SignedResponse { revoked: true, ..good.clone() }),
        ("other times", SignedResponse { next_update: at(5000), ..good.clone() }),
        ("nothing", SignedResponse { response: Base64Url(Vec::new()), ..good }),
    ];
    for (case, wrong) in wrong {
        let mut rows = Memory::default();
        assert_eq!(take_in(&mut rows, &ca, Ok(OcspReply::Signed(wrong)), 0), Outcome::Later(5), "{case}");
        assert_eq!(stored(&rows), None, "{case}");
    }
    let mut rows = Memory::default();
    let expired = Ok(OcspReply::Signed(signed(&ca, 0, false)));
    assert_eq!(take_in(&mut rows, &ca, expired, 1000), Outcome::Later(5));
    assert_eq!(stored(&rows), None);
}

#[test]
fn a_revocation_leaves_no_good_response_and_has_the_new_one_asked_for() {
    let ca = TestCa::new(1);
    let mut rows = Memory::default();
    take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 0);
    revoke(&mut rows, 10);
    assert_eq!(looked(&mut rows, &ca, 10), "missing");
    let (changes, ask) = due(&rows, (serial(), CertIdHash::Sha1), at(10), at(20)).unwrap();
    rows.commit(&changes).unwrap();
    assert_eq!(ask.unwrap().request.urgency, Urgency::Missing);
    assert_eq!(rows.next_due().unwrap(), Some(at(20)), "until there is one");
    take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 11, true))), 11);
    assert_eq!(looked(&mut rows, &ca, 12), "fresh");
    // One that says so already is left as it is.
    assert_eq!(forgotten(&rows, serial(), at(12)).unwrap(), []);
    assert_eq!(forgotten(&Memory::default(), serial(), at(12)).unwrap(), []);
}

#[test]
fn a_revoked_certificate_that_nobody_has_asked_about_has_its_response_asked_for() {
    let ca = TestCa::new(1);
    let (question, issuer) = (question(&ca), ask(&ca).request.issuer);
    let want = |rows: &Memory| wanted(rows, (&question, issuer, "SIGNER_1"), at(10)).unwrap();
    let mut rows = Memory::default();
    let changes = want(&rows);
    rows.commit(&changes).unwrap();
    revoke(&mut rows, 10);
    assert_eq!((want(&rows), looked(&mut rows, &ca, 10)), (Vec::new(), "missing"));
    let (changes, asked) = due(&rows, (serial(), CertIdHash::Sha1), at(10), at(20)).unwrap();
    rows.commit(&changes).unwrap();
    assert_eq!(asked.unwrap(), ask(&ca));
    take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 11, true))), 11);
    assert_eq!(looked(&mut rows, &ca, 12), "fresh");
    // One that was asked for is there already, by the name that its clients use.
    assert_eq!(want(&rows), []);
}

#[test]
fn a_certificate_that_was_asked_for_again_is_refreshed_and_another_one_forgotten() {
    let ca = TestCa::new(1);
    let of = (serial(), CertIdHash::Sha1);
    for asked in [true, false] {
        let mut rows = Memory::default();
        take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 0);
        if asked {
            looked(&mut rows, &ca, 1);
        }
        let half = if asked { at(500) } else { at(1000 + 86_400) };
        assert_eq!(rows.next_due().unwrap(), Some(half));
        let (changes, ask) = due(&rows, of, at(500), at(510)).unwrap();
        rows.commit(&changes).unwrap();
        assert_eq!(ask.map(|ask| ask.request.urgency), asked.then_some(Urgency::Refresh));
        let (changes, ask) = due(&rows, of, at(1000 + 86_400), at(0)).unwrap();
        rows.commit(&changes).unwrap();
        assert_eq!((ask, stored(&rows)), (None, None));
    }
}

#[test]
fn so_many_questions_make_a_certificate_popular_and_no_later_one_costs_a_row() {
    let ca = TestCa::new(1);
    let of = (serial(), CertIdHash::Sha1);
    let ask = |rows: &mut Memory, now, popular| {
        let (changes, _) = look(rows, &question(&ca), at(now), popular).unwrap();
        rows.commit(&changes).unwrap();
        changes.len()
    };
    // Questions, the number that makes popular, rows that were written, and whether it is signed anew.
    for (questions, popular, written, renewed) in [
        (0, Some(1), 0, false),
        (2, Some(3), 2, false),
        (3, Some(3), 3, true),
        (9, Some(3), 3, true),
        (9, Some(1), 1, true),
        (9, None, 0, false),
    ] {
        let case = format!("{questions} of {popular:?}");
        let mut rows = Memory::default();
        take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 0);
        let sum: usize = (0..questions).map(|now| ask(&mut rows, now, popular)).sum();
        assert_eq!(sum, written, "{case}");
        let alarm = if renewed { at(500) } else { at(LIFE + 86_400) };
        assert_eq!(rows.next_due().unwrap(), Some(alarm), "{case}");
        let (changes, asked) = due(&rows, of, at(500), at(510)).unwrap();
        rows.commit(&changes).unwrap();
        assert_eq!(asked.map(|ask| ask.request.urgency), renewed.then_some(Urgency::Refresh), "{case}");
        // The same again, of a signer whose clock is late, does not end it.
        take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 500);
        assert_eq!(rows.next_due().unwrap() == Some(at(510)), renewed, "{case}");
        // Who was popular once must be so again.
        take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 500, false))), 500);
        assert_eq!(rows.next_due().unwrap(), Some(at(500 + LIFE + 86_400)), "{case}");
    }
}

#[test]
fn response_record_json_is_unchanged() {
    let text = r#"{"name":"AQ","key":"Ag","issuer":"000102030405060708090a0b0c0d0e0f","signer":"SIGNER_1","signed":{"response":"Aw","this_update":"2026-11-21T12:00:00Z","next_update":"2026-11-28T12:00:00Z","revoked":false},"asked":true}"#;
    let record: ResponseRecord = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
}
