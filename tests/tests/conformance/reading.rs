//! What GET and POST-as-GET get (RFC 8555 §6.3).

use anyhow::Result;
use serde_json::json;
use tests::account::Account;

use crate::{
    ask::{account, all_urls, header, kind, refused, send, signed_resources},
    world::world,
};

/// RFC 8555 §6.3 MUST: GET is answered by 405 and `malformed` but for directory and newNonce.
#[test]
fn get_is_not_allowed_where_requests_are_signed() -> Result<()> {
    let account = account()?;
    let own = all_urls(&account, "get.reading.test")?;
    let own = own.iter().map(|(_, url)| url.as_str());
    for url in signed_resources(&account.client).chain(own) {
        refused(&account.client.get(url)?, 405, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §6.3 MUST: who sends a POST-as-GET is authenticated, and access is checked.
#[test]
fn nobody_but_the_owner_reads_by_post_as_get() -> Result<()> {
    let (owner, other) = (account()?, account()?);
    for (what, url) in all_urls(&owner, "owner.reading.test")? {
        assert_eq!(kind(&other.read(&url)?)?, "unauthorized", "{what}");
        // By the owner's name, with another key.
        let header = header(&owner, &url)?;
        let forged = other.key.sign(&header, b"")?.to_string();
        kind(&owner.client.post(&url, forged.as_bytes())?)?;
    }
    Ok(())
}

/// RFC 8555 §6.3 MUST: a POST with an empty payload reads, as GET would, and changes nothing.
#[test]
fn an_empty_payload_reads_every_resource_and_answers_no_challenge() -> Result<()> {
    let account = account()?;
    let order = account.order(&["empty.reading.test"])?;
    let (authorization, object) = crate::ask::authorization(&account, &order)?;
    let (challenge, _) = crate::ask::challenge(&object, "http-01")?;
    let orders = account.read(&account.url)?.json()?["orders"].as_str().unwrap_or_default().to_owned();
    for url in [&account.url, &orders, &order.url, &authorization, &challenge] {
        let first = account.read(url)?.expect(200)?.json()?;
        assert_eq!(account.read(url)?.expect(200)?.json()?, first, "{url}");
    }
    assert_eq!(account.read(&challenge)?.json()?["status"], "pending");
    Ok(())
}

/// RFC 8555 §6.3 MUST: the directory and newNonce are read by GET.
/// RFC 8555 §6.3 MUST: the directory and newNonce are read by POST-as-GET, too.
#[test]
fn directory_and_new_nonce_are_read_by_get_and_by_post_as_get() -> Result<()> {
    let account = account()?;
    let client = &account.client;
    let (directory, new_nonce) = (&world().stack.report.directory, client.url("newNonce"));
    assert_eq!(client.get(directory)?.expect(200)?.json()?, client.directory);
    client.get(new_nonce)?.expect(204)?;
    let reply = account.read(directory)?.expect(200)?;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()?, client.directory);
    let reply = account.read(new_nonce)?.expect(204)?;
    assert!(reply.body.is_empty() && reply.header("cache-control") == Some("no-store"), "{reply:?}");
    account.read(&account.url)?.expect(200)?;
    Ok(())
}

/// RFC 8555 §6.3 MUST: a POST-as-GET of the directory or newNonce is authenticated as any other.
#[test]
fn a_post_as_get_of_the_directory_is_authenticated_as_any_other() -> Result<()> {
    let (account, stranger) = (account()?, account()?);
    let url = &world().stack.report.directory;
    for url in [url, account.client.url("newNonce")] {
        let forged = stranger.key.sign(&header(&account, url)?, b"")?.to_string();
        kind(&account.client.post(url, forged.as_bytes())?)?;
        let mut elsewhere = header(&account, url)?;
        elsewhere["url"] = json!(account.url);
        assert_eq!(kind(&send(&account, url, &elsewhere, b"")?)?, "unauthorized");
        let mut used = header(&account, url)?;
        used["nonce"] = json!("AAAA");
        refused(&send(&account, url, &used, b"")?, 400, "badNonce")?;
        refused(&send(&account, url, &header(&account, url)?, b"{}")?, 400, "malformed")?;
    }
    let gone = Account::new(&world().client)?;
    gone.post(&gone.url, &json!({"status": "deactivated"}))?.expect(200)?;
    refused(&gone.read(url)?, 401, "unauthorized")
}
