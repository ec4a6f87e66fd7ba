//! What is refused, and with which problem (RFC 8555 §6.7).

use edge::acme::{
    challenge::ChallengeType,
    directory::Directory,
    problem::Problem,
    route::{Resource, Route},
    step::{Body, Event},
    view::OrderStatus,
};
use serde_json::{Value, json};
use shared::{
    base64url::Base64Url,
    signing::{IssueReply, Refusal, Refused},
    testing::{TestCa, TestKey},
};

use crate::desk::{Desk, json_of};
use crate::probe_faults::{late, lookup};

fn kind(problem: &Problem) -> String {
    problem.document().kind.rsplit(':').next().unwrap().to_owned()
}

#[test]
fn new_account_refusals() {
    let table = [
        (json!({"onlyReturnExisting": true}), "accountDoesNotExist"),
        (json!({"contact": ["mailto:a@b.test,c@d.test"]}), "invalidContact"),
        (json!({"contact": ["mailto:a@b.test?subject=x"]}), "invalidContact"),
        (json!({"contact": ["mailto:ab.test"]}), "invalidContact"),
        (json!({"contact": ["nothing"]}), "invalidContact"),
        (json!({"contact": ["tel:+1"]}), "unsupportedContact"),
        (json!({"contact": "mailto:a@b.test"}), "malformed"),
        (json!([]), "malformed"),
    ];
    for (payload, expected) in table {
        let mut desk = Desk::new();
        let problem = desk.post(Route::NewAccount, &payload).unwrap_err();
        assert_eq!(kind(&problem), expected, "{payload}");
        assert_eq!(desk.rows.commits, 0);
    }
}

#[test]
fn contacts_are_stored_without_the_white_space_around_them() {
    for contact in ["mailto:a@b.test", "mailto: a@b.test", " mailto:a@b.test ", "mailto\t:\ta@b.test\n", "mailto:a@b"] {
        let mut desk = Desk::new();
        let reply = desk.post(Route::NewAccount, &json!({"contact": [contact]})).unwrap();
        let expected = contact.replace(char::is_whitespace, "");
        assert_eq!(json_of(&reply)["contact"], json!([expected]), "{contact:?}");
        let account = Route::Of(desk.account(), Resource::Account);
        let updated = desk.post(account, &json!({"contact": [contact, contact]})).unwrap();
        assert_eq!(json_of(&updated)["contact"], json!([expected, expected]), "{contact:?}");
    }
    for contact in ["mailto:", "mailto: ", "mailto:a b@c.test", "mailto:a@ b.test"] {
        let problem = Desk::new().post(Route::NewAccount, &json!({"contact": [contact]})).unwrap_err();
        assert_eq!(kind(&problem), "invalidContact", "{contact:?}");
    }
}

/// Of every payload that is not the object that is expected the answer names the member and what is wrong with it.
#[test]
fn a_malformed_payload_is_refused_by_the_name_of_its_member() {
    let order = |identifiers: Value| json!({"identifiers": identifiers});
    let table = [
        (
            Route::NewAccount,
            json!({"contact": null}),
            "newAccount object: \"contact\": invalid type: null, expected a sequence.",
        ),
        (Route::NewAccount, json!({"contact": "mailto:a@b"}), "\"contact\": invalid type: string"),
        (Route::NewAccount, json!({"termsOfServiceAgreed": "yes"}), "\"termsOfServiceAgreed\": invalid type: string"),
        (
            Route::NewOrder,
            order(json!([{"type": "dns", "value": "a.test"}, {"type": "dns", "value": "b.test", "ttl": 1}])),
            "\"identifiers[1].ttl\": unknown field `ttl`, expected `type` or `value`.",
        ),
        (Route::NewOrder, order(json!([{"type": "dns"}])), "\"identifiers[0]\": missing field `value`."),
        (Route::NewOrder, order(json!("a.test")), "\"identifiers\": invalid type: string"),
        (Route::NewOrder, json!({}), "missing field `identifiers`."),
        (Route::NewOrder, json!([]), "it is not a JSON object."),
        (Route::NewAuthorization, json!({"identifier": {"type": 1}}), "\"identifier.type\": invalid type: integer"),
    ];
    for (route, payload, named) in table {
        let mut desk = Desk::new();
        if route != Route::NewAccount {
            desk.new_account();
        }
        let problem = desk.post(route, &payload).unwrap_err();
        let detail = problem.document().detail;
        assert_eq!(kind(&problem), "malformed", "{payload}");
        assert!(detail.starts_with("The payload must be ") && detail.contains(named), "{payload}: {detail}");
    }
}

