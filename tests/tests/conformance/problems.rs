//! How refusals are told (RFC 8555 §6.6, §6.7).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::account::Account;

use crate::{
    ask::{account, kind, link, refused, well_formed},
    world::{ORDERS_AN_HOUR, strict, world},
};

fn dns(value: &str) -> Value {
    json!({"type": "dns", "value": value})
}

/// RFC 8555 §6.7 SHOULD: errors come with a problem document.
/// RFC 8555 §6.7 MUST NOT: a type in ACME's name space is one that is not registered.
#[test]
fn refusals_are_problem_documents_of_registered_types() -> Result<()> {
    let account = account()?;
    let client = &account.client;
    let order = account.order(&["types.problems.test"])?;
    let replies = [
        client.get(&client.url("newNonce").replace("new-nonce", "nothing"))?,
        client.bare("DELETE", &account.url)?,
        client.post(&account.url, b"")?,
        client.post_as(&account.url, "text/plain", b"")?,
        client.post(&account.url, &vec![b' '; 70_000])?,
        account.post(&account.url, &json!({"contact": ["tel:1"]}))?,
        account.post(&account.url, &json!({"contact": ["mailto:nobody"]}))?,
        account.post(client.url("newOrder"), &json!({"identifiers": [dns("a.elsewhere.org")]}))?,
        account.post(client.url("newOrder"), &json!({"identifiers": [{"type": "email", "value": "a@b.test"}]}))?,
        account.post(client.url("newOrder"), &json!({"identifiers": [dns("a.test")], "profile": "none"}))?,
        account.post(&order.finalize()?, &json!({"csr": "AAAA"}))?,
        account.post(client.url("revokeCert"), &json!({"certificate": "AAAA"}))?,
    ];
    for reply in replies {
        kind(&reply)?;
    }
    Ok(())
}

/// RFC 8555 §6.7.1 MUST: `identifier` of a subproblem is an ACME identifier.
/// RFC 8555 §6.7.1 MUST NOT: `identifier` is at the top of a problem document.
#[test]
fn identifiers_are_named_in_subproblems_and_nowhere_else() -> Result<()> {
    let account = account()?;
    let refused = [dns("_under.score.test"), dns("a.elsewhere.org"), json!({"type": "email", "value": "a@b.test"})];
    let identifiers = [&refused[..], &[dns("good.test")]].concat();
    let reply = account.post(account.client.url("newOrder"), &json!({"identifiers": identifiers}))?;
    kind(&reply)?;
    let problem = reply.json()?;
    let subproblems = problem["subproblems"].as_array().context("subproblems")?;
    assert_eq!(subproblems.iter().map(|one| one["identifier"].clone()).collect::<Vec<_>>(), refused);
    let reply = account.post(account.client.url("newAuthz"), &json!({"identifier": dns("a.elsewhere.org")}))?;
    kind(&reply)?;
    assert_eq!(reply.json()?["subproblems"][0]["identifier"], dns("a.elsewhere.org"));
    Ok(())
}

/// RFC 8555 §6.7.1 MUST NOT: `identifier` is at the top of the error of an order or a challenge.
/// RFC 8555 §7.1.3 says: `error` of an order is a problem document.
/// RFC 8555 §8 SHOULD: a challenge that became invalid says why in `error`.
#[test]
fn the_errors_of_orders_and_challenges_are_problem_documents_too() -> Result<()> {
    let account = account()?;
    let order = account.order(&["failed.problems.test"])?;
    let (url, authorization) = crate::ask::authorization(&account, &order)?;
    let (challenge, token) = crate::ask::challenge(&authorization, "http-01")?;
    world().responder.put(&token, "wrong".to_owned());
    account.post(&challenge, &json!({}))?.expect(200)?;
    account.wait(&order.url, "ready").unwrap_err();
    let failed = account.read(&challenge)?.expect(200)?.json()?;
    assert_eq!(failed["status"], "invalid");
    well_formed(&failed["error"]);
    well_formed(&account.read(&order.url)?.expect(200)?.json()?["error"]);
    let shown = account.read(&url)?.expect(200)?.json()?;
    assert_eq!(tests::account::challenge(&shown, "http-01")?["error"], failed["error"]);
    Ok(())
}

/// RFC 8555 §6.6 MUST: what goes over a rate limit is `rateLimited`.
/// RFC 8555 §6.6 SHOULD: `rateLimited` comes with a Retry-After that is true.
#[test]
fn orders_over_the_limit_are_rate_limited_until_a_time_that_is_told() -> Result<()> {
    let strict = strict();
    let account = crate::external_accounts::open(&strict.client, strict.stack.report.external_account.as_deref())?;
    let url = account.client.url("newOrder");
    let order = json!({"identifiers": [dns("limit.test")]});
    for _ in 0..ORDERS_AN_HOUR {
        account.post(url, &order)?.expect(201)?;
    }
    let reply = account.post(url, &order)?;
    assert_eq!(kind(&reply)?, "rateLimited");
    let seconds: u64 = reply.header("retry-after").context("Retry-After")?.parse()?;
    assert!((1..=3600).contains(&seconds), "{seconds}");
    // Another account is not held to it.
    let other = crate::external_accounts::open(&strict.client, strict.stack.report.external_account.as_deref())?;
    other.post(url, &order)?.expect(201)?;
    Ok(())
}

/// RFC 8555 §7.1 says: every resource but the directory links to the directory as `index`.
#[test]
fn every_answer_links_to_the_directory() -> Result<()> {
    let account: Account = account()?;
    let client = &account.client;
    let mut replies = vec![client.bare("HEAD", client.url("newNonce"))?, client.get(&account.url)?];
    replies.push(account.post(client.url("newOrder"), &json!({"identifiers": [dns("index.test")]}))?);
    replies.push(account.post(client.url("newOrder"), &json!({}))?);
    for (_, url) in crate::ask::all_urls(&account, "link.problems.test")? {
        replies.push(account.read(&url)?);
    }
    for reply in replies {
        assert_eq!(link(&reply, "index").as_ref(), Some(&world().stack.report.directory), "{reply:?}");
    }
    refused(&account.read(client.url("newOrder"))?, 400, "malformed")
}
