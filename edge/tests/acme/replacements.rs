//! Orders that say which certificate they replace (RFC 9773 §5).

use edge::acme::{
    problem::Problem,
    route::{Resource, Route},
    step::{Effect, Reply},
};
use serde_json::{Value, json};
use shared::{base64url, chain::Leaf, signing::Priority};

use crate::desk::{Desk, json_of};

/// The identifier of a certificate of the desk's CA (RFC 9773 §4.1).
fn id(desk: &Desk, certificate: &[u8]) -> String {
    let serial = Leaf::from_der(certificate).unwrap().serial;
    let serial = serial.to_x509().unwrap();
    let key_identifier = desk.ca.chain.issuer().key_identifier();
    format!("{}.{}", base64url::encode(key_identifier), base64url::encode(serial.as_bytes()))
}

fn order(desk: &mut Desk, name: &str, replaces: &str) -> Result<(Resource, Value), Problem> {
    let payload = json!({"identifiers": [{"type": "dns", "value": name}], "replaces": replaces});
    let reply: Reply = desk.post(Route::NewOrder, &payload)?;
    let order = desk.resource(&json!(reply.location.clone().unwrap()));
    Ok((order, json_of(&reply)))
}

#[test]
fn a_renewal_shows_what_it_replaces_and_goes_first() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let replaces = id(&desk, &certificate);
    let (renewal, view) = order(&mut desk, "a.test", &replaces).unwrap();
    assert_eq!(view["replaces"], replaces);
    desk.prove(&view, edge::acme::challenge::ChallengeType::Http01);
    desk.finalize(renewal, &["a.test"]).unwrap();
    assert_eq!(desk.question().request.priority, Priority::Renewal);
}

#[test]
fn a_certificate_is_replaced_once_unless_that_failed() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let replaces = id(&desk, &certificate);
    let (_, view) = order(&mut desk, "a.test", &replaces).unwrap();
    let problem = order(&mut desk, "a.test", &replaces).unwrap_err();
    assert_eq!((&problem, problem.status()), (&Problem::AlreadyReplaced, 409));
    assert_eq!(problem.document().kind, "urn:ietf:params:acme:error:alreadyReplaced");
    // The first renewal fails: another one may try.
    let Resource::Authorization(authorization) = desk.resource(&view["authorizations"][0]) else { panic!() };
    let route = Route::Of(desk.account(), Resource::Authorization(authorization));
    desk.post(route, &json!({"status": "deactivated"})).unwrap();
    order(&mut desk, "a.test", &replaces).unwrap();
}

#[test]
fn what_is_no_certificate_of_the_account_cannot_be_replaced() {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let good = id(&desk, &certificate);
    let (key_identifier, serial) = good.split_once('.').unwrap();
    let other_issuer = format!("{}.{serial}", base64url::encode(&[1; 20]));
    let other_serial = format!("{key_identifier}.{}", base64url::encode(&[2; 16]));
    for replaces in ["x", key_identifier, &other_issuer, &other_serial] {
        let problem = order(&mut desk, "a.test", replaces).unwrap_err();
        assert!(matches!(problem, Problem::Replaces(_)), "{replaces}: {problem:?}");
    }
    let problem = order(&mut desk, "b.test", &good).unwrap_err();
    assert!(matches!(problem, Problem::Replaces(_)), "no name in common: {problem:?}");
    assert!(order(&mut desk, "a.test", &good).is_ok(), "what was refused marked nothing");
}

#[test]
fn an_order_that_replaces_nothing_is_new() {
    let (mut desk, _) = Desk::with_a_processing_order();
    let Some(Effect::Sign(sign)) = desk.effects.pop() else { panic!() };
    assert_eq!(sign.request.priority, Priority::New);
}