/// What is wrong is at the top of a problem, too: many clients show nothing else.
#[test]
fn refused_identifiers_are_named_with_their_reasons_at_the_top() {
    let mut desk = Desk::new();
    desk.new_account();
    let names = ["a.test", "b.example", "c..test"].map(|value| json!({"type": "dns", "value": value}));
    let document = desk.post(Route::NewOrder, &json!({"identifiers": names})).unwrap_err().document();
    for named in ["\"b.example\": The policy does not permit", "\"c..test\": A label is empty"] {
        assert!(document.detail.contains(named), "{named}: {}", document.detail);
    }
    assert!(!document.detail.contains("a.test"), "{}", document.detail);
    assert!(document.subproblems.iter().all(|sub| document.detail.contains(&sub.detail)));
    let email = json!({"identifiers": [{"type": "email", "value": "a@b.test"}]});
    let detail = desk.post(Route::NewOrder, &email).unwrap_err().document().detail;
    assert_eq!(detail, "\"a@b.test\" is of the type \"email\"; only \"dns\" and \"ip\" are known.");
}

#[test]
fn a_csr_in_pem_is_refused_as_such() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    desk.prove(&view, ChallengeType::Http01);
    let Resource::Order(id) = order else { panic!() };
    let route = Route::Of(desk.account(), Resource::Finalize(id));
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";
    let problem = desk.post(route, &json!({"csr": Base64Url(pem.into())})).unwrap_err();
    assert_eq!((problem.clone(), kind(&problem).as_str()), (Problem::CsrPem, "badCSR"));
    assert!(problem.document().detail.contains("PEM in base64url"));
    let problem = desk.post(route, &json!({"csr": pem})).unwrap_err();
    let detail = problem.document().detail;
    assert!(detail.contains("\"csr\": not base64url without padding: it is PEM"), "{detail}");
    assert_eq!(desk.read(order)["status"], "ready");
}

#[test]
fn the_directory_has_one_member_in_each_line() {
    let mut desk = Desk::new();
    desk.new_account();
    let text = Directory::new(&desk.config, &desk.urls).to_json().unwrap();
    let members = serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().len();
    assert!(text.lines().count() > members, "{text}");
    let line = format!("  \"newOrder\": \"{}\",", desk.urls.of(Route::NewOrder));
    assert!(text.lines().any(|found| found == line), "{text}");
    let Body::Json(signed) = desk.get(Route::Directory).unwrap().body else { panic!() };
    assert_eq!(signed, text, "by POST-as-GET too");
}

#[test]
fn what_a_client_may_not_say_of_its_account_is_ignored() {
    let mut desk = Desk::new();
    desk.new_account();
    let before = desk.read(Resource::Account);
    for payload in [json!({"contact": 1}), json!({"contact": ["tel:1"]}), json!({"onlyReturnExisting": "x"}), json!([])]
    {
        let found = desk.post(Route::NewAccount, &payload).unwrap();
        assert_eq!((found.status, json_of(&found)), (200, before.clone()), "{payload}");
    }
    let account = Route::Of(desk.account(), Resource::Account);
    for status in [json!("valid"), json!("revoked"), json!("other"), json!(1)] {
        let updated = desk.post(account, &json!({"status": status, "termsOfServiceAgreed": 1, "orders": []})).unwrap();
        assert_eq!(json_of(&updated), before, "{status}");
    }
}

