//! What an order may choose, up to the certificate that a signer made of it.

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyPair};
use serde_json::{Value, json};
use shared::base64url;
use tests::{
    account::{Account, Order},
    openssl::x509,
};

use crate::world::world;

/// An order with more than its identifier.
fn order(account: &Account, name: &str, extra: &Value) -> Result<Order> {
    let mut payload = json!({"identifiers": [{"type": "dns", "value": name}]});
    let members = payload.as_object_mut().context("an object")?;
    members.extend(extra.as_object().context("an object")?.clone());
    let reply = account.post(account.client.url("newOrder"), &payload)?.expect(201)?;
    Ok(Order { url: reply.location()?, object: reply.json()? })
}

/// Proves and finalizes, and gives the chain.
fn certificate(account: &Account, order: &Order, payload: &Value) -> Result<String> {
    account.prove(order, &world().responder)?;
    account.post(&order.finalize()?, payload)?.expect(200)?;
    account.certificate(order)
}

#[test]
fn a_named_profile_decides_what_the_certificate_is_for() -> Result<()> {
    let account = Account::new(&world().client)?;
    let order = order(&account, "profile.test", &json!({"profile": "client"}))?;
    assert_eq!(order.object["profile"], "client");
    let text = x509(&certificate(&account, &order, &Account::finalize_payload(&["profile.test"])?)?, ["-text"])?;
    assert!(text.contains("TLS Web Client Authentication") && !text.contains("TLS Web Server"), "{text}");
    Ok(())
}

#[test]
fn without_a_profile_the_csrs_usages_decide() -> Result<()> {
    let account = Account::new(&world().client)?;
    let order = order(&account, "usage.test", &json!({}))?;
    let mut request = CertificateParams::new(["usage.test".to_owned()])?;
    request.distinguished_name = DistinguishedName::new();
    request.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let csr = request.serialize_request(&KeyPair::generate()?)?;
    let payload = json!({"csr": base64url::encode(csr.der())});
    let text = x509(&certificate(&account, &order, &payload)?, ["-text"])?;
    assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
    Ok(())
}

#[test]
fn not_after_is_the_certificates_to_the_second() -> Result<()> {
    let account = Account::new(&world().client)?;
    let now = std::process::Command::new("date").args(["-u", "-d", "+2 hours", "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
    let not_after = String::from_utf8(now.stdout)?.trim().to_owned();
    let order = order(&account, "times.test", &json!({"notAfter": not_after}))?;
    assert_eq!(order.object["notAfter"], json!(not_after));
    let chain = certificate(&account, &order, &Account::finalize_payload(&["times.test"])?)?;
    let shown = x509(&chain, ["-enddate", "-dateopt", "iso_8601"])?;
    assert_eq!(shown.trim(), format!("notAfter={}", not_after.replace('T', " ")));
    Ok(())
}

/// The profile gives 24 hours; both ends of a certificate's life count.
#[test]
fn a_last_second_in_exactly_the_profiles_validity_is_granted_to_the_second() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let payload = json!({"identifier": {"type": "dns", "value": "a-day.test"}});
    let authorization = account.post(account.client.url("newAuthz"), &payload)?.expect(201)?.location()?;
    account.answer(std::slice::from_ref(&authorization), &world.responder)?;
    account.wait(&authorization, "valid")?;
    let now = std::process::Command::new("date").args(["-u", "-d", "+24 hours", "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
    let not_after = String::from_utf8(now.stdout)?.trim().to_owned();
    // The order is ready at once: order and certificate may be of the same second.
    let order = order(&account, "a-day.test", &json!({"notAfter": not_after}))?;
    let finalized = account.post(&order.finalize()?, &Account::finalize_payload(&["a-day.test"])?)?;
    finalized.expect(200)?;
    let chain = account.certificate(&order)?;
    let shown = x509(&chain, ["-enddate", "-dateopt", "iso_8601"])?;
    assert_eq!(shown.trim(), format!("notAfter={}", not_after.replace('T', " ")));
    Ok(())
}

/// step-cli sends Go's zero time where its user names none.
#[test]
fn zero_times_and_empty_texts_are_members_that_were_left_out() -> Result<()> {
    let account = Account::new(&world().client)?;
    let zero = "0001-01-01T00:00:00Z";
    let members = json!({"notBefore": zero, "notAfter": zero, "profile": "", "replaces": ""});
    let order = order(&account, "zero.test", &members)?;
    assert_eq!((order.object.get("notBefore"), order.object.get("notAfter")), (None, None));
    assert_eq!(order.object["profile"], "server", "the default");
    certificate(&account, &order, &Account::finalize_payload(&["zero.test"])?)?;
    Ok(())
}

#[test]
fn an_authorization_made_in_advance_makes_orders_that_start_ready() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let payload = json!({"identifier": {"type": "dns", "value": "advance.test"}});
    let reply = account.post(account.client.url("newAuthz"), &payload)?.expect(201)?;
    let authorization = reply.location()?;
    account.answer(std::slice::from_ref(&authorization), &world.responder)?;
    account.wait(&authorization, "valid")?;
    let order = order(&account, "advance.test", &json!({}))?;
    assert_eq!(order.object["status"], "ready");
    account.post(&order.finalize()?, &Account::finalize_payload(&["advance.test"])?)?.expect(200)?;
    account.certificate(&order)?;
    Ok(())
}

#[test]
fn an_account_lists_its_orders_the_newest_first() -> Result<()> {
    let account = Account::new(&world().client)?;
    let list = account.read(&account.url)?.expect(200)?.json()?["orders"].clone();
    let list = list.as_str().context("a URL")?.to_owned();
    assert_eq!(account.read(&list)?.expect(200)?.json()?, json!({"orders": []}));
    let one = order(&account, "list-one.test", &json!({}))?;
    // Ids sort by the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = order(&account, "list-two.test", &json!({}))?;
    assert_eq!(account.read(&list)?.expect(200)?.json()?, json!({"orders": [two.url, one.url]}));
    Ok(())
}
