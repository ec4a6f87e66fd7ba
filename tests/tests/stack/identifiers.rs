//! Certificates for addresses (RFC 8738) and for names of one label, over real connections.

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{
    account::{Account, challenge},
    openssl::{self, x509},
};

use crate::world::world;

/// Issues for this one identifier, and gives the chain and the `Host` that its challenge was asked for with.
fn issue(account: &Account, identifier: &str) -> Result<(String, String)> {
    let world = world();
    let (order, chain) = account.issue(&[identifier], &world.responder)?;
    openssl::verify(&world.stack.report.root, &chain, identifier)?;
    let authorization = account.read(&order.authorizations()?[0])?.expect(200)?.json()?;
    let token = challenge(&authorization, "http-01")?["token"].as_str().context("a token")?.to_owned();
    Ok((chain, world.responder.host(&token).context("it was asked for")?))
}

#[test]
fn an_ipv4_address_gets_a_certificate_that_openssl_takes_for_it() -> Result<()> {
    let (chain, host) = issue(&Account::new(&world().client)?, "127.0.0.1")?;
    assert_eq!(host, format!("127.0.0.1:{}", world().responder.port));
    let text = x509(&chain, ["-ext", "subjectAltName", "-subject"])?;
    assert!(text.contains("IP Address:127.0.0.1") && !text.contains("DNS:") && !text.contains("CN"), "{text}");
    assert!(openssl::verify(&world().stack.report.root, &chain, "127.0.0.2").is_err());
    Ok(())
}

#[test]
fn an_ipv6_address_gets_a_certificate_that_openssl_takes_for_it() -> Result<()> {
    if !world().responder.ipv6 {
        eprintln!("this machine has no ::1");
        return Ok(());
    }
    let (chain, host) = issue(&Account::new(&world().client)?, "::1")?;
    assert_eq!(host, format!("[::1]:{}", world().responder.port));
    let text = x509(&chain, ["-ext", "subjectAltName"])?;
    assert!(text.contains("IP Address:0:0:0:0:0:0:0:1"), "{text}");
    Ok(())
}

#[test]
fn a_name_of_one_label_gets_a_certificate() -> Result<()> {
    let (chain, host) = issue(&Account::new(&world().client)?, "localhost")?;
    assert_eq!(host, format!("localhost:{}", world().responder.port));
    assert!(x509(&chain, ["-ext", "subjectAltName"])?.contains("DNS:localhost"));
    Ok(())
}

#[test]
fn names_and_addresses_share_a_certificate() -> Result<()> {
    let world = world();
    let names = ["mixed.test", "127.0.0.1"];
    let (_, chain) = Account::new(&world.client)?.issue(&names, &world.responder)?;
    names.iter().try_for_each(|name| openssl::verify(&world.stack.report.root, &chain, name))
}

#[test]
fn an_address_of_another_network_is_refused_and_dns_is_no_proof_of_any() -> Result<()> {
    let account = Account::new(&world().client)?;
    let payload = json!({"identifiers": [{"type": "ip", "value": "192.0.2.1"}]});
    let refused = account.post(account.client.url("newOrder"), &payload)?;
    assert_eq!((refused.status, refused.problem()?.as_str()), (403, "rejectedIdentifier"));
    let authorization = account.read(&account.order(&["127.0.0.1"])?.authorizations()?[0])?.expect(200)?.json()?;
    assert!(challenge(&authorization, "http-01").is_ok() && challenge(&authorization, "dns-01").is_err());
    Ok(())
}
