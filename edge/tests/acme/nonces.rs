//! Nonces as the doors see them (RFC 8555 §6.5).

use edge::acme::{
    authentication::check_query,
    problem::Problem,
    route::{Resource, Route},
};
use serde_json::json;
use shared::jws::Unverified;

use crate::desk::Desk;

#[test]
fn a_request_is_accepted_once() {
    let mut desk = Desk::new();
    desk.new_account();
    let route = Route::Of(desk.account(), Resource::Account);
    let body = desk.sign(route, b"");
    assert!(desk.handle(route, &body).is_ok());
    assert_eq!(desk.handle(route, &body), Err(Problem::BadNonce));
}

#[test]
fn a_restart_revives_no_nonce() {
    let mut desk = Desk::new();
    desk.new_account();
    let route = Route::Of(desk.account(), Resource::Account);
    let (spent, unspent) = (desk.sign(route, b""), desk.sign(route, b""));
    assert!(desk.handle(route, &spent).is_ok());
    desk.restart();
    assert_eq!(desk.handle(route, &spent), Err(Problem::BadNonce));
    assert_eq!(desk.handle(route, &unspent), Err(Problem::BadNonce));
}

#[test]
fn a_stranger_cannot_spend_a_nonce() {
    let mut desk = Desk::new();
    desk.new_account();
    let route = Route::Of(desk.account(), Resource::Account);
    let body = desk.sign(route, b"");
    let mut forged: serde_json::Value = serde_json::from_slice(&body).unwrap();
    forged["payload"] = json!("e30");
    assert!(matches!(desk.handle(route, forged.to_string().as_bytes()), Err(Problem::Jws(_))));
    assert!(desk.handle(route, &body).is_ok(), "the nonce is still good");
}

#[test]
fn a_request_without_a_nonce_is_refused() {
    let mut desk = Desk::new();
    desk.new_account();
    let route = Route::Of(desk.account(), Resource::Account);
    let header = json!({"url": desk.urls.of(route), "kid": desk.url(Resource::Account)});
    let body = desk.account_key.sign_jws(&header, b"").to_string();
    assert_eq!(desk.handle(route, body.as_bytes()), Err(Problem::MissingNonce));
    assert_eq!(Problem::MissingNonce.document().kind, Problem::BadNonce.document().kind);
}

/// RFC 8555 §6.4 MUST: the whole URL of the request is compared, its query too.
#[test]
fn a_query_that_was_not_signed_is_refused_and_both_urls_are_named() {
    let mut desk = Desk::new();
    desk.new_account();
    let url = desk.urls.of(Route::NewOrder);
    let check = |desk: &mut Desk, signed: &str, query: Option<&str>| {
        let header = json!({"url": signed, "nonce": "AAAA", "kid": desk.url(Resource::Account)});
        let jws = Unverified::parse(desk.account_key.sign_jws(&header, b"").to_string().as_bytes()).unwrap();
        check_query(Route::NewOrder, jws.header(), query, &desk.urls)
    };
    assert_eq!(check(&mut desk, &url, None), Ok(()));
    assert_eq!(check(&mut desk, &format!("{url}?a=1"), Some("a=1")), Ok(()), "the route's own comparison refuses it");
    for query in ["a=1", "", "a=1?"] {
        let problem = check(&mut desk, &url, Some(query)).unwrap_err();
        assert_eq!(problem, Problem::url_mismatch(format!("{url}?{query}"), &url));
        let document = problem.document();
        assert_eq!((document.status, document.kind.rsplit(':').next()), (Some(403), Some("unauthorized")));
        for named in [format!("{url:?}"), format!("\"{url}?{query}\"")] {
            assert!(document.detail.contains(&named), "{named}: {}", document.detail);
        }
    }
    let header = json!({"url": format!("{url}?a=1"), "nonce": desk.window.mint(&desk.secrets, desk.account()),
        "kid": desk.url(Resource::Account)});
    let body = desk.account_key.sign_jws(&header, b"").to_string();
    let refused = desk.handle(Route::NewOrder, body.as_bytes());
    assert_eq!(refused, Err(Problem::url_mismatch(url.clone(), &format!("{url}?a=1"))));
}

#[test]
fn a_url_that_is_not_the_requests_is_refused_after_its_nonce_is_spent() {
    let mut desk = Desk::new();
    desk.new_account();
    let body = desk.sign(Route::NewOrder, b"");
    let account = Route::Of(desk.account(), Resource::Account);
    let (expected, seen) = (desk.urls.of(account), desk.urls.of(Route::NewOrder));
    assert_eq!(desk.handle(account, &body), Err(Problem::url_mismatch(expected, &seen)));
}
