//! Authorizations: shown, and given up (RFC 8555 §7.1.4, §7.5, §7.5.2).

use anyhow::{Context as _, Result};
use serde_json::json;
use shared::timestamp::parse_rfc3339;
use tests::{account::Account, key::AccountKey};

use crate::{
    ask::{account, authorization, challenge, header, kind},
    world::world,
};

/// RFC 8555 §7.1.4 REQUIRED: an authorization has `identifier`, `status` and `challenges`.
/// RFC 8555 §8 REQUIRED: a challenge has `type`, `url` and `status`.
/// RFC 8555 §7.1.6 says: authorizations and challenges begin `pending`.
#[test]
fn a_pending_authorization_shows_its_identifier_and_its_challenges() -> Result<()> {
    let account = account()?;
    let order = account.order(&["shown.authorizations.test"])?;
    let (_, object) = authorization(&account, &order)?;
    assert_eq!(object["status"], "pending");
    assert_eq!(object["identifier"], json!({"type": "dns", "value": "shown.authorizations.test"}));
    let challenges = object["challenges"].as_array().context("challenges")?;
    assert!(challenges.len() >= 2);
    for challenge in challenges {
        assert!(challenge["type"].is_string() && challenge["status"] == "pending", "{challenge}");
        assert!(challenge["url"].as_str().context("a URL")?.starts_with("https://"));
        assert!(challenge.get("validated").is_none() && challenge.get("error").is_none(), "{challenge}");
    }
    Ok(())
}

/// RFC 8555 §7.1.4 REQUIRED: a valid authorization has `expires`, an RFC 3339 time.
/// RFC 8555 §7.5.1 MUST: an authorization that became valid says when it expires.
/// RFC 8555 §8 REQUIRED: a valid challenge has `validated`, an RFC 3339 time.
/// RFC 8555 §7.1.4 says: one challenge is enough; a valid authorization shows the one that was validated.
#[test]
fn a_valid_authorization_shows_when_it_expires_and_what_proved_it() -> Result<()> {
    let account = account()?;
    let order = account.ready_order(&["valid.authorizations.test"], &world().responder)?;
    let (_, object) = authorization(&account, &order)?;
    assert_eq!(object["status"], "valid");
    parse_rfc3339(object["expires"].as_str().context("expires")?)?;
    let valid: Vec<_> =
        object["challenges"].as_array().context("challenges")?.iter().filter(|one| one["status"] == "valid").collect();
    assert_eq!((valid.len(), &valid[0]["type"]), (1, &json!("http-01")));
    parse_rfc3339(valid[0]["validated"].as_str().context("validated")?)?;
    Ok(())
}

/// RFC 8555 §7.1.4 says: an invalid authorization shows the challenge that failed.
/// RFC 8555 §7.5.1 SHOULD NOT: a challenge that became invalid is taken away.
/// RFC 8555 §7.1.6 says: an authorization whose challenge failed is `invalid`.
#[test]
fn an_invalid_authorization_shows_what_failed() -> Result<()> {
    let account = account()?;
    let order = account.order(&["invalid.authorizations.test"])?;
    let (url, object) = authorization(&account, &order)?;
    account.post(&challenge(&object, "http-01")?.0, &json!({}))?.expect(200)?;
    account.wait(&url, "valid").unwrap_err();
    let object = account.read(&url)?.expect(200)?.json()?;
    assert_eq!(object["status"], "invalid");
    assert_eq!(tests::account::challenge(&object, "http-01")?["status"], "invalid");
    Ok(())
}

/// RFC 8555 §7.1.3 MUST NOT: the authorization of a wildcard has `*.` in its identifier.
/// RFC 8555 §7.1.3 MUST: the authorization of a wildcard has `wildcard`, which is true.
/// RFC 8555 §7.1.4 MUST: other authorizations have no `wildcard`.
#[test]
fn the_authorization_of_a_wildcard_is_for_its_parent_and_marked() -> Result<()> {
    let account = account()?;
    let order = account.order(&["*.wild.authorizations.test", "wild.authorizations.test"])?;
    let mut marks = Vec::new();
    for url in order.authorizations()? {
        let object = account.read(&url)?.expect(200)?.json()?;
        assert_eq!(object["identifier"], json!({"type": "dns", "value": "wild.authorizations.test"}));
        marks.push(object.get("wildcard").cloned());
    }
    marks.sort_by_key(Option::is_some);
    assert_eq!(marks, [None, Some(json!(true))]);
    Ok(())
}

/// RFC 8555 §7.5.2 says: giving an authorization up is answered by 200 and the authorization, which is `deactivated`.
/// RFC 8555 §7.5.2 MUST NOT: an authorization that was given up is enough for a certificate.
#[test]
fn a_deactivated_authorization_issues_nothing() -> Result<()> {
    let account = account()?;
    let names = ["gone.authorizations.test"];
    let order = account.ready_order(&names, &world().responder)?;
    let (url, _) = authorization(&account, &order)?;
    let object = account.post(&url, &json!({"status": "deactivated"}))?.expect(200)?.json()?;
    assert_eq!(object["status"], "deactivated");
    assert_eq!(account.read(&url)?.expect(200)?.json()?["status"], "deactivated");
    let reply = account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?;
    assert_eq!((reply.status, kind(&reply)?.as_str()), (403, "orderNotReady"));
    // One made in advance no longer serves new orders.
    let advance = json!({"identifier": {"type": "dns", "value": names[0]}});
    let url = account.post(account.client.url("newAuthz"), &advance)?.expect(201)?.location()?;
    account.answer(std::slice::from_ref(&url), &world().responder)?;
    account.wait(&url, "valid")?;
    account.post(&url, &json!({"status": "deactivated"}))?.expect(200)?;
    assert_eq!(account.order(&names)?.object["status"], "pending");
    Ok(())
}

/// RFC 8555 §7.5.2 MUST: an authorization is given up by the key of the account that owns it.
#[test]
fn nobody_else_gives_an_authorization_up() -> Result<()> {
    let (owner, stranger) = (account()?, account()?);
    let order = owner.order(&["mine.authorizations.test"])?;
    let (url, _) = authorization(&owner, &order)?;
    let payload = json!({"status": "deactivated"});
    assert_eq!(kind(&stranger.post(&url, &payload)?)?, "unauthorized");
    let forged = AccountKey::es256().sign(&header(&owner, &url)?, payload.to_string().as_bytes())?.to_string();
    kind(&owner.client.post(&url, forged.as_bytes())?)?;
    assert_eq!(owner.read(&url)?.expect(200)?.json()?["status"], "pending");
    Ok(())
}

/// RFC 8555 §7.5 says: an authorization belongs to one account.
#[test]
fn what_one_account_has_proved_another_must_prove_again() -> Result<()> {
    let (one, two) = (account()?, account()?);
    let names = ["shared.authorizations.test"];
    one.issue(&names, &world().responder)?;
    assert_eq!(two.order(&names)?.object["status"], "pending");
    Ok(())
}
