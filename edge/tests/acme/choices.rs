//! What an order may choose: its times, its profile, authorizations that it did not have to make (RFC 8555 §7.4, §7.4.1,
//! draft-ietf-acme-profiles §4).

use edge::acme::{
    challenge::ChallengeType,
    problem::Problem,
    route::{Resource, Route},
    step::{Effect, Event},
};
use serde_json::{Value, json};
use shared::{base64url::Base64Url, profile::Usage};

use crate::desk::{Desk, json_of};

fn order(desk: &mut Desk, extra: &Value) -> Result<Value, Problem> {
    let mut payload = json!({"identifiers": [{"type": "dns", "value": "a.test"}]});
    payload.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let reply = desk.post(Route::NewOrder, &payload)?;
    let mut view = json_of(&reply);
    view["url"] = json!(reply.location.unwrap());
    Ok(view)
}

#[test]
fn times_within_the_profile_are_kept_and_others_are_refused() {
    // The desk's time is 12:00:00 of the 21st; the profile gives 86,400 seconds.
    let table = [
        (json!({"notAfter": "2026-11-22T11:59:59Z"}), true),
        (json!({"notAfter": "2026-11-22T12:00:00Z"}), true),
        (json!({"notAfter": "2026-11-22T12:00:01Z"}), false),
        (json!({"notAfter": "2026-11-21T12:00:00Z"}), false),
        (json!({"notBefore": "2026-11-21T13:00:00+01:00", "notAfter": "2026-11-21T12:00:01Z"}), true),
        (json!({"notBefore": "2026-11-21T11:00:00Z", "notAfter": "2026-11-21T13:00:00Z"}), true),
        (json!({"notBefore": "2026-11-22T11:00:00Z"}), true),
        (json!({"notBefore": "2026-11-22T12:00:00Z"}), false),
        (json!({"notBefore": "2026-11-22T11:00:00Z", "notAfter": "2026-11-22T12:00:00Z"}), true),
        (json!({"notBefore": "2026-11-22T11:00:00Z", "notAfter": "2026-11-22T12:00:01Z"}), false),
        (json!({"notBefore": "1815-12-10T00:00:00Z", "notAfter": "2026-11-21T13:00:00Z"}), true),
        (json!({"notAfter": "1815-12-10T00:00:00Z"}), false),
        (json!({"notBefore": "2026-11-21T14:00:00Z", "notAfter": "2026-11-21T13:00:00Z"}), false),
        (json!({"notBefore": "tomorrow"}), false),
    ];
    for (times, accepted) in table {
        let mut desk = Desk::new();
        desk.new_account();
        match order(&mut desk, &times) {
            Ok(view) => {
                assert!(accepted, "{times}");
                let last = times.get("notAfter").cloned().unwrap_or_else(|| json!("2026-11-22T11:59:59Z"));
                assert_eq!(view["notAfter"], last);
            }
            Err(problem) => {
                assert!(!accepted, "{times}");
                assert!(matches!(problem, Problem::OrderTimes(_)));
            }
        }
    }
}

#[test]
fn refused_times_name_the_member_what_it_is_and_the_limit() {
    let table = [
        (
            json!({"notAfter": "2026-11-22T12:00:01Z"}),
            ["\"notAfter\" is 2026-11-22T12:00:01Z", "\"server\" of 86400 seconds", "2026-11-22T12:00:00Z"],
        ),
        (
            json!({"notBefore": "2026-11-22T12:00:00Z"}),
            ["\"notBefore\" is 2026-11-22T12:00:00Z", "\"server\" of 86400", "2026-11-22T11:59:59Z"],
        ),
        (
            json!({"notAfter": "2026-11-21T11:00:00Z"}),
            ["\"notAfter\" is 2026-11-21T11:00:00Z", "not after now", "2026-11-21T12:00:01Z"],
        ),
        (json!({"notBefore": "tomorrow"}), ["\"notBefore\" is \"tomorrow\"", "RFC 3339", "2026-"]),
    ];
    for (times, named) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let detail = order(&mut desk, &times).unwrap_err().document().detail;
        assert!(named.iter().all(|words| detail.contains(words)), "{times}: {detail}");
    }
}

/// Clients send the zero time of their language, or the empty text, in place of leaving a member out (step-cli: both
/// times).
#[test]
fn zero_times_and_empty_texts_are_members_that_were_left_out() {
    for member in ["notBefore", "notAfter"] {
        for zero in ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z", ""] {
            let mut desk = Desk::new();
            desk.new_account();
            let view = order(&mut desk, &json!({ member: zero })).unwrap();
            assert_eq!((view.get("notBefore"), view.get("notAfter")), (None, None), "{member} {zero:?}");
        }
    }
    let mut desk = Desk::new();
    desk.new_account();
    let zero = "0001-01-01T00:00:00Z";
    let view = order(&mut desk, &json!({"notBefore": zero, "notAfter": zero, "profile": "", "replaces": ""})).unwrap();
    assert_eq!((&view["profile"], view.get("replaces")), (&json!("server"), None));
    desk.prove(&view, ChallengeType::Http01);
    let resource = desk.resource(&view["url"]);
    desk.finalize(resource, &["a.test"]).unwrap();
    let request = desk.question().request;
    assert_eq!((request.not_before, request.not_after), (None, None), "the signer chooses");
}

