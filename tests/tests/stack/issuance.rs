//! One certificate, end to end.

use anyhow::{Context as _, Result};
use serde_json::json;
use shared::{
    chain::{Issuer, IssuerChain},
    identifier::Identifier,
};
use tests::{
    account::Account,
    journal,
    key::AccountKey,
    openssl::{self, x509},
};

use crate::world::world;

#[test]
fn two_names_by_http_01_give_a_certificate_that_openssl_verifies_to_the_root() -> Result<()> {
    let world = world();
    let names = ["one.issuance.test", "two.issuance.test"];
    let account = Account::new(&world.client)?;
    let (order, chain) = account.issue(&names, &world.responder)?;
    for name in names {
        openssl::verify(&world.stack.report.root, &chain, name)?;
    }
    let served = openssl::der(&chain)?;
    assert_eq!(journal::of_order(&world.stack.report.state, &order.url)?, [served]);
    Ok(())
}

#[test]
fn a_certificate_holds_its_names_and_what_the_profile_says_and_nothing_else() -> Result<()> {
    let world = world();
    let (_, chain) = Account::new(&world.client)?.issue(&["b.content.test", "a.content.test"], &world.responder)?;
    let text = x509(&chain, ["-text"])?;
    let has = |what: &str| assert!(text.contains(what), "{what} is not in\n{text}");
    has("DNS:a.content.test, DNS:b.content.test");
    has("X509v3 Key Usage: critical\n                Digital Signature\n");
    has("X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n");
    has("X509v3 Subject Key Identifier");
    has("X509v3 Authority Key Identifier");
    // noRevAvail (RFC 9608), which older OpenSSL knows by its number only.
    assert!(text.contains("2.5.29.56") || text.contains("No Revocation Available"), "{text}");
    assert_eq!(x509(&chain, ["-subject"])?.trim(), "subject=");
    for absent in ["CA Issuers", "OCSP", "CRL Distribution", "CA:TRUE", "CN = a", "CN = b", "CN=a", "CN=b"] {
        assert!(!text.contains(absent), "{absent} is in\n{text}");
    }
    Ok(())
}

#[test]
fn a_certificate_lives_for_a_day_and_is_what_the_shared_code_takes_for_one() -> Result<()> {
    let world = world();
    let (_, chain) = Account::new(&world.client)?.issue(&["day.test"], &world.responder)?;
    let root = Issuer::from_pem(&std::fs::read_to_string(&world.stack.report.root)?)?;
    let (_, issuers) = chain.split_once("-----END CERTIFICATE-----").context("a chain is PEM")?;
    let leaf = IssuerChain::from_pem(issuers)?.verify_leaf(&openssl::der(&chain)?)?;
    assert_eq!(leaf.not_after.seconds() - leaf.not_before.seconds(), 86_400 - 1);
    assert_eq!(leaf.names.into_iter().collect::<Vec<_>>(), [Identifier::Dns("day.test".parse()?)]);
    IssuerChain::from_pem(issuers)?.verify_to(&root, leaf.not_before.plus(60))?;
    Ok(())
}

#[test]
fn an_account_with_an_rsa_key_gets_a_certificate() -> Result<()> {
    let world = world();
    let account = Account::with_key(&world.client, AccountKey::rs256()?)?;
    let (_, chain) = account.issue(&["rsa-account.test"], &world.responder)?;
    openssl::verify(&world.stack.report.root, &chain, "rsa-account.test")
}

#[test]
fn the_same_finalize_again_gives_the_same_certificate_and_another_csr_is_refused() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let names = ["again.test"];
    let order = account.ready_order(&names, &world.responder)?;
    let payload = Account::finalize_payload(&names)?;
    account.post(&order.finalize()?, &payload)?.expect(200)?;
    let first = account.certificate(&order)?;
    for payload in [payload, Account::finalize_payload(&names)?] {
        let again = account.post(&order.finalize()?, &payload)?;
        assert!(again.status == 200 || again.problem()? == "orderNotReady", "{again:?}");
    }
    assert_eq!(account.certificate(&order)?, first);
    assert_eq!(journal::of_order(&world.stack.report.state, &order.url)?.len(), 1);
    Ok(())
}

#[test]
fn a_wrong_answer_to_a_challenge_makes_the_order_invalid_and_says_why() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let order = account.order(&["wrong.test"])?;
    let authorization = account.read(&order.authorizations()?[0])?.expect(200)?.json()?;
    let challenge = tests::account::challenge(&authorization, "http-01")?;
    world.responder.put(challenge["token"].as_str().context("a token")?, "something else".to_owned());
    account.post(challenge["url"].as_str().context("a URL")?, &json!({}))?.expect(200)?;
    let error = account.wait(&order.url, "ready").unwrap_err().to_string();
    assert!(error.contains("is invalid"), "{error}");
    let authorization = account.read(&order.authorizations()?[0])?.expect(200)?.json()?;
    let challenge = tests::account::challenge(&authorization, "http-01")?;
    assert_eq!(challenge["error"]["type"], "urn:ietf:params:acme:error:incorrectResponse", "{authorization}");
    Ok(())
}
