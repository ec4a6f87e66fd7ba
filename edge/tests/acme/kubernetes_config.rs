//! The configuration under `kubernetes`, and the secret beside it.

use edge::acme::{
    config::{BadConfig, Config, ConfigObject},
    kubernetes::bearer::{BadBearerTokens, BearerTokens},
};
use serde_json::{Value, json};
use shared::kubernetes::{keys::KeySet, refusal::BadToken};

use crate::{
    desk::{Desk, config_object},
    workloads::TestCluster,
};

fn good() -> Value {
    json!({
        "issuer": "https://prod.example", "audience": "acme.example", "keys": {"url": "https://prod.example/openid/v1/jwks"},
        "api": {"url": "https://prod.example:6443", "binding": "KUBERNETES_PROD"}, "token_review": true,
        "names": ["{serviceaccount}.{namespace}.{cluster}.example"], "service_accounts": ["shop/*", "*/web"],
    })
}

fn read(clusters: &Value, header: bool) -> Result<Config, BadConfig> {
    let mut object = config_object(&Desk::new().ca);
    if header {
        object["rate_limits"] =
            json!({"client_address_header": "CF-Connecting-IP", "client_address_set_by_proxy": true});
    }
    object["kubernetes"] = clusters.clone();
    serde_json::from_value::<ConfigObject>(object).unwrap().try_into()
}

#[test]
fn wrong_clusters_are_refused_at_start_by_name() {
    assert!(read(&json!({"prod": good()}), false).is_ok());
    let with = |member: &str, value: Value| {
        let mut cluster = good();
        cluster[member] = value;
        json!({ "prod": cluster })
    };
    let table = [
        (json!({"a.b": good()}), "kubernetes.a.b: a cluster's name is a DNS label"),
        (with("issuer", json!("")), "kubernetes.prod: issuer: must not be empty"),
        (with("audience", json!("")), "kubernetes.prod: audience: must not be empty"),
        (json!({"prod": good(), "twin": good()}), "kubernetes.twin: issuer: another cluster has it already"),
        (with("keys", json!({"url": "http://prod.example/"})), "kubernetes.prod: keys.url: https://"),
        (with("keys", json!("{}")), "kubernetes.prod: keys: not a usable JWK set"),
        (with("api", json!({"url": "https://prod.example/"})), "kubernetes.prod: api.url: https://"),
        (with("api", json!({"url": "http://127.0.0.1:6443"})), "kubernetes.prod: api.url: https://"),
        (with("api", Value::Null), "kubernetes.prod: api: needed for token_review and pod_address"),
        (with("names", json!([])), "kubernetes.prod: names: at least one template"),
        (with("names", json!(["x-{namespace}.example"])), "kubernetes.prod: names: \"x-{namespace}.example\": "),
        (
            with("names", json!(["{serviceaccount}.example"])),
            "kubernetes.prod: names: \"{serviceaccount}.example\": without",
        ),
        (
            with("service_accounts", json!(["shop"])),
            "kubernetes.prod: service_accounts: \"shop\" is not NAMESPACE/NAME",
        ),
        (with("service_accounts", json!(["shop*/web"])), "kubernetes.prod: service_accounts: \"shop*/web\" is not"),
        (with("max_token_seconds", json!(0)), "kubernetes.prod: max_token_seconds: 1 to 86400"),
        (with("pod_address", json!(true)), "kubernetes.prod: pod_address: true for one cluster at most"),
    ];
    for (clusters, words) in table {
        let refused = read(&clusters, false).unwrap_err().to_string();
        assert!(refused.starts_with(words), "{words}: {refused}");
    }
    let mut unproved = with("token_review", json!(false));
    unproved["prod"]["keys"] = Value::Null;
    assert!(read(&unproved, false).unwrap_err().to_string().contains("keys, or token_review"));
}

#[test]
fn a_fixed_name_is_for_named_namespaces_and_addresses_are_of_one_cluster() {
    let mut cluster = good();
    cluster["names"] = json!(["api.example"]);
    assert!(read(&json!({"prod": cluster}), false).is_err());
    cluster["service_accounts"] = json!(["shop/api"]);
    assert!(read(&json!({"prod": cluster}), false).is_ok());
    let mut first = good();
    first["pod_address"] = json!(true);
    assert!(read(&json!({"prod": first}), true).is_ok());
    let mut second = first.clone();
    second["issuer"] = json!("https://dev.example");
    assert!(read(&json!({"prod": first, "dev": second}), true).is_err());
}

#[test]
fn unknown_keys_are_refused() {
    for (place, key) in [("", "token_reviews"), ("api", "secret"), ("keys", "secret")] {
        let mut cluster = good();
        if place.is_empty() {
            cluster[key] = json!(true);
        } else {
            cluster[place][key] = json!("x");
        }
        let mut object = config_object(&Desk::new().ca);
        object["kubernetes"] = json!({ "prod": cluster });
        assert!(serde_json::from_value::<ConfigObject>(object).is_err(), "{place}.{key}");
    }
}

#[test]
fn each_api_server_has_its_bearer_token_and_none_is_shown() {
    let config = read(&json!({"prod": good()}), false).unwrap();
    let clusters = &config.scopes.open.kubernetes;
    let tokens = BearerTokens::parse(r#"{"prod": "s3cret", "old": "x"}"#, clusters.with_api()).unwrap();
    assert_eq!((tokens.of("prod"), tokens.of("dev")), (Some("s3cret"), None));
    assert!(!format!("{tokens:?}").contains("s3cret"));
    let refused = |secret| BearerTokens::parse(secret, clusters.with_api()).unwrap_err();
    assert_eq!(refused(r#"{"dev": "x"}"#), BadBearerTokens::Missing("prod".to_owned()));
    for secret in ["", "[]", r#"{"prod": 1}"#, r#"{"prod": ""}"#, r#"{"prod": "a\r\nb"}"#] {
        assert_eq!(refused(secret), BadBearerTokens::Form, "{secret}");
    }
}

#[test]
fn a_key_set_keeps_what_signs_tokens_and_no_set_has_private_keys() {
    let key = |members: &Value| {
        let mut key = TestCluster::new(9).keys()["keys"][0].clone();
        for (name, value) in members.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    };
    let parse = |keys: &[Value]| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let plain = key(&json!({}));
    // What has another use, another algorithm, no id, or is not known is left out.
    for other in [
        key(&json!({"use": "enc", "kid": "k2"})),
        key(&json!({"alg": "RS256", "kid": "k2"})),
        key(&json!({"kid": null})),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "k2", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
        json!({"kty": "new", "kid": "k2"}),
    ] {
        let set = parse(&[plain.clone(), other.clone()]).unwrap();
        assert!(set.has("k1") && !set.has("k2"), "{other}");
        assert_eq!(parse(&[other]).unwrap_err(), BadToken::KeySet);
    }
    assert!(parse(&[key(&json!({"x5c": ["MIIB"], "key_ops": ["verify"]}))]).unwrap().has("k1"));
    assert!(parse(&[plain.clone(), key(&json!({"d": "AQ"}))]).is_err());
    assert!(parse(&[plain.clone(), json!({"kty": "oct", "k": "AQ", "kid": "k2"})]).is_err());
    assert!(parse(&vec![plain; 33]).is_err());
}
