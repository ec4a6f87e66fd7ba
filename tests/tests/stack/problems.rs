//! Refusals: each a problem document with its status, the link to the directory and the words of RFC 8555 §6.7.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{
    account::Account,
    client::{Client, Reply},
    key::AccountKey,
};

use crate::world::world;

/// Checks status and type, and what every answer of ACME has (RFC 8555 §7.1).
fn refused(reply: &Reply, status: u16, kind: &str, client: &Client) -> Result<()> {
    assert_eq!((reply.status, reply.problem()?.as_str()), (status, kind), "{reply:?}");
    let directory = client.url("newNonce").replace("/acme/new-nonce", "/directory");
    let index = format!("<{directory}>;rel=\"index\"");
    assert!(reply.headers("link").any(|link| link == index), "{index}: {reply:?}");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    Ok(())
}

fn base(client: &Client) -> String {
    client.url("newNonce").trim_end_matches("/acme/new-nonce").to_owned()
}

#[test]
fn a_path_that_names_nothing_is_404() -> Result<()> {
    let client = &world().client;
    for path in ["/nothing", "/directory/", "/acme", "/acme/account/AAAA", "/acme/order/AAAA/000000000000000000000000"]
    {
        refused(&client.get(&format!("{}{path}", base(client)))?, 404, "malformed", client)?;
    }
    Ok(())
}

#[test]
fn a_method_that_a_resource_does_not_have_is_405_with_those_that_it_has() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    for (method, url, allow) in [
        ("GET", client.url("newAccount"), "POST"),
        ("GET", client.url("newOrder"), "POST"),
        ("GET", account.url.as_str(), "POST"),
        ("DELETE", account.url.as_str(), "POST"),
        ("DELETE", client.url("newNonce"), "GET, HEAD, POST"),
    ] {
        let reply = client.bare(method, url)?;
        refused(&reply, 405, "malformed", client)?;
        assert_eq!(reply.header("allow"), Some(allow), "{method} {url}");
    }
    let reply = client.post(&format!("{}/root.pem", base(client)), b"{}")?;
    refused(&reply, 405, "malformed", client)?;
    assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    Ok(())
}

/// Methods that the platform's own type of methods does not know, too.
#[test]
fn a_method_of_another_protocol_is_405_everywhere() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let directory = format!("{}/directory", base(client));
    let urls = [directory.as_str(), client.url("newNonce"), client.url("newAccount"), account.url.as_str()];
    let renewal = format!("{}/AAAAAAAAAAAAAAAAAAAAAAAAAAA.AQ", client.url("renewalInfo"));
    for method in ["PROPFIND", "SEARCH", "LOCK", "REPORT", "PUT", "PATCH"] {
        for url in urls.into_iter().chain([renewal.as_str()]) {
            let reply = client.bare(method, url)?;
            refused(&reply, 405, "malformed", client)?;
            assert!(reply.header("allow").is_some(), "{method} {url}: {reply:?}");
        }
        for path in ["/", "/root.pem"] {
            refused(&client.bare(method, &format!("{}{path}", base(client)))?, 405, "malformed", client)?;
        }
        let crl = format!("{}/root.crl", world().stack.report.status_url);
        client.bare(method, &crl)?.expect(405)?;
    }
    Ok(())
}

/// RFC 8555 §6.1 SHOULD: a server that is there for everybody lets scripts of any origin in (CORS).
#[test]
fn scripts_of_other_origins_may_send_requests_and_read_the_answers() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let directory = format!("{}/directory", base(client));
    let answers = [
        client.get(&directory)?.expect(200)?,
        client.bare("HEAD", client.url("newNonce"))?.expect(200)?,
        account.read(&account.url)?.expect(200)?,
        client.post(client.url("newOrder"), b"{}")?.expect(400)?,
        client.get(&format!("{directory}/nothing"))?.expect(404)?,
    ];
    for reply in &answers {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{reply:?}");
        let exposed: Vec<_> = reply.headers("access-control-expose-headers").flat_map(|all| all.split(", ")).collect();
        assert_eq!(exposed, ["Replay-Nonce", "Location", "Link", "Retry-After"], "{reply:?}");
    }
    for (url, methods) in [
        (directory.as_str(), "GET, HEAD, POST"),
        (client.url("newNonce"), "GET, HEAD, POST"),
        (client.url("newAccount"), "POST"),
        (account.url.as_str(), "POST"),
    ] {
        let reply = client.bare("OPTIONS", url)?.expect(204)?;
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{url}");
        assert_eq!(reply.header("access-control-allow-methods"), Some(methods), "{url}");
        assert_eq!(reply.header("access-control-allow-headers"), Some("Content-Type"), "{url}");
    }
    let page = client.get(&format!("{}/", base(client)))?.expect(200)?;
    assert_eq!(page.header("access-control-allow-origin"), None, "pages are for people");
    Ok(())
}