#[test]
fn new_order_refusals() {
    let dns = |value: &str| json!({"type": "dns", "value": value});
    let table = [
        (json!({}), "malformed"),
        (json!({"identifiers": []}), "malformed"),
        (json!({"identifiers": [dns("a.test"), dns("b.test"), dns("c.test"), dns("d.test")]}), "malformed"),
        (json!({"identifiers": [dns("a.example")]}), "rejectedIdentifier"),
        (json!({"identifiers": [dns("a..test")]}), "malformed"),
        (json!({"identifiers": [{"type": "ip", "value": "192.0.2.1"}]}), "unsupportedIdentifier"),
        (json!({"identifiers": [{"type": "email", "value": "a@b.test"}]}), "unsupportedIdentifier"),
        (json!({"identifiers": [dns("a.test")], "profile": "other"}), "invalidProfile"),
        (json!({"identifiers": [dns("a.test")], "notAfter": "2027-01-01T00:00:00Z"}), "malformed"),
    ];
    for (payload, expected) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let problem = desk.post(Route::NewOrder, &payload).unwrap_err();
        assert_eq!(kind(&problem), expected, "{payload}");
    }
}

#[test]
fn each_refused_identifier_has_its_subproblem() {
    let mut desk = Desk::new();
    desk.new_account();
    let names = ["a.test", "b.example", "*.c.example"].map(|value| json!({"type": "dns", "value": value}));
    let document = desk.post(Route::NewOrder, &json!({"identifiers": names})).unwrap_err().document();
    let about: Vec<_> = document.subproblems.iter().map(|sub| sub.identifier.clone().unwrap().value).collect();
    assert_eq!(about, ["b.example", "*.c.example"]);
    assert_eq!(document.status, Some(403));
    assert!(document.subproblems.iter().all(|sub| sub.status.is_none()));
}

#[test]
fn finalize_while_pending_is_order_not_ready() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, _) = desk.new_order(&["a.test"]);
    assert_eq!(desk.finalize(order, &["a.test"]), Err(Problem::OrderNotReady(OrderStatus::Pending)));
}

#[test]
fn finalize_refuses_other_names_other_keys_and_other_payloads() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test", "b.test"]);
    desk.prove(&view, ChallengeType::Http01);
    for names in [&["a.test"][..], &["a.test", "b.test", "c.test"], &["a.test", "c.test"], &[]] {
        assert!(matches!(desk.finalize(order, names), Err(Problem::CsrNames(_))), "{names:?}");
    }
    let Resource::Order(id) = order else { panic!() };
    let route = Route::Of(desk.account(), Resource::Finalize(id));
    let own = Base64Url(desk.account_key.csr(&["a.test", "b.test"], ""));
    assert_eq!(desk.post(route, &json!({"csr": own})), Err(Problem::CsrAccountKey));
    assert_eq!(kind(&desk.post(route, &json!({"csr": "AAAA"})).unwrap_err()), "badCSR");
    assert_eq!(kind(&desk.post(route, &json!({"csr": "AA=="})).unwrap_err()), "malformed");
    assert_eq!(kind(&desk.get(route).unwrap_err()), "malformed");
    assert!(desk.finalize(order, &["b.test", "a.test"]).is_ok(), "names are compared as sets");
}

#[test]
fn an_order_is_finalized_once() {
    let (mut desk, order) = Desk::with_a_processing_order();
    assert_eq!(desk.finalize(order, &["a.test"]), Err(Problem::OrderNotReady(OrderStatus::Processing)));
}

#[test]
fn a_foreign_account_is_refused_at_every_resource() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    let Resource::Order(id) = order else { panic!() };
    let Resource::Authorization(authorization) = desk.resource(&view["authorizations"][0]) else { panic!() };
    let owner = desk.account();
    desk.account_key = TestKey::new(9);
    let resources = [
        Resource::Account,
        order,
        Resource::Finalize(id),
        Resource::Certificate(id, None),
        Resource::Authorization(authorization),
        Resource::Challenge(authorization, ChallengeType::Http01),
    ];
    for resource in resources {
        let route = Route::Of(owner, resource);
        assert!(matches!(desk.get(route), Err(Problem::Unauthorized(_))), "{resource:?}");
    }
}

