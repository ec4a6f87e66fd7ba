//! Requests that are wrong in one thing, and what every refusal is.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    account::{Account, Order},
    client::{Client, Reply},
};

use crate::world::world;

/// The error types that are registered: RFC 8555 §6.7 and what later documents add to the registry.
const REGISTERED: [&str; 27] = [
    "accountDoesNotExist",
    "alreadyReplaced",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "invalidProfile",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
    "autoRenewalCanceled",
];

/// A fresh account of the usual stack.
pub(crate) fn account() -> Result<Account> {
    Account::new(&world().client)
}

/// The protected header of a right request of this account.
pub(crate) fn header(account: &Account, url: &str) -> Result<Value> {
    Ok(json!({"alg": account.key.algorithm(), "url": url, "nonce": account.client.nonce()?, "kid": account.url}))
}

/// A request of this account with this header and payload.
pub(crate) fn send(account: &Account, url: &str, header: &Value, payload: &[u8]) -> Result<Reply> {
    account.client.post(url, account.key.sign(header, payload)?.to_string().as_bytes())
}

/// A right POST-as-GET of an account's URL, changed in its header.
pub(crate) fn changed(account: &Account, change: impl FnOnce(&mut Value)) -> Result<Reply> {
    let mut header = header(account, &account.url)?;
    change(&mut header);
    send(account, &account.url, &header, b"")
}

/// The error type of a refusal, after checking what every refusal is: a problem document of a registered type, which names no
/// identifier at its top.
pub(crate) fn kind(reply: &Reply) -> Result<String> {
    assert!(reply.status >= 400, "refused: {reply:?}");
    let kind = reply.problem()?;
    well_formed(&reply.json()?);
    Ok(kind)
}

/// Checks a problem document, of an answer or inside of an object (RFC 8555 §6.7, §6.7.1).
pub(crate) fn well_formed(problem: &Value) {
    let registered = |problem: &Value| {
        let kind = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:ietf:params:acme:error:"));
        assert!(kind.is_some_and(|kind| REGISTERED.contains(&kind)), "not registered: {problem}");
    };
    registered(problem);
    assert!(problem.get("identifier").is_none(), "an identifier at the top: {problem}");
    for subproblem in problem["subproblems"].as_array().into_iter().flatten() {
        registered(subproblem);
        if let Some(identifier) = subproblem.get("identifier") {
            assert!(identifier["type"].is_string() && identifier["value"].is_string(), "{problem}");
        }
    }
}

/// Checks status and type of a refusal.
pub(crate) fn refused(reply: &Reply, status: u16, expected: &str) -> Result<()> {
    assert_eq!((reply.status, kind(reply)?.as_str()), (status, expected), "{reply:?}");
    Ok(())
}

/// Where the answer's first link of this relation leads. URLs of ours have no commas.
pub(crate) fn link(reply: &Reply, relation: &str) -> Option<String> {
    let suffix = format!(">;rel=\"{relation}\"");
    let mut links = reply.headers("link").flat_map(|value| value.split(", "));
    links.find_map(|link| Some(link.strip_prefix('<')?.strip_suffix(&suffix)?.to_owned()))
}

/// The first authorization of an order.
pub(crate) fn authorization(account: &Account, order: &Order) -> Result<(String, Value)> {
    let url = order.authorizations()?.first().context("an authorization")?.clone();
    let object = account.read(&url)?.expect(200)?.json()?;
    Ok((url, object))
}

/// URL and token of a challenge.
pub(crate) fn challenge(authorization: &Value, kind: &str) -> Result<(String, String)> {
    let challenge = tests::account::challenge(authorization, kind)?;
    let text = |member: &str| challenge[member].as_str().with_context(|| format!("no {member}")).map(str::to_owned);
    Ok((text("url")?, text("token")?))
}

/// The URL of everything that an account can reach: for what must hold everywhere. The order is valid.
pub(crate) fn all_urls(account: &Account, name: &str) -> Result<Vec<(&'static str, String)>> {
    let (order, _) = account.issue(&[name], &world().responder)?;
    let (authorization, object) = authorization(account, &order)?;
    let valid = account.read(&order.url)?.expect(200)?.json()?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a URL");
    Ok(vec![
        ("account", account.url.clone()),
        ("orders", text(&account.read(&account.url)?.json()?["orders"])?),
        ("order", order.url.clone()),
        ("finalize", order.finalize()?),
        ("authorization", authorization),
        ("challenge", challenge(&object, "http-01")?.0),
        ("certificate", text(&valid["certificate"])?),
    ])
}

/// The resources of the directory that are asked for by signed requests alone.
pub(crate) fn signed_resources(client: &Client) -> impl Iterator<Item = &str> {
    ["newAccount", "newOrder", "newAuthz", "keyChange", "revokeCert"].into_iter().map(|name| client.url(name))
}