/// RFC 8555 §6.4 MUST: the whole URL of the request is compared, its query too.
#[test]
fn a_query_that_was_not_signed_is_refused_and_both_urls_are_named() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let with_query = format!("{}?a=1", account.url);
    for (signed, named) in [(&account.url, &with_query), (&with_query, &account.url)] {
        let body = account.sign(signed, &client.nonce()?, b"")?;
        let reply = client.post(&with_query, &body)?;
        refused(&reply, 403, "unauthorized", client)?;
        let detail = reply.json()?["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(&format!("{signed:?}")) && detail.contains(&format!("{named:?}")), "{detail}");
    }
    account.read(&account.url)?.expect(200).map(drop)
}

/// The object of newAccount is named by the key in the request: no stranger has one made, or woken, by a key that he
/// has not.
#[test]
fn a_request_that_its_own_key_did_not_sign_wakes_no_object() -> Result<()> {
    let world = world();
    let client = &world.client;
    let owner = Account::new(client)?;
    let (_, chain) = owner.issue(&["not-woken.test"], &world.responder)?;
    let revocation = json!({"certificate": shared::base64url::encode(&tests::openssl::der(&chain)?)}).to_string();
    let (victim, forger) = (AccountKey::es256(), AccountKey::es256());
    for (url, payload) in [(client.url("newAccount"), "{}"), (client.url("revokeCert"), revocation.as_str())] {
        let header = json!({"url": url, "nonce": client.nonce()?, "jwk": victim.jwk()});
        let body = forger.sign(&header, payload.as_bytes())?.to_string();
        let reply = client.post(url, body.as_bytes())?;
        refused(&reply, 400, "malformed", client)?;
        assert_eq!(reply.hops()?, 0, "{url}");
    }
    // A `kid` that this deployment did not give is refused before anything is asked, too.
    let kid = owner.url.replacen("/acme/account/", "/acme/account/A", 1);
    let header = json!({"url": client.url("newOrder"), "nonce": client.nonce()?, "kid": kid});
    let reply = client.post(client.url("newOrder"), forger.sign(&header, b"{}")?.to_string().as_bytes())?;
    assert_eq!(reply.hops()?, 0);
    refused(&reply, 400, "accountDoesNotExist", client)
}

#[test]
fn another_media_type_is_415_and_too_many_bytes_are_413() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    for media_type in ["application/json", "text/plain", "application/jose", "application/jose+json2"] {
        let body = account.sign(&account.url, &client.nonce()?, b"")?;
        refused(&client.post_as(&account.url, media_type, &body)?, 415, "malformed", client)?;
    }
    let body = account.sign(&account.url, &client.nonce()?, b"")?;
    client.post_as(&account.url, "Application/JOSE+json; charset=utf-8", &body)?.expect(200)?;
    refused(&client.post(&account.url, &vec![b' '; 65_537])?, 413, "malformed", client)
}

