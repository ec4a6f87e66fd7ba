//! Accounts: opened and found (RFC 8555 §7.1.2, §7.3, §7.3.1).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{account::register, key::AccountKey};

use crate::{
    ask::{account, kind, refused},
    world::world,
};

/// RFC 8555 §7.3 says: newAccount is answered by 201, the account's URL in Location, and the account.
/// RFC 8555 §7.1.2 REQUIRED: an account has `status` and `orders`.
/// RFC 8555 §7.1.6 says: an account begins `valid`.
#[test]
fn a_new_account_is_201_with_its_url_and_its_object() -> Result<()> {
    let contact = json!(["mailto:one@contact.test", "mailto:two@contact.test"]);
    let payload = json!({"termsOfServiceAgreed": true, "contact": contact});
    let reply = register(&world().client, &AccountKey::es256(), &payload)?.expect(201)?;
    assert!(reply.location()?.starts_with("https://"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let object = reply.json()?;
    assert_eq!((&object["status"], &object["contact"]), (&json!("valid"), &contact));
    assert!(object["orders"].as_str().context("orders")?.starts_with("https://"));
    Ok(())
}

/// RFC 8555 §7.3 MUST: `orders` in newAccount is ignored, and every member that is not known.
/// RFC 8555 §7.3 MUST NOT: `onlyReturnExisting` or members that are not known come back in the account.
#[test]
fn members_that_are_not_a_clients_are_ignored_and_not_given_back() -> Result<()> {
    let payload = json!({"orders": "https://elsewhere.test/", "status": "deactivated", "onlyReturnExisting": false,
        "createdAt": "now", "unheard-of": {"of": [1]}, "key": {}});
    let key = AccountKey::es256();
    let reply = register(&world().client, &key, &payload)?.expect(201)?;
    let object = reply.json()?;
    assert_eq!(object["status"], "valid");
    assert_ne!(object["orders"], "https://elsewhere.test/");
    let known = ["status", "contact", "orders", "termsOfServiceAgreed", "externalAccountBinding"];
    let members = object.as_object().context("an object")?;
    assert!(members.keys().all(|member| known.contains(&member.as_str())), "{object}");
    Ok(())
}

/// RFC 8555 §7.3.1 MUST: newAccount by the key of an account is 200, with that account's URL in Location.
/// RFC 8555 §7.3.1 MUST: that request's members are ignored, and the account is shown as it was.
#[test]
fn the_key_of_an_account_finds_it_and_changes_nothing() -> Result<()> {
    let account = account()?;
    let before = account.read(&account.url)?.expect(200)?.json()?;
    for payload in [
        json!({}),
        json!({"onlyReturnExisting": true}),
        json!({"contact": ["mailto:new@contact.test"], "termsOfServiceAgreed": false}),
        json!({"contact": ["tel:1"], "status": "deactivated"}),
        json!({"contact": 1, "termsOfServiceAgreed": "yes"}),
        json!({"externalAccountBinding": {"not": "a JWS"}}),
    ] {
        let reply = register(&account.client, &account.key, &payload)?.expect(200)?;
        assert_eq!((reply.location()?, reply.json()?), (account.url.clone(), before.clone()), "{payload}");
    }
    assert_eq!(account.read(&account.url)?.json()?, before);
    Ok(())
}

/// RFC 8555 §7.3 MUST NOT: `onlyReturnExisting` opens an account.
/// RFC 8555 §7.3.1 MUST: `onlyReturnExisting` without an account is `accountDoesNotExist`, 400.
#[test]
fn only_return_existing_opens_no_account() -> Result<()> {
    let key = AccountKey::es256();
    for _ in 0..2 {
        let payload = json!({"onlyReturnExisting": true, "termsOfServiceAgreed": true});
        refused(&register(&world().client, &key, &payload)?, 400, "accountDoesNotExist")?;
    }
    register(&world().client, &key, &json!({}))?.expect(201)?;
    Ok(())
}

/// RFC 8555 §7.3 MUST: a contact of a scheme that is not supported is `unsupportedContact`, and what is supported is told.
#[test]
fn a_contact_of_another_scheme_is_unsupported_and_the_right_one_is_told() -> Result<()> {
    for contact in ["tel:+1-201-555-0123", "https://contact.test/", "xmpp:a@contact.test"] {
        let reply = register(&world().client, &AccountKey::es256(), &json!({"contact": [contact]}))?;
        assert_eq!(kind(&reply)?, "unsupportedContact", "{contact}");
        assert!(reply.json()?["detail"].as_str().is_some_and(|detail| detail.contains("mailto")), "{reply:?}");
    }
    Ok(())
}

/// RFC 8555 §7.3 MUST: `mailto` is a supported scheme.
/// RFC 8555 §7.3 MUST: a contact of a supported scheme that is wrong is `invalidContact`.
/// RFC 8555 §7.3 SHOULD: contacts are checked.
/// RFC 8555 §7.3 SHOULD: a `mailto` with header fields or several addresses is refused.
#[test]
fn a_mailto_of_other_than_one_address_is_invalid() -> Result<()> {
    for contact in [
        "mailto:a@contact.test?subject=x",
        "mailto:a@contact.test,b@contact.test",
        "mailto:a@contact.test?to=b@contact.test",
        "mailto:",
        "mailto:a",
        "mailto:@contact.test",
        "mailto:a@",
        "mailto:a b@contact.test",
    ] {
        let reply = register(&world().client, &AccountKey::es256(), &json!({"contact": [contact]}))?;
        assert_eq!(kind(&reply)?, "invalidContact", "{contact}");
    }
    let payload = json!({"contact": ["mailto:a.b+c@contact.test"]});
    register(&world().client, &AccountKey::es256(), &payload)?.expect(201)?;
    Ok(())
}

/// RFC 8555 §11.1 MUST NOT: one key has several accounts.
#[test]
fn one_key_opens_one_account_however_often_it_asks_at_once() -> Result<()> {
    let client = &world().client;
    let key = AccountKey::es256();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let ask = || register(client, &key, &json!({"termsOfServiceAgreed": true}));
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|thread| thread.join().expect("it does not panic")).collect::<Result<_>>()
    })?;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    let mut urls: Vec<String> = replies.iter().map(|reply| reply.location()).collect::<Result<_>>()?;
    urls.dedup();
    assert_eq!(urls.len(), 1, "{urls:?}");
    Ok(())
}

/// RFC 8555 §7.3 says: the payload of newAccount is an object.
#[test]
fn a_new_account_request_that_is_no_object_is_malformed() -> Result<()> {
    for payload in [json!([]), json!("x"), json!(1), Value::Null, json!({"contact": "mailto:a@contact.test"})] {
        refused(&register(&world().client, &AccountKey::es256(), &payload)?, 400, "malformed")?;
    }
    Ok(())
}
