//! Lists of orders (RFC 8555 §7.1.2.1).

use edge::acme::{
    problem::Problem,
    route::{Resource, Route},
    step::Body,
};
use serde_json::json;

use crate::desk::{Desk, json_of};

#[test]
fn directory_and_new_nonce_are_read_by_an_account_too() {
    let mut desk = Desk::new();
    desk.new_account();
    let directory = json_of(&desk.get(Route::Directory).unwrap());
    assert_eq!(directory["newNonce"], "https://ca.test/acme/new-nonce");
    let nonce = desk.get(Route::NewNonce).unwrap();
    assert_eq!((nonce.status, nonce.body), (204, Body::Empty));
    for route in [Route::Directory, Route::NewNonce] {
        assert!(matches!(desk.post(route, &json!({})), Err(Problem::Payload(_))));
    }
}

#[test]
fn pages_show_every_order_once_the_newest_first() {
    let mut desk = Desk::new();
    desk.new_account();
    let mut made: Vec<String> = (0..5)
        .map(|_| {
            desk.now = desk.now.plus(1);
            let (order, _) = desk.new_order(&["a.test"]);
            desk.url(order)
        })
        .collect();
    made.reverse();

    let mut seen = Vec::new();
    let mut page = Some(Resource::Orders(None));
    let mut pages = 0;
    while let Some(resource) = page {
        let reply = desk.get(Route::Of(desk.account(), resource)).unwrap();
        let view = json_of(&reply);
        seen.extend(view["orders"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()));
        page = reply.next.map(|url| desk.resource(&serde_json::json!(url)));
        pages += 1;
    }
    assert_eq!(seen, made);
    assert_eq!(pages, 3, "two, two, one: the last page has no next");
}

#[test]
fn an_order_that_became_invalid_is_not_listed() {
    let mut desk = Desk::new();
    desk.new_account();
    let (kept, _) = desk.new_order(&["a.test"]);
    let (_, view) = desk.new_order(&["b.test"]);
    let authorization = Route::Of(desk.account(), desk.resource(&view["authorizations"][0]));
    desk.post(authorization, &json!({"status": "deactivated"})).unwrap();
    assert_eq!(desk.read(Resource::Orders(None))["orders"], json!([desk.url(kept)]));
    desk.now = desk.now.plus(1001);
    assert_eq!(desk.read(Resource::Orders(None))["orders"], json!([]), "expired, and not deleted yet");
}

#[test]
fn an_account_says_where_its_orders_are() {
    let mut desk = Desk::new();
    desk.new_account();
    let view = desk.read(Resource::Account);
    assert_eq!(desk.resource(&view["orders"]), Resource::Orders(None));
    assert_eq!(desk.read(Resource::Orders(None)), serde_json::json!({"orders": []}));
}
