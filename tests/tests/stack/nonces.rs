//! Nonces: accepted once, by one account, and always replaced (RFC 8555 §6.5).

use std::{sync::Barrier, thread};

use anyhow::Result;
use serde_json::json;
use tests::{account::Account, client::Reply};

use crate::world::world;

/// Sends the same bytes twenty times at once.
fn twenty(account: &Account, url: &str, body: &[u8]) -> Result<Vec<Reply>> {
    let barrier = Barrier::new(20);
    let send = || {
        barrier.wait();
        account.client.post(url, body)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(send)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a request does not panic")).collect()
    })
}

/// One accepted, nineteen `badNonce`, twenty nonces, none of them twice, and a refused one's works.
fn exactly_one_accepted(account: &Account, url: &str, replies: &[Reply]) -> Result<()> {
    let accepted = replies.iter().filter(|reply| reply.status < 300).count();
    assert_eq!(accepted, 1, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    let mut nonces = Vec::new();
    for reply in replies {
        nonces.push(reply.nonce()?);
        if reply.status >= 300 {
            assert_eq!((reply.status, reply.problem()?.as_str()), (400, "badNonce"));
        }
    }
    let refused = replies.iter().find(|reply| reply.status >= 300).expect("nineteen are refused");
    account.client.post(url, &account.sign(url, &refused.nonce()?, b"")?)?.expect(200)?;
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 20);
    Ok(())
}

/// RFC 8555 §6.5 MUST: a nonce that was in a request is worth nothing any more.
#[test]
fn of_twenty_requests_at_once_with_one_nonce_of_an_account_one_is_accepted() -> Result<()> {
    let account = Account::new(&world().client)?;
    let nonce = account.read(&account.url)?.nonce()?;
    let body = account.sign(&account.url, &nonce, b"")?;
    exactly_one_accepted(&account, &account.url, &twenty(&account, &account.url, &body)?)
}

#[test]
fn of_twenty_requests_at_once_with_one_nonce_of_new_nonce_one_is_accepted() -> Result<()> {
    let account = Account::new(&world().client)?;
    let body = account.sign(&account.url, &account.client.nonce()?, b"")?;
    exactly_one_accepted(&account, &account.url, &twenty(&account, &account.url, &body)?)
}

#[test]
fn a_nonce_of_new_nonce_works_once_over_all_accounts() -> Result<()> {
    let (first, second) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let nonce = first.client.nonce()?;
    first.client.post(&first.url, &first.sign(&first.url, &nonce, b"")?)?.expect(200)?;
    for account in [&first, &second] {
        let reply = account.client.post(&account.url, &account.sign(&account.url, &nonce, b"")?)?.expect(400)?;
        assert_eq!(reply.problem()?, "badNonce");
    }
    Ok(())
}

#[test]
fn a_nonce_of_another_account_is_bad_and_the_fresh_one_works() -> Result<()> {
    let (mine, other) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let nonce = other.read(&other.url)?.nonce()?;
    let reply = mine.client.post(&mine.url, &mine.sign(&mine.url, &nonce, b"")?)?.expect(400)?;
    assert_eq!(reply.problem()?, "badNonce");
    mine.client.post(&mine.url, &mine.sign(&mine.url, &reply.nonce()?, b"")?)?.expect(200)?;
    // And it was not spent by the attempt.
    other.client.post(&other.url, &other.sign(&other.url, &nonce, b"")?)?.expect(200)?;
    Ok(())
}

#[test]
fn a_stranger_without_the_key_cannot_spend_a_nonce() -> Result<()> {
    let (victim, stranger) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let nonce = victim.read(&victim.url)?.nonce()?;
    let header = json!({"url": victim.url, "nonce": nonce, "kid": victim.url});
    let forged = stranger.key.sign(&header, b"")?.to_string();
    let reply = victim.client.post(&victim.url, forged.as_bytes())?;
    assert!(reply.status >= 400 && reply.problem()? != "badNonce", "{reply:?}");
    victim.client.post(&victim.url, &victim.sign(&victim.url, &nonce, b"")?)?.expect(200)?;
    Ok(())
}

#[test]
fn made_up_and_missing_nonces_are_bad() -> Result<()> {
    let account = Account::new(&world().client)?;
    for nonce in ["", "AAAA", "not base64url", &"A".repeat(70)] {
        let reply = account.client.post(&account.url, &account.sign(&account.url, nonce, b"")?)?.expect(400)?;
        assert!(matches!(reply.problem()?.as_str(), "badNonce" | "malformed"), "{nonce}: {reply:?}");
    }
    let header = json!({"url": account.url, "kid": account.url});
    let reply = account.client.post(&account.url, account.key.sign(&header, b"")?.to_string().as_bytes())?;
    assert_eq!(reply.expect(400)?.problem()?, "badNonce");
    Ok(())
}

#[test]
fn new_nonce_is_200_to_head_and_204_to_get_and_is_not_stored() -> Result<()> {
    let client = &world().client;
    for (method, status) in [("HEAD", 200), ("GET", 204)] {
        let reply = client.bare(method, client.url("newNonce"))?.expect(status)?;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{method}");
        assert!(reply.body.is_empty() && !reply.nonce()?.is_empty(), "{method}");
    }
    Ok(())
}

#[test]
fn every_answer_brings_a_fresh_nonce_errors_too() -> Result<()> {
    let client = &world().client;
    let base = client.url("newNonce").trim_end_matches("/acme/new-nonce").to_owned();
    let account = Account::new(client)?;
    let mut nonces = Vec::new();
    for (method, path) in [
        ("GET", "/directory"),
        ("GET", "/nothing"),
        ("GET", "/acme/account/AAAA"),
        ("GET", "/acme/new-order"),
        ("DELETE", "/directory"),
        ("GET", "/"),
    ] {
        nonces.push(client.bare(method, &format!("{base}{path}"))?.nonce()?);
    }
    nonces.push(client.post_as(&account.url, "text/plain", b"{}")?.expect(415)?.nonce()?);
    nonces.push(client.post(&account.url, b"no JSON")?.expect(400)?.nonce()?);
    nonces.push(client.post(&account.url, &vec![b' '; 65_537])?.expect(413)?.nonce()?);
    for nonce in &nonces {
        client.post(&account.url, &account.sign(&account.url, nonce, b"")?)?.expect(200)?;
    }
    Ok(())
}
