//! What one edge knows means nothing at the other.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::account::{self, Account};

use crate::world::{one_at_a_time, ready, world};

#[test]
fn an_account_of_one_edge_is_nobody_at_the_other() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let account = world.account(0, "own.test")?;
    let order = ready(&account, "own.test")?;
    let [first, second] = &world.clients;
    // Its key is not known there.
    let payload = json!({"onlyReturnExisting": true});
    let reply = account::register(second, &account.key, &payload)?.expect(400)?;
    assert_eq!(reply.problem()?, "accountDoesNotExist");
    // Nor its URL: one that names the first edge is not of the second, and the same path below the second has the MAC of the first.
    let base = |client: &tests::client::Client| -> Result<String> {
        let (base, _) = client.url("newOrder").split_once("/acme").context("a path")?;
        Ok(base.to_owned())
    };
    let (ours, theirs) = (base(first)?, base(second)?);
    let moved = |url: &str| url.replacen(&ours, &theirs, 1);
    for kid in [account.url.clone(), moved(&account.url)] {
        for url in [second.url("newOrder").to_owned(), moved(&account.url), moved(&order.url)] {
            let header = json!({"url": url, "nonce": second.nonce()?, "kid": kid});
            let body = account.key.sign(&header, b"")?.to_string().into_bytes();
            let reply = second.post(&url, &body)?;
            ensure!((400..=404).contains(&reply.status), "{kid} at {url}: {reply:?}");
        }
    }
    // A nonce of the one is none of the other's.
    let guest = Account::new(second)?;
    let body = guest.sign(&guest.url, &first.nonce()?, b"")?;
    assert_eq!(second.post(&guest.url, &body)?.expect(400)?.problem()?, "badNonce");
    Ok(())
}