#[test]
fn what_is_no_flattened_jws_is_malformed() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let good = String::from_utf8(account.sign(&account.url, &client.nonce()?, b"")?)?;
    let compact = "e30.e30.e30".to_owned();
    let unprotected = good.replacen('{', r#"{"header":{},"#, 1);
    let several = good.replacen('{', r#"{"signatures":[],"#, 1);
    let padded = good.replacen(r#""payload":""#, r#""payload":"="#, 1);
    for body in ["", "{}", "[]", "null", "\u{0}", &compact, &unprotected, &several, &padded, &good[..good.len() - 1]] {
        refused(&client.post(&account.url, body.as_bytes())?, 400, "malformed", client)?;
    }
    refused(&client.post(&account.url, &[0xff; 16])?, 400, "malformed", client)
}

#[test]
fn jwk_and_kid_belong_to_their_own_endpoints() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let both = json!({"kid": account.url, "jwk": account.key.jwk()});
    let neither = json!({});
    let jwk = json!({"jwk": account.key.jwk()});
    let kid = json!({"kid": account.url});
    for (url, mut header) in [
        (account.url.as_str(), both),
        (account.url.as_str(), neither),
        (account.url.as_str(), jwk),
        (client.url("newAccount"), kid),
    ] {
        header["url"] = json!(url);
        header["nonce"] = json!(client.nonce()?);
        let body = account.key.sign(&header, b"")?.to_string();
        refused(&client.post(url, body.as_bytes())?, 400, "malformed", client)?;
    }
    Ok(())
}

#[test]
fn an_algorithm_that_is_not_accepted_is_answered_with_those_that_are() -> Result<()> {
    let client = &world().client;
    let key = AccountKey::es256();
    for algorithm in ["HS256", "none", "ES256K", "PS256"] {
        let url = client.url("newAccount");
        let header = json!({"alg": algorithm, "url": url, "nonce": client.nonce()?, "jwk": key.jwk()});
        let reply = client.post(url, key.sign(&header, b"{}")?.to_string().as_bytes())?;
        refused(&reply, 400, "badSignatureAlgorithm", client)?;
        let algorithms = reply.json()?["algorithms"].clone();
        assert!(
            ["ES256", "RS256"].iter().all(|good| algorithms.as_array().is_some_and(|all| all.contains(&json!(good)))),
            "{algorithms}"
        );
    }
    Ok(())
}

#[test]
fn a_signature_of_another_key_or_over_another_url_is_refused() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    let header = json!({"url": account.url, "nonce": client.nonce()?, "kid": account.url});
    let forged = AccountKey::es256().sign(&header, b"")?.to_string();
    refused(&client.post(&account.url, forged.as_bytes())?, 400, "malformed", client)?;
    let header = json!({"url": client.url("newOrder"), "nonce": client.nonce()?, "kid": account.url});
    let elsewhere = account.key.sign(&header, b"")?.to_string();
    refused(&client.post(&account.url, elsewhere.as_bytes())?, 403, "unauthorized", client)
}

#[test]
fn a_kid_that_names_no_account_here_is_account_does_not_exist() -> Result<()> {
    let account = Account::new(&world().client)?;
    let client = &account.client;
    for kid in [
        account.url.replace("/acme/account/", "/acme/account/A"),
        "https://elsewhere.test/acme/1".to_owned(),
        String::new(),
    ] {
        let header = json!({"url": client.url("newOrder"), "nonce": client.nonce()?, "kid": kid});
        let body = account.key.sign(&header, b"{}")?.to_string();
        refused(&client.post(client.url("newOrder"), body.as_bytes())?, 400, "accountDoesNotExist", client)?;
    }
    Ok(())
}

