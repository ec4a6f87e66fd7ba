//! Nonces as the doors see them (RFC 8555 §6.5).

use edge::acme::{
    problem::Problem,
    route::{Resource, Route},
};
use serde_json::json;

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
    assert_eq!(desk.handle(route, body.as_bytes()), Err(Problem::BadNonce));
}

#[test]
fn a_url_that_is_not_the_requests_is_refused_after_its_nonce_is_spent() {
    let mut desk = Desk::new();
    desk.new_account();
    let body = desk.sign(Route::NewOrder, b"");
    let account = Route::Of(desk.account(), Resource::Account);
    assert_eq!(desk.handle(account, &body), Err(Problem::UrlMismatch));
}