#[test]
fn jwk_and_kid_have_their_places() {
    let mut desk = Desk::new();
    desk.new_account();
    let nonce = desk.window.mint(&desk.secrets, desk.account());
    let header = json!({"url": desk.urls.of(Route::NewOrder), "nonce": nonce});
    let body = desk.account_key.sign_jws_with_jwk(&header, b"{}").to_string();
    assert_eq!(desk.handle(Route::NewOrder, body.as_bytes()), Err(Problem::WrongKeyMember("kid")));
    let header = json!({"url": desk.urls.of(Route::NewAccount), "nonce": nonce, "kid": desk.url(Resource::Account)});
    let body = desk.account_key.sign_jws(&header, b"{}").to_string();
    assert_eq!(desk.handle(Route::NewAccount, body.as_bytes()), Err(Problem::WrongKeyMember("jwk")));
}

#[test]
fn a_deactivated_account_can_do_nothing_and_is_not_made_again() {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, _) = desk.new_order(&["a.test"]);
    let account = Route::Of(desk.account(), Resource::Account);
    desk.post(account, &json!({"status": "deactivated"})).unwrap();
    for route in [account, Route::NewOrder, Route::Of(desk.account(), order)] {
        assert_eq!(desk.get(route), Err(Problem::Deactivated));
    }
    assert_eq!(desk.post(Route::NewAccount, &json!({})), Err(Problem::Deactivated));
    assert_eq!(Problem::Deactivated.status(), 401);
}

#[test]
fn wrong_answers_fail_the_challenge_and_the_order() {
    use edge::acme::{
        dns::DnsFault,
        probe::{Evidence, ProbeFault},
    };
    let http = |status, body: &[u8]| Ok(Evidence::Http { status, body: body.to_vec() });
    let table = [
        (http(200, b"something else"), "incorrectResponse"),
        (http(404, b""), "incorrectResponse"),
        (Ok(Evidence::Txt(vec![])), "serverInternal"),
        (Err(lookup(DnsFault::NoSuchName)), "dns"),
        (Err(ProbeFault::Refused("a.test".to_owned())), "connection"),
        (Err(late()), "connection"),
        (Err(ProbeFault::TooManyRedirects), "incorrectResponse"),
    ];
    for (outcome, expected) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let (order, view) = desk.new_order(&["a.test"]);
        let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
        desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Http01)), &json!({})).unwrap();
        let Some(edge::acme::step::Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
        desk.event(Event::Probed(probe, outcome)).unwrap();
        let order = desk.read(order);
        assert_eq!(order["status"], "invalid");
        assert_eq!(order["error"]["type"], json!(format!("urn:ietf:params:acme:error:{expected}")));
        let shown = desk.read(Resource::Authorization(id));
        assert_eq!(shown["challenges"].as_array().unwrap().len(), 1);
        assert_eq!(shown["challenges"][0]["error"], order["error"]);
        // Never at the top (RFC 8555 §6.7.1).
        assert_eq!(order["error"].get("identifier"), None);
        assert_eq!(order["error"]["subproblems"][0]["identifier"]["value"], "a.test");
    }
}

