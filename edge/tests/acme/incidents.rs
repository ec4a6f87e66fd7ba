//! Incidents of other authorities, and what would have caught them here. Each test is named for its incident.

use edge::acme::{
    challenge::ChallengeType,
    dns::DnsFault,
    probe::{Evidence, ProbeFault, ProbeOutcome},
    problem::Problem,
    route::{Resource, Route},
    step::Event,
};
use rcgen::CustomExtension;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use shared::{base64url, testing::TestKey};

use crate::probe_faults::{late, lookup, unreached};
use crate::{
    desk::{Desk, config, config_object, json_of},
    tls_alpn::Presented,
};

/// A desk with an order of `a.test`, and its authorization.
fn desk() -> (Desk, Resource, edge::acme::object_id::ObjectId) {
    let mut desk = Desk::new();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    (desk, order, id)
}

/// What becomes of the authorization when this challenge is answered and this was seen.
fn outcome(kind: ChallengeType, seen: impl FnOnce(&Desk, &str) -> ProbeOutcome) -> String {
    let (mut desk, _, id) = desk();
    let route = Route::Of(desk.account(), Resource::Challenge(id, kind));
    desk.post(route, &json!({})).unwrap();
    let probe = desk.probe(id, kind);
    let seen = seen(&desk, &probe.token);
    desk.event(Event::Probed(probe, seen)).unwrap();
    desk.read(Resource::Authorization(id))["status"].as_str().unwrap().to_owned()
}

/// Boulder, 2022-01-25: the object identifier of an early draft was taken for RFC 8737's, and TLS before 1.2 was accepted.
#[test]
fn boulder_2022_an_early_drafts_identifier_proves_nothing() {
    const DRAFT: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 1, 30, 1];
    let presented = |desk: &Desk, token: &str, old: bool| {
        let expected = edge::acme::challenge::key_authorization(token, desk.account_key.jwk().thumbprint());
        if !old {
            return Ok(Evidence::Tls(Presented::right("a.test", &expected).handshake()));
        }
        let digest = Sha256::digest(&expected);
        let mut extension = CustomExtension::from_oid_content(&DRAFT, [&[0x04, 32], digest.as_slice()].concat());
        extension.set_criticality(true);
        Ok(Evidence::Tls(Presented::right("a.test", &expected).with_extensions(vec![extension]).handshake()))
    };
    let kind = ChallengeType::TlsAlpn01;
    assert_eq!(outcome(kind, |desk, token| presented(desk, token, false)), "valid");
    assert_eq!(outcome(kind, |desk, token| presented(desk, token, true)), "invalid");
}

/// step-ca, CVE-2026-30836: requests of kinds that were parsed and that nothing handled went through. Here evidence of each kind meets
/// each challenge, and only the pairs that belong together can prove anything.
#[test]
fn step_ca_2026_what_no_rule_is_for_is_refused() {
    let evidence = |kind: ChallengeType, desk: &Desk, token: &str| {
        let key_authorization = edge::acme::challenge::key_authorization(token, desk.account_key.jwk().thumbprint());
        let digest = base64url::encode(&Sha256::digest(&key_authorization));
        match kind {
            ChallengeType::Http01 => Evidence::Http { status: 200, body: key_authorization.into_bytes() },
            ChallengeType::TlsAlpn01 => Evidence::Tls(Presented::right("a.test", &key_authorization).handshake()),
            _ => Evidence::Txt(vec![digest.into_bytes()]),
        }
    };
    let kinds = [ChallengeType::Http01, ChallengeType::Dns01, ChallengeType::TlsAlpn01];
    for asked in kinds {
        for shown in kinds {
            let status = outcome(asked, |desk, token| Ok(evidence(shown, desk, token)));
            assert_eq!(status, if asked == shown { "valid" } else { "invalid" }, "{asked:?} by {shown:?}");
        }
    }
}

