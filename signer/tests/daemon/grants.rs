//! External account bindings at the signer: what a client must have signed to get a grant, and what a grant gives. The edge of
//! these tests holds a good certificate and tries what a taken-over edge could.

use std::{fs, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::{
    base64url,
    grant::{BIND_PATH, BindReply, BindRequest, Bound, GrantToken},
    jws::Flattened,
    signing::{Grant, IssueReply, IssueRequest, Refusal},
    testing::TestKey,
};

use crate::{
    client::{Edge, csr, request},
    site::{BASE_URL, Daemon, Site, eventually},
};

pub(crate) const NAME: &str = "host.closed.example";

/// What `signer eab new` has handed out.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) hmac: Vec<u8>,
}

fn site() -> Site {
    let site = Site::new(&["a1"]);
    bindable(&site);
    site
}

/// Adds a scope that only bound accounts may use.
pub(crate) fn bindable(site: &Site) {
    site.write_secret("grant-1", &"1".repeat(32));
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let more = r#"
[grants]
keys = ["grant-1"]
lifetime_seconds = 3600
[[scope]]
name = "closed"
open = false
dns_suffixes = ["closed.example"]
wildcards = false
methods = ["dns-01"]
profiles = ["server"]
"#;
    fs::write(site.path("signer.toml"), text + more).unwrap();
}

pub(crate) fn new_binding(site: &Site, more: &str) -> Key {
    let made = site.signer_ok(&format!("eab new --config signer.toml --scope closed --json {more}"));
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["directories"], json!([format!("{BASE_URL}/directory")]));
    let hmac = base64url::decode(made["hmac_key"].as_str().unwrap()).unwrap();
    Key { kid: made["kid"].as_str().unwrap().to_owned(), hmac }
}

fn new_account_url() -> String {
    format!("{BASE_URL}/acme/new-account")
}

fn external_binding(key: &Key, account: &TestKey, url: &str) -> Value {
    let header = json!({"alg": "HS256", "kid": key.kid, "url": url}).to_string();
    let protected = base64url::encode(header.as_bytes());
    let payload = base64url::encode(account.jwk().canonical_json().as_bytes());
    let mac = Hmac::<Sha256>::new_from_slice(&key.hmac).unwrap().chain_update(format!("{protected}.{payload}"));
    json!({"protected": protected, "payload": payload, "signature": base64url::encode(&mac.finalize().into_bytes())})
}

/// A newAccount request of this account with that binding.
fn new_account(account: &TestKey, binding: &Value, url: &str) -> BindRequest {
    let payload = json!({"termsOfServiceAgreed": true, "externalAccountBinding": binding}).to_string();
    let jws = account.sign_jws_with_jwk(&json!({"nonce": "bm9uY2U", "url": url}), payload.as_bytes());
    BindRequest::NewAccount { request: serde_json::from_value(jws).unwrap() }
}

pub(crate) fn opens(key: &Key, account: &TestKey) -> BindRequest {
    new_account(account, &external_binding(key, account, &new_account_url()), &new_account_url())
}

/// A keyChange request as clients send it.
fn key_change(old: &TestKey, new: &TestKey, named: &TestKey, grant: &GrantToken) -> BindRequest {
    let (url, account) = (format!("{BASE_URL}/acme/key-change"), format!("{BASE_URL}/acme/account/1"));
    let inner = json!({"account": account, "oldKey": named.jwk()}).to_string();
    let inner = new.sign_jws_with_jwk(&json!({"url": url}), inner.as_bytes()).to_string();
    let outer = old.sign_jws(&json!({"kid": account, "nonce": "bm9uY2U", "url": url}), inner.as_bytes());
    BindRequest::KeyChange { request: serde_json::from_value(outer).unwrap(), grant: grant.clone() }
}

pub(crate) fn bind(edge: &Edge, request: &BindRequest) -> Result<Bound, Refusal> {
    let (status, answer) = edge.post_to(BIND_PATH, &serde_json::to_vec(request).unwrap()).unwrap();
    match serde_json::from_str(&answer).unwrap() {
        BindReply::Bound(bound) => {
            assert_eq!(status, 200);
            Ok(bound)
        }
        BindReply::Refused(refused) => {
            assert_eq!(status, refused.reason.http_status());
            Err(refused.reason)
        }
    }
}