#[test]
fn only_return_existing_makes_no_account() -> Result<()> {
    let client = &world().client;
    let key = AccountKey::es256();
    let url = client.url("newAccount");
    for _ in 0..2 {
        let header = json!({"url": url, "nonce": client.nonce()?, "jwk": key.jwk()});
        let body = key.sign(&header, br#"{"onlyReturnExisting":true}"#)?.to_string();
        refused(&client.post(url, body.as_bytes())?, 400, "accountDoesNotExist", client)?;
    }
    Ok(())
}

#[test]
fn what_is_another_accounts_can_be_neither_read_nor_changed() -> Result<()> {
    let (owner, other) = (Account::new(&world().client)?, Account::new(&world().client)?);
    let order = owner.order(&["owner.test"])?;
    let authorization = owner.read(&order.authorizations()?[0])?.expect(200)?.json()?;
    let challenge = tests::account::challenge(&authorization, "http-01")?["url"].as_str().context("a URL")?.to_owned();
    let client = &other.client;
    for url in [&owner.url, &order.url, &order.authorizations()?[0], &challenge, &order.finalize()?] {
        refused(&other.read(url)?, 403, "unauthorized", client)?;
        refused(&other.post(url, &json!({}))?, 403, "unauthorized", client)?;
    }
    owner.read(&order.url)?.expect(200)?;
    Ok(())
}

#[test]
fn names_that_are_not_permitted_are_refused_one_by_one() -> Result<()> {
    let account = Account::new(&world().client)?;
    let identifiers = json!({"identifiers": [
        {"type": "dns", "value": "good.test"},
        {"type": "dns", "value": "somebody.else.org"},
        {"type": "dns", "value": "also.elsewhere.net"},
    ]});
    let reply = account.post(account.client.url("newOrder"), &identifiers)?;
    refused(&reply, 403, "rejectedIdentifier", &account.client)?;
    let subproblems = reply.json()?["subproblems"].clone();
    let about: Vec<_> =
        subproblems.as_array().context("subproblems")?.iter().map(|one| one["identifier"]["value"].clone()).collect();
    assert_eq!(about, [json!("somebody.else.org"), json!("also.elsewhere.net")]);
    Ok(())
}

#[test]
fn an_order_that_is_not_ready_cannot_be_finalized() -> Result<()> {
    let account = Account::new(&world().client)?;
    let order = account.order(&["early.test"])?;
    let reply = account.post(&order.finalize()?, &Account::finalize_payload(&["early.test"])?)?;
    refused(&reply, 403, "orderNotReady", &account.client)
}

#[test]
fn a_csr_of_other_names_is_refused_and_the_order_stays_ready() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let order = account.ready_order(&["csr.test"], &world.responder)?;
    for names in [&["other.test"][..], &["csr.test", "more.test"], &[]] {
        let reply = account.post(&order.finalize()?, &Account::finalize_payload(names)?)?;
        refused(&reply, 400, "badCSR", &account.client)?;
    }
    let reply = account.post(&order.finalize()?, &json!({"csr": "AAAA"}))?;
    refused(&reply, 400, "badCSR", &account.client)?;
    assert_eq!(account.read(&order.url)?.json()?["status"], "ready");
    Ok(())
}

#[test]
fn a_deactivated_account_can_do_nothing_any_more() -> Result<()> {
    let account = Account::new(&world().client)?;
    account.post(&account.url, &json!({"status": "deactivated"}))?.expect(200)?;
    refused(&account.read(&account.url)?, 401, "unauthorized", &account.client)?;
    let order = json!({"identifiers": [{"type": "dns", "value": "late.test"}]});
    refused(&account.post(account.client.url("newOrder"), &order)?, 401, "unauthorized", &account.client)
}

/// RFC 8555 §6.1 REQUIRED: ACME is spoken over HTTPS.
#[test]
fn acme_over_plain_http_is_refused() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let plain = &world.stack.report.http;
    for path in ["/directory", "/acme/new-nonce"] {
        refused(&world.client.get(&format!("{plain}{path}"))?, 403, "malformed", &world.client)?;
    }
    let body = account.sign(&account.url, &world.client.nonce()?, b"")?;
    let path = account.url.strip_prefix(&base(&world.client)).context("a URL of this server")?;
    refused(&world.client.post(&format!("{plain}{path}"), &body)?, 403, "malformed", &world.client)
}

#[test]
fn a_client_that_sends_too_much_hears_the_answer_every_time() -> Result<()> {
    let account = Account::new(&world().client)?;
    for bytes in [65_537, 100_000, 1_000_000] {
        for _ in 0..10 {
            let reply = account.client.post(&account.url, &vec![b' '; bytes])?.expect(413)?;
            reply.nonce()?;
        }
    }
    Ok(())
}

#[test]
fn a_request_of_several_lines_or_of_many_bytes_is_answered_as_any_other() -> Result<()> {
    let account = Account::new(&world().client)?;
    let padded = |bytes: usize| json!({"ignored": "x".repeat(bytes)}).to_string().into_bytes();
    for payload in [Vec::new(), padded(1_000), padded(12_000), padded(40_000)] {
        let body = account.sign(&account.url, &account.nonce()?, &payload)?;
        account.send_signed(&account.url, &body)?.expect(200)?;
        let body = account.sign(&account.url, &account.nonce()?, &payload)?;
        let spread = format!(" {:#}\n", serde_json::from_slice::<serde_json::Value>(&body)?);
        account.send_signed(&account.url, spread.as_bytes())?.expect(200)?;
    }
    Ok(())
}