/// Something was found, and the problem says what it looks like: not more than a few escaped bytes of it.
#[test]
fn a_wrong_body_or_record_is_described() {
    use edge::acme::probe::{Evidence, ProbeOutcome};
    type Found = fn(&str) -> ProbeOutcome;
    let table: [(ChallengeType, Found, &str); 4] = [
        (
            ChallengeType::Http01,
            |expected| Ok(Evidence::Http { status: 200, body: format!("\u{feff}{expected}").into() }),
            "the expected text behind a byte order mark",
        ),
        (
            ChallengeType::Http01,
            |_| Ok(Evidence::Http { status: 200, body: b"<html>not for everybody".to_vec() }),
            "it is \"<html>not for ev…\" (23 bytes), markup such as HTML.",
        ),
        (
            ChallengeType::Dns01,
            |expected| Ok(Evidence::Txt(vec![format!("\"{expected}\"").into()])),
            "the expected text in quotation marks.",
        ),
        (ChallengeType::Dns01, |_| Ok(Evidence::Txt(vec![b"x".to_vec()])), "Found: \"x\" (1 byte)."),
    ];
    for (kind, found, words) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let (_, view) = desk.new_order(&["a.test"]);
        let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
        desk.post(Route::Of(desk.account(), Resource::Challenge(id, kind)), &json!({})).unwrap();
        let Some(edge::acme::step::Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
        let expected = match desk.right_answer(&probe).unwrap() {
            Evidence::Http { body, .. } => String::from_utf8(body).unwrap(),
            Evidence::Txt(records) => String::from_utf8(records[0].clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        let outcome = found(expected.trim());
        desk.event(Event::Probed(probe, outcome)).unwrap();
        let error = desk.read(Resource::Challenge(id, kind))["error"].clone();
        assert_eq!(error["type"], "urn:ietf:params:acme:error:incorrectResponse");
        let detail = error["detail"].as_str().unwrap();
        assert!(
            detail.contains(words) && detail.contains(expected.trim()) && !detail.contains("everybody"),
            "{detail}"
        );
    }
}

#[test]
fn a_refusal_for_good_ends_the_order_and_a_temporary_one_does_not() {
    let table = [
        (Refusal::NotPermitted, "rejectedIdentifier"),
        (Refusal::BadProof, "unauthorized"),
        (Refusal::BadCsr, "badCSR"),
        (Refusal::BadProfile, "invalidProfile"),
        (Refusal::OrderUsed, "serverInternal"),
        (Refusal::Busy, ""),
        (Refusal::Unavailable, ""),
        (Refusal::UnknownEdge, ""),
    ];
    for (reason, expected) in table {
        let (mut desk, order) = Desk::with_a_processing_order();
        let question = desk.question();
        let refused = Refused { reason, detail: "for the log".to_owned(), retry_after: None };
        desk.event(Event::Signed(question.order, Ok(IssueReply::Refused(refused)))).unwrap();
        let view = desk.read(order);
        if expected.is_empty() {
            assert_eq!(view["status"], "processing", "{reason:?}");
        } else {
            assert_eq!(view["error"]["type"], json!(format!("urn:ietf:params:acme:error:{expected}")));
            assert!(!view.to_string().contains("for the log"));
        }
    }
}

#[test]
fn a_certificate_that_was_not_asked_for_is_never_shown() {
    type Tamper = fn(&mut Desk);
    let table: [(&str, Tamper); 2] =
        [("another root", |desk| desk.ca = TestCa::new(2)), ("another key", |desk| desk.subject_key = TestKey::new(8))];
    for (what, tamper) in table {
        let (mut desk, order) = Desk::with_a_processing_order();
        let mut question = desk.question();
        tamper(&mut desk);
        if what == "another key" {
            // The signer certifies a key of its own choosing.
            let payload = json!({"csr": Base64Url(desk.subject_key.csr(&["a.test"], ""))}).to_string();
            let jws = desk.account_key.sign_jws(&json!({"url": "x", "kid": "y"}), payload.as_bytes());
            question.request.finalize = serde_json::from_value(jws).unwrap();
        }
        let answer = desk.signer_answer(&question);
        desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
        let view: Value = desk.read(order);
        assert_eq!(view["status"], "invalid", "{what}");
        // The log says which signer, which order and why; with another root, which one the edge has.
        let [line] = desk.logged.as_slice() else { panic!("{:?}", desk.logged) };
        assert!(line.starts_with("SIGNER_1 sent a certificate for https://ca.test/acme/order/"), "{line}");
        let why = if what == "another root" {
            "the chain does not lead to the root. root_certificate is that of \""
        } else {
            "the leaf is not of the form"
        };
        assert!(line.contains(why), "{what}: {line}");
        assert!(!view.to_string().contains("root_certificate"), "{view}");
        assert!(view.get("certificate").is_none());
    }
}
