//! Finalize: the CSR, and when it may come (RFC 8555 §7.4, §11.1).

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use shared::base64url;
use tests::{
    account::{Account, Order},
    client::Reply,
    key::AccountKey,
    openssl, subject,
};

use crate::{
    ask::{account, authorization, challenge, kind, refused, well_formed},
    world::world,
};

/// A CSR by OpenSSL: subject, names as OpenSSL writes them, and how its key is made.
fn csr(common_name: &str, names: &str, key: &[&str]) -> Result<Vec<u8>> {
    let mut command = openssl::command(["req", "-new", "-nodes", "-outform", "DER", "-keyout", "/dev/null"]);
    command.arg("-newkey").args(key);
    command.args(["-subj", &if common_name.is_empty() { "/".to_owned() } else { format!("/CN={common_name}") }]);
    if !names.is_empty() {
        command.args(["-addext", &format!("subjectAltName={names}")]);
    }
    openssl::run(&mut command, b"")
}

const P256: [&str; 3] = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn finalize(account: &Account, order: &Order, der: &[u8]) -> Result<Reply> {
    account.post(&order.finalize()?, &json!({"csr": base64url::encode(der)}))
}

fn ready(names: &[&str]) -> Result<(Account, Order)> {
    let account = account()?;
    let order = account.ready_order(names, &world().responder)?;
    Ok((account, order))
}

fn status(account: &Account, order: &Order) -> Result<Value> {
    Ok(account.read(&order.url)?.expect(200)?.json()?["status"].clone())
}

/// RFC 8555 §7.4 says: a finalize that is accepted is answered by 200 and the order.
/// RFC 8555 §7.4 MUST: names are in the common name, in the subject alternative names, or in both, in any order.
#[test]
fn names_may_be_in_the_subject_in_the_alternative_names_or_in_both() -> Result<()> {
    let (one, two) = ("one.finalize.test", "two.finalize.test");
    let names = |list: &[&str]| list.iter().map(|name| format!("DNS:{name}")).collect::<Vec<_>>().join(",");
    for (ordered, common_name, alternative) in [
        (vec![one], one, names(&[])),
        (vec![one], "", names(&[one])),
        (vec![one, two], one, names(&[two])),
        (vec![one, two], two, names(&[two, one])),
        (vec![two, one], "", names(&[one, two])),
    ] {
        let (account, order) = ready(&ordered)?;
        let reply = finalize(&account, &order, &csr(common_name, &alternative, &P256)?)?.expect(200)?;
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.json()?["identifiers"].is_array());
        let chain = account.certificate(&order)?;
        for name in ordered {
            openssl::verify(&world().stack.report.root, &chain, name)?;
        }
    }
    Ok(())
}

/// RFC 8555 §7.4 MUST: the CSR has exactly the identifiers of the order.
/// RFC 8555 §7.4 SHOULD: a CSR that is not accepted is `badCSR`, with the reason.
/// RFC 8555 §7.4 SHOULD: after `badCSR` the order stays `ready` for another CSR.
#[test]
fn a_csr_of_other_names_is_bad_and_another_may_follow() -> Result<()> {
    let (one, two) = ("one.names.test", "two.names.test");
    let (account, order) = ready(&[one, two])?;
    let table: [(&str, String); 7] = [
        ("", format!("DNS:{one}")),
        ("", format!("DNS:{one},DNS:{two},DNS:three.names.test")),
        ("three.names.test", format!("DNS:{one},DNS:{two}")),
        ("", format!("DNS:{one},DNS:*.names.test")),
        ("", format!("DNS:{one},DNS:{two},IP:192.0.2.1")),
        ("", format!("DNS:{one},DNS:{two},email:a@names.test")),
        ("", String::new()),
    ];
    for (common_name, names) in table {
        let reply = finalize(&account, &order, &csr(common_name, &names, &P256)?)?;
        assert_eq!(kind(&reply)?, "badCSR", "{names}");
        assert_eq!(status(&account, &order)?, "ready");
    }
    finalize(&account, &order, &subject::csr(&[one, two])?)?.expect(200)?;
    account.certificate(&order)?;
    Ok(())
}

/// RFC 8555 §7.4 MUST: `csr` is base64url of a PKCS#10 request in DER.
#[test]
fn what_is_no_csr_is_refused_and_the_order_stays_ready() -> Result<()> {
    let (account, order) = ready(&["form.finalize.test"])?;
    let good = subject::csr(&["form.finalize.test"])?;
    let mut broken = good.clone();
    *broken.last_mut().context("bytes")? ^= 1;
    let weak = csr("", "DNS:form.finalize.test", &["rsa:1024"])?;
    let trailing = [good.as_slice(), &[0]].concat();
    for der in [&b""[..], b"\x30\x00", &good[..good.len() - 1], &trailing, &broken, &weak] {
        assert_eq!(kind(&finalize(&account, &order, der)?)?, "badCSR");
    }
    let pem = openssl::run(&mut openssl::command(["req", "-inform", "DER"]), &good)?;
    for payload in [json!({}), json!({"csr": 1}), json!({"csr": String::from_utf8(pem)?}), json!([])] {
        assert_eq!(kind(&account.post(&order.finalize()?, &payload)?)?, "malformed", "{payload}");
    }
    assert_eq!(kind(&account.read(&order.finalize()?)?)?, "malformed");
    assert_eq!(status(&account, &order)?, "ready");
    Ok(())
}

