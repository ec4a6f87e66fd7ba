//! External account bindings at newAccount (RFC 8555 §7.3.4): required, optional, off.

use std::collections::BTreeSet;

use edge::acme::{
    directory::Directory,
    external_account::{BadBinding, BindingPolicy, refusal, signers},
    pool::config::SignerConfig,
    problem::Problem,
    route::{Resource, Route},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{base64url, signing::Refusal};

use crate::desk::{Desk, json_of};

fn desk(policy: BindingPolicy) -> Desk {
    let mut desk = Desk::new();
    desk.config.external_account_binding = policy;
    desk.binding_keys = [("one".to_owned(), vec![7; 32])].into();
    desk
}

fn binding(desk: &Desk, key: [u8; 32]) -> Value {
    let header = json!({"alg": "HS256", "kid": "one", "url": desk.urls.of(Route::NewAccount)}).to_string();
    let protected = base64url::encode(header.as_bytes());
    let payload = base64url::encode(desk.account_key.jwk().canonical_json().as_bytes());
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap().chain_update(format!("{protected}.{payload}"));
    json!({"protected": protected, "payload": payload, "signature": base64url::encode(&mac.finalize().into_bytes())})
}

#[test]
fn where_it_is_required_there_is_no_account_without_one() {
    let mut desk = desk(BindingPolicy::Required);
    assert_eq!(desk.post(Route::NewAccount, &json!({})), Err(Problem::BindingRequired));
    let wrong = json!({"externalAccountBinding": binding(&desk, [8; 32])});
    assert_eq!(desk.post(Route::NewAccount, &wrong), Err(Problem::Binding(BadBinding::Mac)));
    let no_object = json!({"externalAccountBinding": "x"});
    assert_eq!(desk.post(Route::NewAccount, &no_object), Err(Problem::Binding(BadBinding::Form)));
    assert_eq!(desk.rows.commits, 0);

    let right = binding(&desk, [7; 32]);
    let reply = desk.post(Route::NewAccount, &json!({"externalAccountBinding": right})).unwrap();
    assert_eq!((reply.status, &json_of(&reply)["externalAccountBinding"]), (201, &right));
    assert_eq!(desk.read(Resource::Account)["externalAccountBinding"], right);
}

#[test]
fn an_account_that_is_there_is_found_without_one() {
    let mut desk = desk(BindingPolicy::Required);
    let right = binding(&desk, [7; 32]);
    desk.post(Route::NewAccount, &json!({"externalAccountBinding": right})).unwrap();
    for payload in [json!({}), json!({"onlyReturnExisting": true}), json!({"externalAccountBinding": 1})] {
        assert_eq!(desk.post(Route::NewAccount, &payload).unwrap().status, 200, "{payload}");
    }
}

#[test]
fn who_only_looks_for_an_account_needs_none() {
    let mut desk = desk(BindingPolicy::Required);
    let looked = desk.post(Route::NewAccount, &json!({"onlyReturnExisting": true}));
    assert_eq!(looked, Err(Problem::AccountDoesNotExist));
}

#[test]
fn where_it_is_optional_a_wrong_one_is_refused_and_none_is_fine() {
    let mut desk = desk(BindingPolicy::Optional);
    let wrong = json!({"externalAccountBinding": binding(&desk, [8; 32])});
    assert_eq!(desk.post(Route::NewAccount, &wrong), Err(Problem::Binding(BadBinding::Mac)));
    assert_eq!(desk.post(Route::NewAccount, &json!({})).unwrap().status, 201);
}

/// RFC 8555 §7.3.4 MUST NOT: a binding that was not verified is in the account.
#[test]
fn where_it_is_off_it_is_ignored_and_never_shown() {
    let mut desk = desk(BindingPolicy::Off);
    let reply = desk.post(Route::NewAccount, &json!({"externalAccountBinding": binding(&desk, [8; 32])})).unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(json_of(&reply).get("externalAccountBinding"), None);
}

/// RFC 8555 §7.3.4 MUST: who demands external account bindings says so, as `externalAccountRequired` of `meta`.
#[test]
fn the_directory_says_so_when_it_is_required() {
    for (policy, required) in
        [(BindingPolicy::Required, true), (BindingPolicy::Optional, false), (BindingPolicy::Off, false)]
    {
        let desk = desk(policy);
        let directory = serde_json::to_value(Directory::new(&desk.config, &desk.urls)).unwrap();
        assert_eq!(directory["meta"]["externalAccountRequired"], required);
    }
}

#[test]
fn every_signer_is_asked_and_the_same_one_first() {
    let one = Desk::new().config.signers.remove(0);
    let all: Vec<_> =
        (0..3).map(|number| SignerConfig { binding: format!("SIGNER_{number}"), ..one.clone() }).collect();
    let order = |key_id: &str| signers(&all, key_id).map(|signer| signer.binding.clone()).collect::<Vec<_>>();
    let mut firsts = BTreeSet::new();
    for key_id in ["a", "b", "c", ""] {
        let asked = order(key_id);
        assert_eq!(asked, order(key_id));
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 3);
        firsts.extend(asked.first().cloned());
    }
    assert_eq!(firsts.len(), 3, "accounts of all bindings are not counted by one signer");
    assert_eq!(signers(&[], "a").count(), 0);
}

#[test]
fn whether_a_key_id_is_unknown_or_its_mac_is_wrong_a_stranger_does_not_learn() {
    assert_eq!(refusal(Refusal::UnknownBinding), refusal(Refusal::BadBinding));
    assert_eq!(refusal(Refusal::BadBinding), Problem::Binding(BadBinding::Mac));
    assert!(matches!(refusal(Refusal::BindingUsed), Problem::Unauthorized(_)));
    assert!(matches!(refusal(Refusal::GrantExpired), Problem::Unauthorized(_)));
}
