//! Grants that the signer has not made, or not for this.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    base64url,
    grant::GrantToken,
    signing::{Grant, IssueRequest, Refusal},
    testing::TestKey,
};

use super::{Attempt, Stage};
use crate::{
    client::{csr, request},
    grants::{Key, NAME, bind, bindable, new_binding, opens},
    site::Site,
};

/// A grant with this content, under this key.
fn sealed(content: &Value, key: &[u8]) -> String {
    let content = base64url::encode(content.to_string().as_bytes());
    let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update("colophon grant ").chain_update(&content);
    format!("{content}.{}", base64url::encode(&mac.finalize().into_bytes()))
}

fn asked(account: &TestKey, names: &[&str], token: impl Into<String>) -> IssueRequest {
    IssueRequest { grant: Grant::Bound(GrantToken(token.into())), ..request(1, account, &csr(names), names) }
}

#[test]
fn rights_come_from_the_signers_own_grants_alone() {
    let site = Site::new(&["a1"]);
    bindable(&site);
    let (key, other) = (new_binding(&site, ""), new_binding(&site, ""));
    let stage = Stage::of(site);
    let (account, thief) = (TestKey::new(1), TestKey::new(66));
    let token = bind(&stage.edge, &opens(&key, &account)).unwrap().token.0;
    let (content, mac) = token.split_once('.').unwrap();
    let content: Value = serde_json::from_slice(&base64url::decode(content).unwrap()).unwrap();
    let (ours, theirs) = ([b'1'; 32], [b'2'; 32]);
    let with = |member: &str, value: Value| {
        let mut content = content.clone();
        content[member] = value;
        content
    };
    // What was changed, under the MAC of what was there before.
    let altered = |content: &Value| format!("{}.{mac}", base64url::encode(content.to_string().as_bytes()));
    // Not made a moment ago: the binding would be on its way to this signer.
    let mut nobodys = with("binding", json!("nobody"));
    nobodys["issued"] = json!("2001-01-01T00:00:00Z");
    let names = [NAME];
    let bad = |name, token: String| Attempt::issue(name, Refusal::BadGrant, &asked(&account, &names, token));
    let never = |name, request: &IssueRequest| Attempt::issue(name, Refusal::NotPermitted, request);
    let thumbprint = serde_json::to_value(base64url::encode(&thief.jwk().thumbprint().0)).unwrap();
    let thiefs = asked(&thief, &names, token.clone());
    stage.try_each(&[
        bad("none", String::new()),
        bad("random bytes", base64url::encode(&[0x5a; 200])),
        bad(
            "random bytes with a MAC",
            format!("{}.{}", base64url::encode(&[0x5a; 200]), base64url::encode(&[0xa5; 32])),
        ),
        bad("the content alone", token.split_once('.').unwrap().0.to_owned()),
        bad("an empty MAC", format!("{}.", token.split_once('.').unwrap().0)),
        bad("half of the MAC", token[..token.len() - 20].to_owned()),
        bad("more behind the MAC", format!("{token}AAAA")),
        bad("two MACs", format!("{token}.{mac}")),
        bad("a very long one", format!("{token}{}", "A".repeat(4000))),
        bad("the secret of another deployment", sealed(&content, &theirs)),
        bad("an empty secret", sealed(&content, b"")),
        bad("another scope", altered(&with("scope", json!("open")))),
        bad("another binding", altered(&with("binding", json!(other.kid)))),
        bad("another account", altered(&with("account", thumbprint))),
        bad("a later end", altered(&with("expires", json!("2049-12-31T23:59:59Z")))),
        bad("a member more", sealed(&with("admin", json!(true)), &ours)),
        bad("another version", sealed(&with("version", json!(2)), &ours)),
        bad("a scope that the binding does not give", sealed(&with("scope", json!("open")), &ours)),
        Attempt::issue("another account's grant", Refusal::BadGrant, &thiefs),
        Attempt::issue(
            "one that has expired",
            Refusal::GrantExpired,
            &asked(&account, &names, sealed(&with("expires", json!("2001-01-01T00:00:00Z")), &ours)),
        ),
        Attempt::issue(
            "a binding that there never was",
            Refusal::UnknownBinding,
            &asked(&account, &names, sealed(&nobodys, &ours)),
        ),
        never(
            "no grant, for a scope that is not open",
            &IssueRequest { grant: Grant::Open, ..asked(&account, &names, "") },
        ),
        never("a name of another scope", &asked(&account, &["host.test"], token.clone())),
        never("a name beside the scope", &asked(&account, &["host.evilclosed.example"], token.clone())),
        never("a wildcard that the scope does not have", &asked(&account, &["*.closed.example"], token.clone())),
    ]);
}

#[test]
fn a_signer_without_bindings_knows_no_grant() {
    let stage = Stage::new();
    let (account, content) = (TestKey::new(1), json!({"version": 1, "scope": "open"}));
    let token = sealed(&content, &[b'1'; 32]);
    stage.try_each(&[Attempt::issue("a grant", Refusal::BadGrant, &asked(&account, &["host.test"], token))]);
    let key = Key { kid: "nobody".into(), hmac: vec![7; 32] };
    assert_eq!(bind(&stage.edge, &opens(&key, &account)).unwrap_err(), Refusal::UnknownBinding);
}