/// RFC 8555 §11.1 MUST: the key of a CSR is not the account's.
#[test]
fn a_csr_with_the_accounts_key_is_bad() -> Result<()> {
    let pair = KeyPair::generate()?;
    let account = Account::with_key(&world().client, AccountKey::of(&pair)?)?;
    let order = account.ready_order(&["key.finalize.test"], &world().responder)?;
    let reply = finalize(&account, &order, &subject::csr_of(&["key.finalize.test"], &pair)?)?;
    refused(&reply, 400, "badCSR")?;
    assert_eq!(status(&account, &order)?, "ready");
    Ok(())
}

/// RFC 8555 §7.4 MUST: finalize of an order that is not `ready` is `orderNotReady`, 403.
#[test]
fn finalize_in_every_other_state_is_order_not_ready() -> Result<()> {
    let (account, payload) = (account()?, Account::finalize_payload(&["state.finalize.test"])?);
    let pending = account.order(&["state.finalize.test"])?;
    refused(&account.post(&pending.finalize()?, &payload)?, 403, "orderNotReady")?;
    let (valid, _) = account.issue(&["state.finalize.test"], &world().responder)?;
    refused(&account.post(&valid.finalize()?, &payload)?, 403, "orderNotReady")?;
    let (_, object) = authorization(&account, &pending)?;
    account.post(&challenge(&object, "http-01")?.0, &json!({}))?.expect(200)?;
    account.wait(&pending.url, "ready").unwrap_err();
    refused(&account.post(&pending.finalize()?, &payload)?, 403, "orderNotReady")?;
    well_formed(&account.read(&pending.url)?.json()?["error"]);
    Ok(())
}

/// RFC 8555 §7.4 says: an order with one of several authorizations missing cannot be finalized.
#[test]
fn every_identifier_must_be_proved() -> Result<()> {
    let account = account()?;
    let names = ["proved.finalize.test", "missing.finalize.test"];
    let order = account.order(&names)?;
    let first = order.authorizations()?[..1].to_vec();
    account.answer(&first, &world().responder)?;
    account.wait(&first[0], "valid")?;
    let reply = account.post(&order.finalize()?, &Account::finalize_payload(&names)?)?;
    refused(&reply, 403, "orderNotReady")?;
    assert_eq!(status(&account, &order)?, "pending");
    Ok(())
}

/// RFC 8555 §7.4 MUST NOT: a certificate has other contents than were asked for.
#[test]
fn a_certificate_has_the_names_times_and_key_that_were_asked_for_and_no_others() -> Result<()> {
    let account = account()?;
    let (name, key) = ("asked.finalize.test", KeyPair::generate()?);
    let at = |offset: &str| -> Result<String> {
        let output = std::process::Command::new("date").args(["-u", "-d", offset, "+%Y-%m-%dT%H:%M:%SZ"]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let (not_before, not_after) = (at("+1 hour")?, at("+3 hours")?);
    let payload =
        json!({"identifiers": [{"type": "dns", "value": name}], "notBefore": not_before, "notAfter": not_after});
    let reply = account.post(account.client.url("newOrder"), &payload)?.expect(201)?;
    let order = Order { url: reply.location()?, object: reply.json()? };
    assert_eq!((&order.object["notBefore"], &order.object["notAfter"]), (&payload["notBefore"], &payload["notAfter"]));
    account.prove(&order, &world().responder)?;
    let mut request = CertificateParams::new([name.to_owned()])?;
    request.distinguished_name = DistinguishedName::new();
    request.distinguished_name.push(DnType::OrganizationName, "Somebody else");
    finalize(&account, &order, request.serialize_request(&key)?.der())?.expect(200)?;
    let chain = account.certificate(&order)?;
    let dates = openssl::x509(&chain, ["-dates", "-dateopt", "iso_8601"])?;
    let expected =
        [format!("notBefore={not_before}"), format!("notAfter={not_after}")].map(|line| line.replace('T', " "));
    assert_eq!(dates.trim().lines().collect::<Vec<_>>(), expected);
    let names = openssl::x509(&chain, ["-ext", "subjectAltName"])?;
    assert_eq!(names.matches("DNS:").count(), 1, "{names}");
    assert!(names.contains(&format!("DNS:{name}")), "{names}");
    assert!(!openssl::x509(&chain, ["-subject"])?.contains("Somebody"));
    let public = openssl::x509(&chain, ["-pubkey"])?.replace(['\n', '\r'], "");
    assert_eq!(public, key.public_key_pem().replace(['\n', '\r'], ""));
    Ok(())
}
