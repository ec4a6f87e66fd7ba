//! Scopes of accounts with an external account binding.

use edge::acme::{
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    kubernetes::bearer::{BadBearerTokens, BearerTokens},
    problem::Problem,
    record::{AuthorizationRecord, Record as _},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Key,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{base64url, grant::GrantToken, signing::Grant};

use crate::desk::{Desk, config_object, json_of};

fn config(desk: &Desk, scopes: Value) -> Result<Config, BadConfig> {
    let mut object = config_object(&desk.ca);
    object["external_account_binding"] = json!("optional");
    object["scopes"] = scopes;
    serde_json::from_value::<ConfigObject>(object).unwrap().try_into()
}

/// An account with the binding `one`, in a scope with these members.
fn bound(scope: Value) -> Desk {
    let mut desk = Desk::new();
    let mut one = json!({
        "bindings": ["one"], "identifiers": {"dns_suffixes": ["one.example"], "wildcards": true, "per_order": 2},
    });
    for (name, value) in scope.as_object().unwrap() {
        one[name] = value.clone();
    }
    desk.config = config(&desk, json!({"one": one})).unwrap();
    desk.binding_keys = [("one".to_owned(), vec![7; 32])].into();
    let header = json!({"alg": "HS256", "kid": "one", "url": desk.urls.of(Route::NewAccount)}).to_string();
    let protected = base64url::encode(header.as_bytes());
    let payload = base64url::encode(desk.account_key.jwk().canonical_json().as_bytes());
    let mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap().chain_update(format!("{protected}.{payload}"));
    let signature = base64url::encode(&mac.finalize().into_bytes());
    let binding = json!({"protected": protected, "payload": payload, "signature": signature});
    assert_eq!(desk.post(Route::NewAccount, &json!({"externalAccountBinding": binding})).unwrap().status, 201);
    desk
}

fn new_order(desk: &mut Desk, name: &str) -> Result<Value, Problem> {
    desk.post(Route::NewOrder, &json!({"identifiers": [{"type": "dns", "value": name}]})).map(|reply| json_of(&reply))
}

#[test]
fn a_bound_account_has_the_identifiers_of_its_scope_and_no_others() {
    let mut desk = bound(json!({}));
    assert_eq!(new_order(&mut desk, "a.one.example").unwrap()["status"], "pending");
    assert!(matches!(new_order(&mut desk, "a.test"), Err(Problem::Identifiers(_))));
    let mut other = Desk::new();
    other.config = desk.config.clone();
    other.new_account();
    assert_eq!(new_order(&mut other, "a.test").unwrap()["status"], "pending");
    assert!(matches!(new_order(&mut other, "a.one.example"), Err(Problem::Identifiers(_))));
}

#[test]
fn only_the_challenges_of_the_scope_are_offered_and_answered() {
    let mut desk = bound(json!({"challenges": ["dns-01"], "networks": ["10.0.0.0/8"]}));
    let order = new_order(&mut desk, "a.one.example").unwrap();
    let Resource::Authorization(id) = desk.resource(&order["authorizations"][0]) else { panic!() };
    let kinds = |desk: &mut Desk| {
        let challenges = desk.read(Resource::Authorization(id))["challenges"].as_array().unwrap().clone();
        challenges.iter().map(|challenge| challenge["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&mut desk), ["dns-01"]);
    let answer = |desk: &mut Desk, kind| {
        let route = Route::Of(desk.account(), Resource::Challenge(id, kind));
        desk.post(route, &json!({})).map(|reply| reply.status)
    };
    assert_eq!(answer(&mut desk, ChallengeType::Http01), Err(Problem::NotFound));
    assert_eq!(answer(&mut desk, ChallengeType::Dns01), Ok(200));
    let Some(Effect::Probe(probe)) = desk.effects.pop() else { panic!() };
    let networks = &desk.config.scopes.named(&probe.scope).networks;
    assert!(networks.permit("10.1.2.3".parse().unwrap()));
    assert!(!desk.config.scopes.open.networks.permit("10.1.2.3".parse().unwrap()));
}

/// The names of the challenges that are offered for a name where `validation.challenges` is this.
fn offered(challenges: Option<Value>, identities: Value, name: &str) -> Vec<String> {
    let mut desk = Desk::new();
    let mut object = config_object(&desk.ca);
    object["caa_identities"] = identities;
    if let Some(challenges) = challenges {
        object["validation"]["challenges"] = challenges;
    }
    desk.config = serde_json::from_value::<ConfigObject>(object).unwrap().try_into().unwrap();
    desk.new_account();
    let (_, order) = desk.new_order(&[name]);
    let resource = desk.resource(&order["authorizations"][0]);
    let view = desk.read(resource);
    let types = view["challenges"].as_array().unwrap().iter();
    types.map(|challenge| challenge["type"].as_str().unwrap().to_owned()).collect()
}

/// Older clients refuse an authorization with a challenge that has no token, as dns-persist-01 has none.
#[test]
fn the_open_scope_offers_what_every_client_can_parse_and_what_the_operator_lists() {
    let ours = || json!(["ca.test"]);
    assert_eq!(offered(None, ours(), "a.test"), ["http-01", "dns-01", "tls-alpn-01"]);
    assert_eq!(offered(None, ours(), "*.a.test"), ["dns-01"]);
    let listed = || Some(json!(["dns-persist-01", "dns-account-01", "dns-01"]));
    assert_eq!(offered(listed(), ours(), "a.test"), ["dns-01", "dns-account-01", "dns-persist-01"]);
    assert_eq!(offered(Some(json!(["http-01"])), json!([]), "a.test"), ["http-01"]);
}

#[test]
fn a_scope_without_challenges_of_its_own_has_those_of_the_open_one() {
    let desk = Desk::new();
    let identifiers = json!({"dns_suffixes": ["one.example"], "wildcards": true, "per_order": 2});
    let mut object = config_object(&desk.ca);
    object["external_account_binding"] = json!("optional");
    object["validation"]["challenges"] = json!(["dns-01"]);
    object["scopes"] = json!({
        "one": {"bindings": ["one"], "identifiers": identifiers},
        "two": {"bindings": ["two"], "identifiers": identifiers, "challenges": ["http-01", "dns-account-01"]},
    });
    let config = Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap()).unwrap();
    let of = |name: &str| config.scopes.named(&serde_json::from_value(json!(name)).unwrap()).challenges.clone();
    assert_eq!(of("one"), [ChallengeType::Dns01].into());
    assert_eq!(of("two"), [ChallengeType::Http01, ChallengeType::DnsAccount01].into());
}

#[test]
fn challenges_that_cannot_be_offered_are_refused_at_start_by_their_key() {
    let desk = Desk::new();
    let refused = |challenges: Value, scopes: Value| {
        let mut object = config_object(&desk.ca);
        object["external_account_binding"] = json!("optional");
        object["validation"]["challenges"] = challenges;
        object["scopes"] = scopes;
        Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap()).unwrap_err().to_string()
    };
    assert_eq!(refused(json!([]), json!({})), "validation.challenges: at least one, such as \"http-01\"");
    let persistent = json!(["dns-01", "dns-persist-01"]);
    assert!(
        refused(persistent.clone(), json!({}))
            .starts_with("validation.challenges: dns-persist-01 needs caa_identities")
    );
    let identifiers = json!({"dns_suffixes": ["one.example"], "wildcards": true, "per_order": 2});
    let scopes = json!({"one": {"bindings": ["one"], "identifiers": identifiers, "challenges": persistent}});
    assert!(
        refused(json!(["dns-01"]), scopes).starts_with("scopes.one.challenges: dns-persist-01 needs caa_identities")
    );
    let mut object = config_object(&desk.ca);
    object["validation"]["challenges"] = json!(["http-02"]);
    assert!(serde_json::from_value::<ConfigObject>(object).is_err(), "an unknown challenge");
}

#[test]
fn a_pre_approved_scope_gives_orders_that_are_ready_and_a_certificate() {
    let mut desk = bound(json!({"pre_approved": true}));
    let order = new_order(&mut desk, "*.one.example").unwrap();
    assert_eq!(order["status"], "ready");
    let Resource::Authorization(id) = desk.resource(&order["authorizations"][0]) else { panic!() };
    let authorization = desk.read(Resource::Authorization(id));
    assert_eq!(authorization["status"], "valid");
    assert_eq!(authorization["wildcard"], true);
    assert_eq!(authorization["challenges"], json!([]));

    let Resource::Finalize(id) = desk.resource(&order["finalize"]) else { panic!() };
    desk.finalize(Resource::Order(id), &["*.one.example"]).unwrap();
    let Some(Effect::Sign(sign)) = desk.effects.pop() else { panic!() };
    assert_eq!(sign.request.grant, Grant::Bound(GrantToken("first".into())));
    let methods: Vec<_> = sign.request.identifiers.iter().map(|proven| proven.method.as_str()).collect();
    assert_eq!(methods, ["pre-approved"]);
    let reply = desk.signer_answer(&sign);
    desk.event(Event::Signed(sign.order, Ok(reply))).unwrap();
    assert_eq!(desk.read(Resource::Order(sign.order))["status"], "valid");
}

#[test]
fn pre_approval_ends_with_the_authorization_and_with_the_scope() {
    let mut desk = bound(json!({"pre_approved": true}));
    let first = new_order(&mut desk, "a.one.example").unwrap();
    let second = new_order(&mut desk, "a.one.example").unwrap();
    assert_eq!(first["authorizations"], second["authorizations"], "one authorization serves both");
    let Resource::Authorization(id) = desk.resource(&first["authorizations"][0]) else { panic!() };
    let route = Route::Of(desk.account(), Resource::Authorization(id));
    let ended = json_of(&desk.post(route, &json!({"status": "deactivated"})).unwrap());
    assert_eq!(ended["status"], "deactivated");
    let third = new_order(&mut desk, "a.one.example").unwrap();
    assert_ne!(first["authorizations"], third["authorizations"]);

    let scopes = json!({"one": {"bindings": ["one"],
        "identifiers": {"dns_suffixes": ["one.example"], "wildcards": true, "per_order": 2}}});
    desk.config = config(&desk, scopes).unwrap();
    let fourth = new_order(&mut desk, "a.one.example").unwrap();
    assert_eq!(fourth["status"], "pending", "what was approved is not used again where nothing is approved any more");
}

#[test]
fn an_authorization_in_advance_is_valid_at_once_in_a_pre_approved_scope() {
    let mut desk = bound(json!({"pre_approved": true}));
    let payload = json!({"identifier": {"type": "dns", "value": "b.one.example"}});
    let reply = desk.post(Route::NewAuthorization, &payload).unwrap();
    assert_eq!(json_of(&reply)["status"], "valid");
    let Resource::Authorization(id) = desk.resource(&json!(reply.location.unwrap())) else { panic!() };
    let record = AuthorizationRecord::load(&desk.rows, Key::Authorization(id)).unwrap().unwrap();
    assert_eq!(record.state.proof(), Some(("pre-approved", desk.now)));
}

#[test]
fn wrong_scopes_are_refused_at_start_by_name() {
    let desk = Desk::new();
    let identifiers = json!({"dns_suffixes": ["a.test"], "wildcards": false, "per_order": 1});
    let scope = |members: Value| {
        let mut scope = json!({"bindings": ["one"], "identifiers": identifiers});
        for (name, value) in members.as_object().unwrap() {
            scope[name] = value.clone();
        }
        json!({"web": scope})
    };
    let words = |scopes| config(&desk, scopes).unwrap_err().to_string();
    let table = [
        (scope(json!({"bindings": []})), "scopes.web: bindings: at least one key id, under a name that is not empty"),
        (scope(json!({"challenges": []})), "scopes.web: challenges: at least one, unless pre_approved is true"),
        (scope(json!({"networks": ["x"]})), "scopes.web: networks: \"x\": "),
        (
            json!({"a": scope(json!({}))["web"], "b": scope(json!({}))["web"]}),
            "scopes.b: bindings: \"one\" has another scope already",
        ),
    ];
    for (scopes, expected) in table {
        assert!(words(scopes).starts_with(expected), "{expected}");
    }
    let mut object = config_object(&desk.ca);
    object["scopes"] = scope(json!({}));
    let refused = Config::try_from(serde_json::from_value::<ConfigObject>(object.clone()).unwrap());
    assert_eq!(refused.unwrap_err(), BadConfig::ScopesWithoutBindings);
    object["scopes"]["web"]["prapproved"] = json!(true);
    assert!(serde_json::from_value::<ConfigObject>(object).is_err());
}

#[test]
fn the_clusters_of_a_scope_need_their_bearer_tokens_as_those_of_the_deployment_do() {
    let desk = Desk::new();
    let cluster = json!({"issuer": "https://prod.example", "audience": "acme.example", "names": ["{namespace}.one.example"],
        "token_review": true, "api": {"url": "https://api.example:6443"}});
    let scope = json!({"bindings": ["one"], "kubernetes": {"prod": cluster},
        "identifiers": {"dns_suffixes": ["one.example"], "wildcards": false, "per_order": 1}});
    let config = config(&desk, json!({ "one": scope })).unwrap();
    assert_eq!(config.scopes.open.kubernetes.with_api().count(), 0, "the open scope has none of them");
    assert_eq!(config.scopes.clusters_with_api().collect::<Vec<_>>(), ["prod"]);
    let parse = |secret| BearerTokens::parse(secret, config.scopes.clusters_with_api());
    assert_eq!(parse("{}").unwrap_err(), BadBearerTokens::Missing("prod".to_owned()));
    assert_eq!(parse(r#"{"prod": "a-token"}"#).unwrap().of("prod"), Some("a-token"));
}

#[test]
fn a_renewed_grant_is_kept_and_shown_and_a_started_order_keeps_its_own() {
    let mut desk = bound(json!({"pre_approved": true}));
    let grant_of = |desk: &mut Desk, name: &str| {
        let order = new_order(desk, name).unwrap();
        let Resource::Finalize(id) = desk.resource(&order["finalize"]) else { panic!() };
        desk.finalize(Resource::Order(id), &[name]).unwrap();
        let Some(Effect::Sign(sign)) = desk.effects.pop() else { panic!() };
        (id, sign.request.grant)
    };
    let bound = |token: &str| Grant::Bound(GrantToken(token.into()));
    let (first, grant) = grant_of(&mut desk, "a.one.example");
    assert_eq!(grant, bound("first"));
    desk.renewed = Some(desk.grant("second"));
    assert_eq!(grant_of(&mut desk, "b.one.example").1, bound("second"));
    desk.renewed = None;
    assert_eq!(grant_of(&mut desk, "c.one.example").1, bound("second"));
    // The same order asks the same question, however often.
    desk.now = desk.now.plus(10);
    desk.event(Event::Due(Key::Order(first))).unwrap();
    let Some(Effect::Sign(sign)) = desk.effects.pop() else { panic!() };
    assert_eq!(sign.request.grant, bound("first"));
}
