//! The form of signed requests (RFC 8555 §5, §6.1, §6.2).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::base64url;
use tests::{account::Account, client::Reply, key::AccountKey};

use crate::{
    ask::{account, changed, header, kind, refused, send},
    world::world,
};

/// A right POST-as-GET of the account, changed as JSON.
fn reshaped(account: &Account, change: impl FnOnce(&mut Value)) -> Result<Reply> {
    let mut jws = account.key.sign(&header(account, &account.url)?, b"")?;
    change(&mut jws);
    account.client.post(&account.url, jws.to_string().as_bytes())
}

/// RFC 8555 §6.2 MUST: a request is verified as a JWS before anything is done with it.
#[test]
fn a_signature_by_another_key_or_over_other_bytes_is_refused_and_changes_nothing() -> Result<()> {
    let account = account()?;
    let update = json!({"contact": ["mailto:thief@thief.test"]}).to_string();
    let header = header(&account, &account.url)?;
    let forged = AccountKey::es256().sign(&header, update.as_bytes())?;
    let mut exchanged = account.key.sign(&header, b"{}")?;
    exchanged["payload"] = json!(base64url::encode(update.as_bytes()));
    let mut cut = account.key.sign(&header, update.as_bytes())?;
    cut["signature"] = json!("");
    for jws in [forged, exchanged, cut] {
        kind(&account.client.post(&account.url, jws.to_string().as_bytes())?)?;
    }
    assert_eq!(account.read(&account.url)?.json()?["contact"], json!([]));
    Ok(())
}