/// The signature reuse attack on a draft of ACME (2015): what proved a name did not say whose proof it was.
#[test]
fn signature_reuse_2015_a_proof_is_its_accounts_own() {
    let other = TestKey::new(9).jwk().thumbprint();
    let foreign = |token: &str| edge::acme::challenge::key_authorization(token, other);
    let by_http = outcome(ChallengeType::Http01, |_, token| {
        Ok(Evidence::Http { status: 200, body: foreign(token).into_bytes() })
    });
    let by_dns = outcome(ChallengeType::Dns01, |_, token| {
        Ok(Evidence::Txt(vec![base64url::encode(&Sha256::digest(foreign(token))).into_bytes()]))
    });
    let by_tls = outcome(ChallengeType::TlsAlpn01, |_, token| {
        Ok(Evidence::Tls(Presented::right("a.test", &foreign(token)).handshake()))
    });
    assert_eq!([by_http, by_dns, by_tls], ["invalid"; 3]);
}

/// HiCA, 2023: an authority put shell commands into tokens. Ours are base64url of 128 bits, whatever the randomness.
#[test]
fn hica_2023_a_token_is_base64url_and_nothing_else() {
    for _ in 0..20 {
        let (mut desk, _, id) = desk();
        let view = desk.read(Resource::Authorization(id));
        for challenge in view["challenges"].as_array().unwrap() {
            let Some(token) = challenge["token"].as_str() else { continue };
            assert_eq!(base64url::decode(token).unwrap().len(), 16);
        }
    }
}

/// Attacks on cached authorizations: a stolen account key must not come with names that were proved long ago.
#[test]
fn cached_authorizations_each_order_proves_anew_unless_the_operator_says_otherwise() {
    let (mut desk, _, _) = desk();
    let (_, first) = desk.new_order(&["b.test"]);
    desk.prove(&first, ChallengeType::Http01);
    let (_, second) = desk.new_order(&["b.test"]);
    assert_eq!(second["status"], "pending");
    assert_ne!(first["authorizations"], second["authorizations"]);
}

/// django-ca, 2026: orders that had expired between their proof and their finalization were issued.
#[test]
fn django_ca_2026_an_order_that_expired_after_its_proof_is_not_issued() {
    let (mut desk, order, _) = desk();
    let view = desk.read(order);
    desk.prove(&view, ChallengeType::Http01);
    desk.now = desk.now.plus(desk.config.lifetimes.order + 1);
    assert!(matches!(desk.finalize(order, &["a.test"]), Err(Problem::OrderNotReady(_))));
    assert!(desk.effects.is_empty(), "no signer is asked");
}

/// Vault's Kubernetes method: a misspelt audience was ignored, and so was the audience.
#[test]
fn vault_kubernetes_a_misspelt_key_of_the_configuration_is_an_error() {
    let desk = Desk::new();
    config(&desk.ca);
    let mut object = config_object(&desk.ca);
    object["kubernetes"] = json!({"prod": {"issuer": "https://prod.example", "audiences": "acme.example"}});
    assert!(serde_json::from_value::<edge::acme::config::ConfigObject>(object).is_err());
}

/// jabber.ru, 2023, and BGP hijacks: somebody on one path answers for a name. A failed look proves nothing, and a quorum of
/// perspectives is for the rest (`perspectives.rs`).
#[test]
fn jabber_ru_2023_a_look_that_failed_proves_nothing() {
    for fault in [late(), unreached(), lookup(DnsFault::Failure(2)), ProbeFault::Refused("a.test".to_owned())] {
        assert_eq!(outcome(ChallengeType::Http01, |_, _| Err(fault.clone())), "invalid", "{fault}");
    }
}

/// ultimate-ca-manager, 2026: the binding to an external account was gone around by an order with a key of its own in place of the
/// account's URL.
#[test]
fn ultimate_ca_manager_2026_an_order_names_its_account_and_brings_no_key() {
    let (mut desk, _, _) = desk();
    let nonce = desk.window.mint(&desk.secrets, desk.account());
    let header = json!({"url": desk.urls.of(Route::NewOrder), "nonce": nonce});
    let payload = json!({"identifiers": [{"type": "dns", "value": "a.test"}]}).to_string();
    let jws = TestKey::new(9).sign_jws_with_jwk(&header, payload.as_bytes()).to_string();
    let refused = desk.handle(Route::NewOrder, jws.as_bytes());
    assert!(refused.is_err(), "{:?}", refused.map(|reply| json_of(&reply)));
}