fn finalize(number: usize, account: &TestKey, grant: Grant) -> IssueRequest {
    IssueRequest { grant, ..request(number, account, &csr(&[NAME]), &[NAME]) }
}

fn issue(edge: &Edge, number: usize, account: &TestKey, token: &GrantToken) -> Result<(), Refusal> {
    let asked = finalize(number, account, Grant::Bound(token.clone()));
    let started = crate::site::stopwatch();
    while started.elapsed() < crate::site::HANG {
        match edge.issue(&asked).unwrap() {
            IssueReply::Issued(_) => return Ok(()),
            IssueReply::Refused(refused) => return Err(refused.reason),
            IssueReply::Queued { .. } | IssueReply::Settled { .. } => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    panic!("never issued")
}

fn start(site: &Site) -> (Daemon, Edge) {
    (site.serve(), Edge::new(site))
}

#[test]
fn a_bound_account_gets_the_names_of_its_scope_and_nobody_else_does() {
    let site = site();
    let key = new_binding(&site, "");
    let (_daemon, edge) = start(&site);
    let (account, other) = (TestKey::new(1), TestKey::new(2));
    let bound = bind(&edge, &opens(&key, &account)).unwrap();
    assert_eq!((bound.binding, bound.scope.as_str()), (key.kid, "closed"));
    assert_eq!(issue(&edge, 1, &account, &bound.token), Ok(()));
    // A token is of no use to another account's key, and there are no rights without one.
    assert_eq!(issue(&edge, 2, &other, &bound.token), Err(Refusal::BadGrant));
    let open = edge.issue(&finalize(3, &account, Grant::Open)).unwrap();
    assert!(matches!(open, IssueReply::Refused(refused) if refused.reason == Refusal::NotPermitted));
    // Neither is one that the edge makes itself, or whose content it has changed.
    let (content, mac) = bound.token.0.split_once('.').unwrap();
    let content = String::from_utf8(base64url::decode(content).unwrap()).unwrap();
    let widened = base64url::encode(content.replace("closed", "opened").as_bytes());
    for forged in [format!("{widened}.{mac}"), format!("{widened}."), widened.clone(), String::new()] {
        assert_eq!(issue(&edge, 4, &account, &GrantToken(forged)), Err(Refusal::BadGrant));
    }
}

#[test]
fn the_policy_explains_what_a_binding_and_an_account_get() {
    let site = site();
    let key = new_binding(&site, "");
    let (_daemon, edge) = start(&site);
    let account = TestKey::new(1);
    bind(&edge, &opens(&key, &account)).unwrap();
    let explain = |who: &str| {
        let said = site.signer(&format!("policy explain --config signer.toml --profile server {who} {NAME}"));
        (said.status.code(), String::from_utf8(said.stdout).unwrap(), String::from_utf8(said.stderr).unwrap())
    };
    let (binding, thumbprint) = (format!("--binding {}", key.kid), account.jwk().thumbprint());
    for who in [binding.clone(), format!("--account={thumbprint}")] {
        let (code, said, _) = explain(&who);
        assert_eq!(code, Some(0), "{who}: {said}");
        assert!(said.contains("scope closed: gives it\n"), "{who}: {said}");
    }
    assert_eq!(explain("").0, Some(1));
    let stranger = TestKey::new(2).jwk().thumbprint();
    assert!(explain(&format!("--account={stranger}")).2.contains("the journal binds no account"));
    assert!(explain("--binding nobody").2.contains("there is no binding \"nobody\""));
    site.signer_ok(&format!("eab revoke --config signer.toml {}", key.kid));
    let (code, said, _) = explain(&binding);
    assert_eq!(code, Some(1));
    assert!(said.contains("scope closed: does not give it: the binding was revoked\n"), "{said}");
}

/// RFC 8555 §7.3.4, by a signer that trusts no edge.
#[test]
fn what_the_client_has_not_signed_binds_no_account() {
    let site = site();
    let key = new_binding(&site, "");
    let (_daemon, edge) = start(&site);
    let (account, other, url) = (TestKey::new(1), TestKey::new(2), new_account_url());
    let wrong = Key { kid: key.kid.clone(), hmac: vec![7; 32] };
    let unknown = Key { kid: "nobody".into(), hmac: key.hmac.clone() };
    let elsewhere = "https://elsewhere.example/acme/new-account";
    assert_eq!(bind(&edge, &opens(&wrong, &account)).unwrap_err(), Refusal::BadBinding);
    assert_eq!(bind(&edge, &opens(&unknown, &account)).unwrap_err(), Refusal::UnknownBinding);
    // Another account's binding, one for another URL, none at all.
    let taken = external_binding(&key, &account, &url);
    assert_eq!(bind(&edge, &new_account(&other, &taken, &url)).unwrap_err(), Refusal::BadBinding);
    let for_elsewhere = external_binding(&key, &account, elsewhere);
    assert_eq!(bind(&edge, &new_account(&account, &for_elsewhere, &url)).unwrap_err(), Refusal::BadBinding);
    assert_eq!(bind(&edge, &new_account(&account, &for_elsewhere, elsewhere)).unwrap_err(), Refusal::UnknownEdge);
    assert_eq!(bind(&edge, &new_account(&account, &Value::Null, &url)).unwrap_err(), Refusal::BadBinding);
    // A request that was changed after the account's key had signed it.
    let BindRequest::NewAccount { request } = opens(&key, &account) else { unreachable!() };
    let changed = Flattened { payload: base64url::encode(b"{}"), ..request };
    assert_eq!(bind(&edge, &BindRequest::NewAccount { request: changed }).unwrap_err(), Refusal::BadEvidence);
    assert!(site.events("bound").is_empty());
}

#[test]
fn a_grant_follows_a_key_change_that_both_keys_have_signed() {
    let site = site();
    let key = new_binding(&site, "--uses 1");
    let (_daemon, edge) = start(&site);
    let (old, new, thief) = (TestKey::new(1), TestKey::new(2), TestKey::new(3));
    let grant = bind(&edge, &opens(&key, &old)).unwrap().token;
    let refusal = |request| bind(&edge, &request).unwrap_err();
    assert_eq!(refusal(key_change(&thief, &thief, &old, &grant)), Refusal::BadEvidence, "not signed by the old key");
    assert_eq!(refusal(key_change(&thief, &new, &thief, &grant)), Refusal::BadGrant, "another account's grant");
    // It costs no use, the first time or again.
    let followed = bind(&edge, &key_change(&old, &new, &old, &grant)).unwrap().token;
    bind(&edge, &key_change(&old, &new, &old, &grant)).unwrap();
    assert_eq!(issue(&edge, 1, &new, &followed), Ok(()));
    assert_eq!(issue(&edge, 2, &old, &followed), Err(Refusal::BadGrant));
    // The old key has nothing to hand on and nothing to renew any more.
    assert_eq!(refusal(key_change(&old, &thief, &old, &grant)), Refusal::GrantExpired);
    assert_eq!(refusal(BindRequest::Renew { grant }), Refusal::GrantExpired);
    let renewed = bind(&edge, &BindRequest::Renew { grant: followed }).unwrap().token;
    assert_eq!(issue(&edge, 3, &new, &renewed), Ok(()));
    assert_eq!(site.events("bound").len(), 2);
}

#[test]
fn a_binding_is_used_by_so_many_accounts_across_restarts() {
    let site = site();
    let key = new_binding(&site, "--uses 2");
    let (mut daemon, edge) = start(&site);
    for seed in [1, 2, 1] {
        bind(&edge, &opens(&key, &TestKey::new(seed))).unwrap();
    }
    assert_eq!(bind(&edge, &opens(&key, &TestKey::new(3))).unwrap_err(), Refusal::BindingUsed);
    daemon.terminate();
    let (_daemon, edge) = start(&site);
    assert_eq!(bind(&edge, &opens(&key, &TestKey::new(3))).unwrap_err(), Refusal::BindingUsed);
    bind(&edge, &opens(&key, &TestKey::new(2))).unwrap();
    assert_eq!(site.events("bound").len(), 2);
    site.signer_ok("journal verify --config signer.toml");
}

#[test]
fn a_revoked_binding_ends_what_it_gave_within_seconds() {
    let site = site();
    let (key, other) = (new_binding(&site, ""), new_binding(&site, ""));
    let (daemon, edge) = start(&site);
    let account = TestKey::new(1);
    let bound = bind(&edge, &opens(&key, &account)).unwrap();
    let listed = site.signer_ok("eab list --config signer.toml");
    assert!(listed.contains(&key.kid) && !listed.contains(&base64url::encode(&key.hmac)), "{listed}");
    site.signer_ok(&format!("eab revoke --config signer.toml {}", key.kid));
    site.signer_fails("eab revoke --config signer.toml nobody");
    eventually("the end of the binding", || {
        bind(&edge, &BindRequest::Renew { grant: bound.token.clone() }) == Err(Refusal::UnknownBinding)
    });
    assert_eq!(issue(&edge, 1, &account, &bound.token), Err(Refusal::UnknownBinding));
    assert_eq!(bind(&edge, &opens(&key, &TestKey::new(2))).unwrap_err(), Refusal::UnknownBinding);
    bind(&edge, &opens(&other, &TestKey::new(2))).unwrap();
    // What cannot be read changes nothing.
    fs::write(site.path("bindings.json"), "{").unwrap();
    eventually("the word of it", || daemon.log().contains("cannot be read"));
    bind(&edge, &opens(&other, &TestKey::new(3))).unwrap();
    assert!(!daemon.log().contains(&base64url::encode(&other.hmac)));
}

#[test]
fn the_keys_of_grants_are_exchanged_while_the_daemon_runs() {
    let site = site();
    let key = new_binding(&site, "");
    let (daemon, edge) = start(&site);
    let account = TestKey::new(1);
    let old = bind(&edge, &opens(&key, &account)).unwrap().token;
    site.write_secret("grant-2", &"2".repeat(32));
    let exchange = |from: &str, to: &str, times: usize| {
        let text = fs::read_to_string(site.path("signer.toml")).unwrap().replace(from, to);
        fs::write(site.path("signer.toml"), text).unwrap();
        crate::site::signal(daemon.child.id(), nix::sys::signal::Signal::SIGHUP);
        eventually("a rotation", || daemon.log().matches(" rotated ").count() >= times);
    };
    exchange("[\"grant-1\"]", "[\"grant-2\", \"grant-1\"]", 1);
    assert_eq!(issue(&edge, 1, &account, &old), Ok(()));
    let new = bind(&edge, &BindRequest::Renew { grant: old.clone() }).unwrap().token;
    exchange("[\"grant-2\", \"grant-1\"]", "[\"grant-2\"]", 2);
    assert_eq!(issue(&edge, 2, &account, &old), Err(Refusal::BadGrant));
    assert_eq!(bind(&edge, &BindRequest::Renew { grant: old }).unwrap_err(), Refusal::BadGrant);
    assert_eq!(issue(&edge, 3, &account, &new), Ok(()));
}

/// The tests hold the key of grants, so they can make one of the past.
#[test]
fn an_expired_grant_gives_nothing_but_a_new_one() {
    let site = site();
    let key = new_binding(&site, "");
    let (_daemon, edge) = start(&site);
    let account = TestKey::new(1);
    let token = bind(&edge, &opens(&key, &account)).unwrap().token;
    let (content, _) = token.0.split_once('.').unwrap();
    let mut content: Value = serde_json::from_slice(&base64url::decode(content).unwrap()).unwrap();
    content["expires"] = json!("2001-01-01T00:00:00Z");
    let content = base64url::encode(content.to_string().as_bytes());
    let mac =
        Hmac::<Sha256>::new_from_slice(&[b'1'; 32]).unwrap().chain_update("colophon grant ").chain_update(&content);
    let past = GrantToken(format!("{content}.{}", base64url::encode(&mac.finalize().into_bytes())));
    assert_eq!(issue(&edge, 1, &account, &past), Err(Refusal::GrantExpired));
    let renewed = bind(&edge, &BindRequest::Renew { grant: past }).unwrap().token;
    assert_eq!(issue(&edge, 2, &account, &renewed), Ok(()));
}

#[test]
fn a_binding_for_a_scope_that_is_not_there_is_not_made() {
    let site = site();
    let words = site.signer_fails("eab new --config signer.toml --scope closd");
    assert!(words.contains("closd"), "{words}");
    site.signer_fails("eab new --config signer.toml --scope closed --expires 2001-01-01");
    assert!(!site.path("bindings.json").exists());
    let lines = site
        .signer_ok("eab new --config signer.toml --scope closed --expires 30 --directory https://ca.example/directory");
    for client in ["certbot", "lego", "acme.sh", "acme_eab", "externalAccountBinding"] {
        assert!(lines.contains(client), "{client}: {lines}");
    }
    assert!(lines.contains("https://ca.example/directory"));
}

/// A job that waits for its token when its binding is revoked is not signed.
#[cfg(feature = "slow-token")]
#[test]
fn a_queued_job_ends_with_its_binding() {
    let mut site = Site::new(&["a1"]);
    site.program = env!("CARGO_BIN_EXE_signer-slow-token");
    site.write_config(&["a1"], "latency_ms = 4000");
    bindable(&site);
    let key = new_binding(&site, "");
    let (_daemon, edge) = start(&site);
    let account = TestKey::new(1);
    let token = bind(&edge, &opens(&key, &account)).unwrap().token;
    // Two are ahead: one in the token, one beside it.
    let jobs: Vec<_> = (0..6).map(|number| finalize(number, &account, Grant::Bound(token.clone()))).collect();
    std::thread::scope(|scope| {
        for job in &jobs {
            let edge = &edge;
            scope.spawn(move || edge.issue(job).unwrap());
        }
        eventually("the first intent", || !site.events("intent").is_empty());
        site.signer_ok(&format!("eab revoke --config signer.toml {}", key.kid));
    });
    eventually("the end of all jobs", || {
        jobs.iter().all(|job| match edge.issue(job).unwrap() {
            IssueReply::Refused(refused) => refused.reason == Refusal::UnknownBinding,
            IssueReply::Issued(_) => true,
            IssueReply::Queued { .. } | IssueReply::Settled { .. } => false,
        })
    });
    assert!(site.events("signed").len() < jobs.len() - 2, "{}", site.events("signed").len());
}

#[test]
fn a_key_that_was_replaced_opens_renews_issues_and_follows_nothing() {
    let site = site();
    let key = new_binding(&site, "");
    let (daemon, edge) = start(&site);
    let (old, new) = (TestKey::new(1), TestKey::new(2));
    let opened = opens(&key, &old);
    let grant = bind(&edge, &opened).unwrap().token;
    issue(&edge, 1, &old, &grant).unwrap();
    let change = key_change(&old, &new, &old, &grant);
    let followed = bind(&edge, &change).unwrap().token;
    let back = key_change(&new, &old, &new, &followed);
    let renew = BindRequest::Renew { grant: grant.clone() };
    let replaced = |edge: &Edge, number: usize| {
        assert_eq!(bind(edge, &opened), Err(Refusal::GrantExpired), "its newAccount, replayed");
        assert_eq!(bind(edge, &renew), Err(Refusal::GrantExpired));
        assert_eq!(bind(edge, &back), Err(Refusal::GrantExpired), "no account goes back to it");
        assert_eq!(issue(edge, number, &old, &grant), Err(Refusal::GrantExpired));
    };
    replaced(&edge, 2);
    // Replayed again and again, what is known writes no records.
    for _ in 0..100 {
        bind(&edge, &change).unwrap();
        assert_eq!(bind(&edge, &back), Err(Refusal::GrantExpired));
    }
    assert_eq!(site.events("bound").len(), 2);
    issue(&edge, 3, &new, &followed).unwrap();
    drop(daemon);
    let (_daemon, edge) = start(&site);
    replaced(&edge, 4);
    issue(&edge, 5, &new, &followed).unwrap();
}
