//! Key rollover on the real platform: two objects, each behind its own door (RFC 8555 §7.3.5).

use anyhow::Result;
use serde_json::json;
use tests::{
    account::{Account, register},
    client::Reply,
    key::AccountKey,
};

use crate::world::world;

/// A rollover as a right client asks for it.
fn roll(account: &Account, new_key: &AccountKey) -> Result<Reply> {
    let url = account.client.url("keyChange");
    let payload = json!({"account": account.url, "oldKey": account.key.jwk()});
    let inner = new_key.sign(&json!({"url": url, "jwk": new_key.jwk()}), payload.to_string().as_bytes())?;
    account.send(url, inner.to_string().as_bytes())
}

#[test]
fn an_account_keeps_its_url_and_orders_under_its_new_key() -> Result<()> {
    let world = world();
    let mut account = Account::new(&world.client)?;
    let order = account.order(&["rolled.test"])?;
    let new_key = AccountKey::es256();
    let reply = roll(&account, &new_key)?.expect(200)?;
    assert_eq!(reply.hops()?, 2, "the account's object and the new key's");

    let old_key = std::mem::replace(&mut account.key, new_key);
    account.prove(&order, &world.responder)?;
    account.post(&order.finalize()?, &Account::finalize_payload(&["rolled.test"])?)?.expect(200)?;
    account.certificate(&order)?;

    let found = register(&account.client, &account.key, &json!({"onlyReturnExisting": true}))?.expect(200)?;
    assert_eq!(found.location()?, account.url, "the new key finds the account where it was");
    let again = register(&account.client, &account.key, &json!({"termsOfServiceAgreed": true}))?.expect(200)?;
    assert_eq!(again.location()?, account.url, "and opens no other");
    register(&account.client, &old_key, &json!({"termsOfServiceAgreed": true}))?.expect(403)?;
    account.key = old_key;
    account.read(&account.url)?.expect(400)?;
    Ok(())
}

#[test]
fn a_key_that_is_an_accounts_is_a_conflict_that_names_the_account() -> Result<()> {
    let (one, two) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let conflict = roll(&one, &two.key)?.expect(409)?;
    assert_eq!(conflict.location()?, two.url);

    let mut rolled = Account::new(&world().client)?;
    let key = AccountKey::es256();
    roll(&rolled, &key)?.expect(200)?;
    let conflict = roll(&one, &key)?.expect(409)?;
    assert_eq!(conflict.location()?, rolled.url, "a key that was rolled over to is as much in use");
    rolled.key = key;
    rolled.read(&rolled.url)?.expect(200)?;
    Ok(())
}

#[test]
fn a_key_can_be_rolled_over_again_and_what_was_left_is_free() -> Result<()> {
    let mut account = Account::new(&world().client)?;
    for _ in 0..3 {
        let next = AccountKey::es256();
        roll(&account, &next)?.expect(200)?;
        account.key = next;
    }
    account.read(&account.url)?.expect(200)?;
    let left = std::mem::replace(&mut account.key, AccountKey::es256());
    let (first, second) = (AccountKey::es256(), AccountKey::es256());
    let mut other = Account::with_key(&world().client, first)?;
    roll(&other, &second)?.expect(200)?;
    other.key = second;
    account.key = left;
    roll(&account, &other.key)?.expect(409)?;
    other.read(&other.url)?.expect(200)?;
    Ok(())
}