/// Both ends of a certificate's life are included: one that begins with the order's own second would be a second too
/// long.
#[test]
fn a_life_of_exactly_the_profiles_validity_is_asked_for_within_it() {
    for (after, begins) in [(0, 1), (1, 1), (50, 50)] {
        let mut desk = Desk::new();
        desk.new_account();
        let times = json!({"notBefore": "2026-11-21T12:00:00Z", "notAfter": "2026-11-22T12:00:00Z"});
        let view = order(&mut desk, &times).unwrap();
        desk.prove(&view, ChallengeType::Http01);
        let resource = desk.resource(&view["url"]);
        let made = desk.now;
        desk.now = made.plus(after);
        desk.finalize(resource, &["a.test"]).unwrap();
        let request = desk.question().request;
        assert_eq!(
            (request.not_before, request.not_after),
            (Some(made.plus(begins)), Some(made.plus(86_400))),
            "{after}"
        );
    }
}

#[test]
fn the_signer_is_asked_for_the_times_and_the_profile_of_the_order() {
    let mut desk = Desk::new();
    desk.new_account();
    let view = order(&mut desk, &json!({"notAfter": "2026-11-21T13:00:00Z", "profile": "client"})).unwrap();
    assert_eq!(view["profile"], "client");
    desk.prove(&view, ChallengeType::Http01);
    let resource = desk.resource(&view["url"]);
    desk.finalize(resource, &["a.test"]).unwrap();
    let request = desk.question().request;
    assert_eq!(request.not_after, Some("2026-11-21T13:00:00Z".parse().unwrap()));
    assert_eq!(request.profile.as_str(), "client");
}

#[test]
fn an_order_without_a_profile_gets_that_of_the_csrs_usages() {
    let table: [(&[Usage], Option<&str>); 4] = [
        (&[], Some("server")),
        (&[Usage::ServerAuth], Some("server")),
        (&[Usage::ClientAuth], Some("client")),
        (&[Usage::ServerAuth, Usage::ClientAuth], None),
    ];
    for (usages, expected) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let view = order(&mut desk, &json!({})).unwrap();
        assert_eq!(view["profile"], "server", "the default is shown");
        desk.prove(&view, ChallengeType::Http01);
        let finalize = desk.resource(&view["finalize"]);
        let csr = Base64Url(desk.subject_key.csr_for(&["a.test"], "", usages));
        let result = desk.post(Route::Of(desk.account(), finalize), &json!({"csr": csr}));
        match expected {
            Some(profile) => {
                result.unwrap();
                assert_eq!(desk.question().request.profile.as_str(), profile);
            }
            None => assert_eq!(result, Err(Problem::CsrUsage("1.3.6.1.5.5.7.3.1, 1.3.6.1.5.5.7.3.2".to_owned()))),
        }
    }
}

#[test]
fn an_authorization_made_in_advance_serves_the_orders_that_come() {
    let mut desk = Desk::new();
    desk.new_account();
    let payload = json!({"identifier": {"type": "dns", "value": "a.test"}});
    let reply = desk.post(Route::NewAuthorization, &payload).unwrap();
    assert_eq!(reply.status, 201);
    let Resource::Authorization(id) = desk.resource(&json!(reply.location.unwrap())) else { panic!() };
    assert_eq!(order(&mut desk, &json!({})).unwrap()["status"], "pending", "it is not proved yet");

    desk.post(Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Dns01)), &json!({})).unwrap();
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    let outcome = desk.right_answer(&probe);
    desk.event(Event::Probed(probe, outcome)).unwrap();
    assert_eq!(order(&mut desk, &json!({})).unwrap()["status"], "ready");

    desk.post(Route::Of(desk.account(), Resource::Authorization(id)), &json!({"status": "deactivated"})).unwrap();
    assert_eq!(order(&mut desk, &json!({})).unwrap()["status"], "pending", "it was given up");
}

#[test]
fn a_wildcard_is_not_authorized_in_advance() {
    let mut desk = Desk::new();
    desk.new_account();
    let payload = json!({"identifier": {"type": "dns", "value": "*.a.test"}});
    assert!(matches!(desk.post(Route::NewAuthorization, &payload), Err(Problem::Identifiers(_))));
}

#[test]
fn a_proof_serves_later_orders_only_for_the_configured_time() {
    for (reuse, after, expected) in [(0, 1, "pending"), (100, 99, "ready"), (100, 100, "pending")] {
        let mut desk = Desk::new();
        desk.config.lifetimes.authorization_reuse = reuse;
        desk.new_account();
        let view = order(&mut desk, &json!({})).unwrap();
        desk.prove(&view, ChallengeType::Http01);
        desk.now = desk.now.plus(after);
        assert_eq!(order(&mut desk, &json!({})).unwrap()["status"], expected, "{reuse} {after}");
    }
}

#[test]
fn the_proof_of_a_name_does_not_serve_its_wildcard() {
    let mut desk = Desk::new();
    desk.config.lifetimes.authorization_reuse = 100;
    desk.new_account();
    let view = order(&mut desk, &json!({})).unwrap();
    desk.prove(&view, ChallengeType::Dns01);
    let (_, view) = desk.new_order(&["*.a.test"]);
    assert_eq!(view["status"], "pending");
}