/// RFC 8555 §6.2 MUST: the JWS is in the flattened JSON serialization.
/// RFC 8555 §6.2 MUST NOT: the JWS has several signatures.
#[test]
fn other_serializations_than_the_flattened_one_are_refused() -> Result<()> {
    let account = account()?;
    let jws = account.key.sign(&header(&account, &account.url)?, b"")?;
    let text = |member: &str| jws[member].as_str().unwrap_or_default();
    let compact = format!("{}.{}.{}", text("protected"), text("payload"), text("signature"));
    let signature = json!({"protected": jws["protected"], "signature": jws["signature"]});
    let general = json!({"payload": jws["payload"], "signatures": [signature]}).to_string();
    let both =
        json!({"payload": "", "protected": jws["protected"], "signature": jws["signature"], "signatures": [signature]});
    for body in [compact, general, both.to_string(), json!([jws]).to_string(), String::new()] {
        refused(&account.client.post(&account.url, body.as_bytes())?, 400, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST NOT: the JWS has an unprotected header.
/// RFC 8555 §6.4.1 MUST: the URL is in the protected header.
/// RFC 8555 §6.5.2 MUST: the nonce is in the protected header.
#[test]
fn an_unprotected_header_is_refused_and_nothing_is_taken_from_it() -> Result<()> {
    let account = account()?;
    refused(&reshaped(&account, |jws| jws["header"] = json!({}))?, 400, "malformed")?;
    for member in ["url", "nonce"] {
        let mut header = header(&account, &account.url)?;
        let value = header[member].take();
        header.as_object_mut().context("an object")?.remove(member);
        let mut jws = account.key.sign(&header, b"")?;
        jws["header"] = json!({member: value});
        refused(&account.client.post(&account.url, jws.to_string().as_bytes())?, 400, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST NOT: the payload is left unencoded (RFC 7797).
#[test]
fn an_unencoded_payload_is_refused() -> Result<()> {
    let account = account()?;
    let with = |b64: Value| {
        changed(&account, |header| {
            header["b64"] = b64;
            header["crit"] = json!(["b64"]);
        })
    };
    refused(&with(json!(false))?, 400, "malformed")?;
    refused(&with(json!(true))?, 400, "malformed")
}

/// RFC 8555 §6.2 MUST NOT: the payload is detached.
/// RFC 8555 §6.3 MUST: a POST-as-GET has the member `payload`, and it is the empty text.
#[test]
fn a_request_without_the_member_payload_is_refused() -> Result<()> {
    let account = account()?;
    refused(&reshaped(&account, |jws| drop(jws.as_object_mut().map(|jws| jws.remove("payload"))))?, 400, "malformed")?;
    refused(&reshaped(&account, |jws| jws["payload"] = json!(null))?, 400, "malformed")?;
    reshaped(&account, |_| {})?.expect(200)?;
    Ok(())
}

/// RFC 8555 §6.2 MUST: the protected header has `alg`, `nonce`, `url`, and `jwk` or `kid`.
/// RFC 8555 §6.4.1 MUST: `url` is a text.
#[test]
fn a_protected_header_that_lacks_a_member_is_refused() -> Result<()> {
    let account = account()?;
    for (member, expected) in [("alg", "malformed"), ("nonce", "badNonce"), ("url", "malformed"), ("kid", "malformed")]
    {
        let mut header = header(&account, &account.url)?;
        header.as_object_mut().context("an object")?.remove(member);
        let jws = account.key.sign_text(&header.to_string(), b"")?;
        refused(&account.client.post(&account.url, jws.to_string().as_bytes())?, 400, expected)?;
        let wrong = changed(&account, |header| header[member] = json!(1))?;
        refused(&wrong, 400, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST: a request that has both `jwk` and `kid` is refused.
#[test]
fn jwk_and_kid_together_are_refused_everywhere() -> Result<()> {
    let account = account()?;
    for url in [account.client.url("newAccount"), account.client.url("revokeCert"), &account.url] {
        let mut header = header(&account, url)?;
        header["jwk"] = account.key.jwk();
        refused(&send(&account, url, &header, b"{}")?, 400, "malformed")?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST: newAccount has a `jwk`.
/// RFC 8555 §6.2 MUST: every other request of an account has a `kid`.
#[test]
fn each_resource_wants_its_own_kind_of_key_reference() -> Result<()> {
    let account = account()?;
    let url = account.client.url("newAccount");
    refused(&send(&account, url, &header(&account, url)?, b"{}")?, 400, "malformed")?;
    for name in ["newOrder", "newAuthz", "keyChange"] {
        let url = account.client.url(name);
        let header = json!({"url": url, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
        refused(&send(&account, url, &header, b"{}")?, 400, "malformed")?;
    }
    let header = json!({"url": account.url, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
    refused(&send(&account, &account.url, &header, b"")?, 400, "malformed")
}

/// RFC 8555 §6.2 MUST: `jwk` is the key that signed.
#[test]
fn an_account_cannot_be_opened_for_a_key_that_did_not_sign() -> Result<()> {
    let client = &world().client;
    let (mine, theirs) = (AccountKey::es256(), AccountKey::es256());
    let url = client.url("newAccount");
    let header = json!({"url": url, "nonce": client.nonce()?, "jwk": theirs.jwk()});
    kind(&client.post(url, mine.sign(&header, b"{}")?.to_string().as_bytes())?)?;
    let existing = json!({"onlyReturnExisting": true});
    refused(&tests::account::register(client, &theirs, &existing)?, 400, "accountDoesNotExist")
}

/// RFC 8555 §6.2 MUST: `kid` is the account's URL as newAccount gave it.
#[test]
fn only_the_exact_account_url_is_a_kid() -> Result<()> {
    let account = account()?;
    let path = account.url.splitn(4, '/').nth(3).context("a path")?.to_owned();
    for kid in [
        format!("{}/", account.url),
        format!("{}?x", account.url),
        format!("/{path}"),
        account.url.replacen("https://", "http://", 1),
        account.url.replacen("https://", "HTTPS://", 1),
        account.url.rsplit('/').next().context("an id")?.to_owned(),
    ] {
        refused(&changed(&account, |header| header["kid"] = json!(kid))?, 400, "accountDoesNotExist")?;
    }
    Ok(())
}

/// RFC 8555 §6.2 MUST: another Content-Type than `application/jose+json` is answered by 415.
#[test]
fn another_content_type_is_415_at_every_signed_resource() -> Result<()> {
    let account = account()?;
    for url in crate::ask::signed_resources(&account.client).chain([account.url.as_str()]) {
        for media_type in ["application/json", "application/jose", "text/plain", ""] {
            let jws = account.key.sign(&header(&account, url)?, b"{}")?.to_string();
            let reply = account.client.post_as(url, media_type, jws.as_bytes())?;
            assert_eq!(reply.status, 415, "{url} {media_type}");
        }
    }
    Ok(())
}

/// RFC 8555 §6.1 MUST: base64url has no trailing `=`, and a value that has one is refused.
#[test]
fn padded_base64url_is_refused_in_every_member() -> Result<()> {
    let account = account()?;
    for member in ["protected", "payload", "signature"] {
        // A length of which padding is the end: two characters stand for one byte.
        let reply = reshaped(&account, |jws| {
            let text = jws[member].as_str().unwrap_or_default().to_owned();
            jws[member] = json!(if text.is_empty() { "e30=".to_owned() } else { format!("{text}==") });
        })?;
        refused(&reply, 400, "malformed")?;
    }
    let revocation = json!({"certificate": "MIIB=="}).to_string();
    let url = account.client.url("revokeCert");
    refused(&send(&account, url, &header(&account, url)?, revocation.as_bytes())?, 400, "malformed")?;
    let order = account.ready_order(&["padded.test"], &world().responder)?;
    let mut payload = Account::finalize_payload(&["padded.test"])?;
    payload["csr"] = json!(format!("{}==", payload["csr"].as_str().context("a CSR")?));
    kind(&account.post(&order.finalize()?, &payload)?)?;
    assert_eq!(account.read(&order.url)?.json()?["status"], "ready");
    Ok(())
}

/// RFC 8555 §5 MUST: what is sent is UTF-8.
#[test]
fn requests_and_answers_are_utf_8() -> Result<()> {
    let account = account()?;
    let latin = b"{\"contact\":[\"mailto:\xe4@contact.test\"]}";
    refused(&send(&account, &account.url, &header(&account, &account.url)?, latin)?, 400, "malformed")?;
    let order = json!({"identifiers": [{"type": "dns", "value": "b\u{fc}cher.test"}]});
    let reply = account.post(account.client.url("newOrder"), &order)?;
    kind(&reply)?;
    assert!(reply.text()?.contains("b\u{fc}cher.test"), "{}", reply.text()?);
    Ok(())
}
