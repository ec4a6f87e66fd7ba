//! Accounts: updated, and ended (RFC 8555 §7.3.2, §7.3.6).

use anyhow::Result;
use serde_json::json;
use shared::chain::Leaf;
use tests::{
    account::{Account, register},
    client::Reply,
    journal,
    key::AccountKey,
    openssl,
};

use crate::{
    ask::{account, header, kind, refused, send},
    world::world,
};

fn deactivate(account: &Account) -> Result<Reply> {
    account.post(&account.url, &json!({"status": "deactivated"}))
}

/// RFC 8555 §7.3.2 MUST: an update that is accepted is answered by 200 and the account as it is then.
#[test]
fn contacts_are_replaced_and_shown() -> Result<()> {
    let account = account()?;
    for contact in [json!(["mailto:a@contact.test"]), json!([])] {
        let object = account.post(&account.url, &json!({"contact": contact}))?.expect(200)?.json()?;
        assert_eq!((&object["contact"], &object["status"]), (&contact, &json!("valid")));
        assert_eq!(account.read(&account.url)?.expect(200)?.json()?, object);
    }
    Ok(())
}

/// RFC 8555 §7.3.2 MUST: updates of `orders`, `termsOfServiceAgreed`, `status` and members that are not known are ignored.
#[test]
fn updates_of_what_is_not_a_clients_to_update_are_ignored() -> Result<()> {
    let account = account()?;
    let before = account.read(&account.url)?.expect(200)?.json()?;
    for update in [
        json!({"orders": "https://elsewhere.test/"}),
        json!({"termsOfServiceAgreed": false}),
        json!({"termsOfServiceAgreed": "no"}),
        json!({"status": "valid"}),
        json!({"status": "revoked"}),
        json!({"status": "unheard-of"}),
        json!({"status": 1}),
        json!({"externalAccountBinding": {"protected": "e30", "payload": "e30", "signature": ""}}),
        json!({"unheard-of": {"of": [1]}, "createdAt": "now", "key": {}}),
        json!({}),
    ] {
        let after = account.post(&account.url, &update)?.expect(200)?.json()?;
        assert_eq!(after, before, "{update}");
    }
    Ok(())
}

/// RFC 8555 §7.3 MUST: contacts of an update are checked as those of newAccount.
#[test]
fn an_update_with_a_wrong_contact_is_refused_and_changes_nothing() -> Result<()> {
    let account = account()?;
    let contact = json!(["mailto:kept@contact.test"]);
    account.post(&account.url, &json!({"contact": contact}))?.expect(200)?;
    for (wrong, expected) in [("tel:1", "unsupportedContact"), ("mailto:a?cc=b", "invalidContact")] {
        let reply = account.post(&account.url, &json!({"contact": ["mailto:a@contact.test", wrong]}))?;
        assert_eq!(kind(&reply)?, expected);
    }
    assert_eq!(account.read(&account.url)?.json()?["contact"], contact);
    Ok(())
}

/// RFC 8555 §7.3.6 says: a deactivation is answered by 200 and the account, which is `deactivated`.
/// RFC 8555 §7.3.6 MUST: POST and POST-as-GET of a deactivated account are 401 and `unauthorized`.
/// RFC 8555 §7.3.6 MUST NOT: the key of a deactivated account is good for further requests.
#[test]
fn a_deactivated_account_is_told_401_everywhere() -> Result<()> {
    let account = account()?;
    let urls = crate::ask::all_urls(&account, "gone.updates.test")?;
    assert_eq!(deactivate(&account)?.expect(200)?.json()?["status"], "deactivated");
    for (_, url) in &urls {
        refused(&account.read(url)?, 401, "unauthorized")?;
        refused(&account.post(url, &json!({}))?, 401, "unauthorized")?;
    }
    let order = json!({"identifiers": [{"type": "dns", "value": "late.test"}]});
    for (name, payload) in [("newOrder", &order), ("newAuthz", &order), ("keyChange", &json!({}))] {
        refused(&account.post(account.client.url(name), payload)?, 401, "unauthorized")?;
    }
    for payload in [json!({}), json!({"onlyReturnExisting": true}), json!({"termsOfServiceAgreed": true})] {
        refused(&register(&account.client, &account.key, &payload)?, 401, "unauthorized")?;
    }
    Ok(())
}

/// RFC 8555 §7.3.6 SHOULD NOT: certificates of a deactivated account are revoked with it.
#[test]
fn a_deactivated_accounts_certificates_stay_good() -> Result<()> {
    let account = account()?;
    let (_, chain) = account.issue(&["stays.updates.test"], &world().responder)?;
    deactivate(&account)?.expect(200)?;
    let serial = Leaf::from_der(&openssl::der(&chain)?)?.serial.to_string();
    assert_eq!(journal::revocations(&world().stack.report.state, &serial)?, 0);
    Ok(())
}

/// RFC 8555 §7.3.6 MUST: a deactivation is signed by the account's key.
#[test]
fn nobody_else_deactivates_an_account() -> Result<()> {
    let (account, stranger) = (account()?, account()?);
    let payload = json!({"status": "deactivated"});
    assert_eq!(kind(&stranger.post(&account.url, &payload)?)?, "unauthorized");
    let header = header(&account, &account.url)?;
    let forged = AccountKey::es256().sign(&header, payload.to_string().as_bytes())?.to_string();
    kind(&account.client.post(&account.url, forged.as_bytes())?)?;
    assert_eq!(account.read(&account.url)?.expect(200)?.json()?["status"], "valid");
    Ok(())
}

/// RFC 8555 §7.3.6 SHOULD: what a deactivated account has begun is not carried on.
/// RFC 8555 §7.3.6 says: a deactivated account cannot come back.
#[test]
fn a_deactivated_account_does_not_come_back_and_finalizes_nothing() -> Result<()> {
    let account = account()?;
    let names = ["ready.updates.test"];
    let order = account.ready_order(&names, &world().responder)?;
    deactivate(&account)?.expect(200)?;
    refused(&account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?, 401, "unauthorized")?;
    refused(&account.post(&account.url, &json!({"status": "valid"}))?, 401, "unauthorized")?;
    let header = header(&account, &account.url)?;
    refused(&send(&account, &account.url, &header, b"")?, 401, "unauthorized")
}
