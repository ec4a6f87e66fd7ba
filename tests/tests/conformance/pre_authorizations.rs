//! Authorizations before any order (RFC 8555 §7.4.1).

use anyhow::Result;
use serde_json::{Value, json};
use tests::account::Account;

use crate::{
    ask::{account, kind},
    world::world,
};

fn dns(value: &str) -> Value {
    json!({"identifier": {"type": "dns", "value": value}})
}

/// RFC 8555 §7.4.1 says: newAuthz is answered by 201, the authorization's URL in Location, and the authorization.
/// RFC 8555 §7.4.1 MUST: an authorization begins `pending` where nothing else is known of the identifier.
#[test]
fn an_authorization_in_advance_is_201_and_pending() -> Result<()> {
    let account = account()?;
    let reply = account.post(account.client.url("newAuthz"), &dns("advance.test"))?.expect(201)?;
    let object = reply.json()?;
    assert_eq!((&object["status"], &object["identifier"]["value"]), (&json!("pending"), &json!("advance.test")));
    assert!(object["challenges"].as_array().is_some_and(|challenges| !challenges.is_empty()), "{object}");
    assert_eq!(account.read(&reply.location()?)?.expect(200)?.json()?, object);
    Ok(())
}

/// RFC 8555 §7.4.1 SHOULD: an identifier that no certificate would be issued for is refused by 403, with the reason.
/// RFC 8555 §7.4.1 says: there is no authorization in advance for a wildcard.
#[test]
fn an_identifier_that_is_not_permitted_is_403() -> Result<()> {
    let account = account()?;
    for name in ["a.elsewhere.org", "*.advance.test"] {
        let reply = account.post(account.client.url("newAuthz"), &dns(name))?;
        assert_eq!((reply.status, kind(&reply)?.as_str()), (403, "rejectedIdentifier"), "{name}");
    }
    for payload in [json!({}), json!({"identifier": "a.test"}), json!({"identifier": []}), dns("a..test")] {
        assert_eq!(kind(&account.post(account.client.url("newAuthz"), &payload)?)?, "malformed", "{payload}");
    }
    Ok(())
}

/// RFC 8555 §7.1.3 SHOULD: an order shows the authorizations that it rests on, those made earlier, too.
#[test]
fn an_order_shows_the_authorization_that_was_made_in_advance() -> Result<()> {
    let account: Account = account()?;
    let url = account.post(account.client.url("newAuthz"), &dns("shown.advance.test"))?.expect(201)?.location()?;
    account.answer(std::slice::from_ref(&url), &world().responder)?;
    account.wait(&url, "valid")?;
    let order = account.order(&["shown.advance.test"])?;
    assert_eq!((&order.object["status"], order.authorizations()?), (&json!("ready"), vec![url]));
    Ok(())
}
