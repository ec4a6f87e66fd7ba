//! Orders: made, read and listed (RFC 8555 §7.1.2.1, §7.1.3, §7.4).

use std::{collections::BTreeSet, thread, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::timestamp::parse_rfc3339;
use tests::{
    account::{Account, Order},
    client::Reply,
};

use crate::{
    ask::{account, kind, link, well_formed},
    external_accounts::open,
    world::{ORDER_SECONDS, ORDERS_AN_HOUR, PAGE, strict, world},
};

fn dns(value: &str) -> Value {
    json!({"type": "dns", "value": value})
}

fn new_order(account: &Account, payload: &Value) -> Result<Reply> {
    account.post(account.client.url("newOrder"), payload)
}

/// URLs in an array.
fn urls(value: &Value) -> Result<Vec<String>> {
    let urls = value.as_array().context("an array")?.iter().map(|url| url.as_str().map(str::to_owned));
    urls.collect::<Option<_>>().context("URLs")
}

/// RFC 8555 §7.4 says: newOrder is answered by 201, the order's URL in Location, and the order.
/// RFC 8555 §7.1.3 REQUIRED: an order has `status`, `identifiers`, `authorizations` and `finalize`.
/// RFC 8555 §7.1.3 REQUIRED: a pending or valid order has `expires`, an RFC 3339 time.
/// RFC 8555 §7.1.6 says: an order begins `pending`.
#[test]
fn a_new_order_is_201_with_its_url_and_its_object() -> Result<()> {
    let account = account()?;
    let names = ["a.orders.test", "b.orders.test"];
    let reply = new_order(&account, &json!({"identifiers": names.map(dns)}))?.expect(201)?;
    let object = reply.json()?;
    assert_eq!(object["status"], "pending");
    let identifiers: BTreeSet<String> =
        object["identifiers"].as_array().context("identifiers")?.iter().map(Value::to_string).collect();
    assert_eq!(identifiers, names.map(|name| dns(name).to_string()).into());
    assert_eq!(urls(&object["authorizations"])?.len(), 2);
    parse_rfc3339(object["expires"].as_str().context("expires")?)?;
    assert!(object["finalize"].as_str().context("finalize")?.starts_with("https://"));
    for absent in ["certificate", "error"] {
        assert!(object.get(absent).is_none(), "{object}");
    }
    assert_eq!(account.read(&reply.location()?)?.expect(200)?.json()?, object);
    let valid = account.issue(&["valid.orders.test"], &world().responder)?.0;
    parse_rfc3339(account.read(&valid.url)?.json()?["expires"].as_str().context("expires")?)?;
    Ok(())
}

/// RFC 8555 §7.1.3 MUST NOT: `identifiers` and `authorizations` of an order ever change.
/// RFC 8555 §7.1.6 says: an order goes from `pending` by `ready` (and `processing`) to `valid`.
#[test]
fn identifiers_and_authorizations_stay_the_same_from_pending_to_valid() -> Result<()> {
    let account = account()?;
    let names = ["first.same.test", "second.same.test"];
    let order = account.order(&names)?;
    let same = |object: &Value| {
        assert_eq!(object["identifiers"], order.object["identifiers"]);
        assert_eq!(object["authorizations"], order.object["authorizations"]);
    };
    account.prove(&order, &world().responder)?;
    same(&account.wait(&order.url, "ready")?);
    let reply = account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?.expect(200)?.json()?;
    assert!(reply["status"] == "processing" || reply["status"] == "valid", "{reply}");
    same(&reply);
    same(&account.wait(&order.url, "valid")?);
    for url in urls(&order.object["authorizations"])? {
        assert_eq!(account.read(&url)?.expect(200)?.json()?["status"], "valid");
    }
    Ok(())
}

/// RFC 8555 §7.4 MUST: an order that cannot be fulfilled as it is asked for is an error.
#[test]
fn an_order_that_cannot_be_fulfilled_is_refused() -> Result<()> {
    let account = account()?;
    let ok = json!([dns("ok.orders.test")]);
    let table = [
        (json!({}), "malformed"),
        (json!([]), "malformed"),
        (json!({"identifiers": []}), "malformed"),
        (json!({"identifiers": dns("a.test")}), "malformed"),
        (json!({"identifiers": [{"type": "dns"}]}), "malformed"),
        (json!({"identifiers": [{"value": "a.test"}]}), "malformed"),
        (json!({"identifiers": [{"type": "email", "value": "a@b.test"}]}), "unsupportedIdentifier"),
        (json!({"identifiers": [dns("a.elsewhere.org")]}), "rejectedIdentifier"),
        (json!({"identifiers": [dns("a..test")]}), "malformed"),
        (json!({"identifiers": [dns("*.*.test")]}), "malformed"),
        (json!({"identifiers": [dns("a.*.test")]}), "malformed"),
        (json!({"identifiers": [dns("192.0.2.1")]}), "malformed"),
        (json!({"identifiers": ok, "notAfter": "2100-01-01T00:00:00Z"}), "malformed"),
        (json!({"identifiers": ok, "notAfter": "2000-01-01T00:00:00Z"}), "malformed"),
        (json!({"identifiers": ok, "notBefore": "2100-01-01T00:00:00Z"}), "malformed"),
        (json!({"identifiers": ok, "notAfter": "tomorrow"}), "malformed"),
        (json!({"identifiers": ok, "profile": "none"}), "invalidProfile"),
    ];
    for (payload, expected) in table {
        assert_eq!(kind(&new_order(&account, &payload)?)?, expected, "{payload}");
    }
    kind(&account.read(account.client.url("newOrder"))?)?;
    Ok(())
}

/// RFC 8555 §7.1.4 MUST: a name is encoded as it is in a certificate.
/// RFC 8555 §7.1.4 MUST: a label that begins with `xn--` is checked to be rightly encoded.
#[test]
fn a_label_that_only_looks_like_an_a_label_is_refused() -> Result<()> {
    let account = account()?;
    for name in [
        // No code points, no basic ones but a digit out of range, an overflow, plain ASCII in disguise, and a capital one.
        "xn--.test",
        "xn---.test",
        "xn--\u{fc}.test",
        "xn--a.test",
        "xn--99999999.test",
        "xn--abc-.test",
        "sub.xn--abc-.test",
        "b\u{fc}cher.test",
    ] {
        let reply = new_order(&account, &json!({"identifiers": [dns(name)]}))?;
        assert_eq!(kind(&reply)?, "malformed", "{name}");
    }
    // As everywhere, capitals are written small.
    for name in ["xn--bcher-kva.test", "xn--80ak6aa92e.test", "XN--BCHER-KVA.Test"] {
        let object = new_order(&account, &json!({"identifiers": [dns(name)]}))?.expect(201)?.json()?;
        assert_eq!(object["identifiers"], json!([dns(&name.to_lowercase())]));
    }
    Ok(())
}

/// RFC 8555 §7.4 says: members of newOrder that are a server's, or not known, are not taken from the client.
#[test]
fn an_order_takes_nothing_from_a_client_but_what_a_client_may_choose() -> Result<()> {
    let account = account()?;
    let payload = json!({"identifiers": [dns("taken.orders.test")], "status": "valid", "finalize": "https://x.test/",
        "authorizations": [], "certificate": "https://x.test/", "expires": "2100-01-01T00:00:00Z", "unheard-of": {}});
    let object = new_order(&account, &payload)?.expect(201)?.json()?;
    assert_eq!((&object["status"], urls(&object["authorizations"])?.len()), (&json!("pending"), 1));
    assert!(object.get("certificate").is_none() && object.get("unheard-of").is_none(), "{object}");
    assert!(object["finalize"] != "https://x.test/" && object["expires"] != "2100-01-01T00:00:00Z", "{object}");
    Ok(())
}

/// RFC 8555 §7.4 SHOULD: an order whose time has passed is `invalid`.
#[test]
fn an_order_that_was_not_finished_in_time_is_invalid_and_says_so() -> Result<()> {
    let strict = strict();
    let account = open(&strict.client, strict.stack.report.external_account.as_deref())?;
    let order = account.order(&["late.orders.test"])?;
    assert_eq!(order.object["status"], "pending");
    thread::sleep(Duration::from_secs(ORDER_SECONDS + 2));
    let object = account.read(&order.url)?.expect(200)?.json()?;
    assert_eq!(object["status"], "invalid");
    well_formed(&object["error"]);
    let late = account.post(&order.finalize()?, &Account::finalize_payload(&["late.orders.test"])?)?;
    assert_eq!(kind(&late)?, "orderNotReady");
    Ok(())
}

/// RFC 8555 §7.1.2.1 MUST: the list of orders is an object whose `orders` is an array of URLs of the account's orders.
/// RFC 8555 §7.1.2.1 SHOULD: pending orders are in it.
/// RFC 8555 §7.1.2.1 says: a list that is not complete links to its next part as `next`.
#[test]
fn the_list_of_orders_has_them_all_on_its_pages_together() -> Result<()> {
    let strict = strict();
    let account = open(&strict.client, strict.stack.report.external_account.as_deref())?;
    let mut made = BTreeSet::new();
    for _ in 0..ORDERS_AN_HOUR {
        made.insert(account.order(&["listed.orders.test"])?.url);
    }
    let first = account.read(&account.url)?.expect(200)?.json()?["orders"].clone();
    let (mut next, mut listed, mut pages) = (first.as_str().map(str::to_owned), BTreeSet::new(), 0);
    while let Some(url) = next {
        let reply = account.read(&url)?.expect(200)?;
        let orders = urls(&reply.json()?["orders"])?;
        assert!(orders.len() <= PAGE, "{orders:?}");
        listed.extend(orders);
        pages += 1;
        next = link(&reply, "next");
    }
    assert_eq!((listed, pages), (made, ORDERS_AN_HOUR.div_ceil(PAGE)));
    Ok(())
}

/// RFC 8555 §7.1.2.1 SHOULD NOT: orders that are invalid are in the list.
#[test]
fn an_order_that_became_invalid_leaves_the_list() -> Result<()> {
    let account = account()?;
    let (kept, dropped) = (account.order(&["kept.orders.test"])?, account.order(&["dropped.orders.test"])?);
    let (authorization, _) = crate::ask::authorization(&account, &dropped)?;
    account.post(&authorization, &json!({"status": "deactivated"}))?.expect(200)?;
    assert_eq!(account.read(&dropped.url)?.json()?["status"], "invalid");
    let list = account.read(&account.url)?.json()?["orders"].as_str().context("a list")?.to_owned();
    assert_eq!(urls(&account.read(&list)?.expect(200)?.json()?["orders"])?, [kept.url]);
    Ok(())
}

/// RFC 8555 §7.1.6 says: an order of which an authorization failed or was given up is `invalid`.
#[test]
fn an_order_ends_with_its_authorization() -> Result<()> {
    let account = account()?;
    let names = ["left.orders.test", "right.orders.test"];
    let order: Order = account.ready_order(&names, &world().responder)?;
    let (authorization, _) = crate::ask::authorization(&account, &order)?;
    account.post(&authorization, &json!({"status": "deactivated"}))?.expect(200)?;
    let object = account.read(&order.url)?.expect(200)?.json()?;
    assert_eq!(object["status"], "invalid");
    well_formed(&object["error"]);
    Ok(())
}
