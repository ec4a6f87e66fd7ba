//! The directory (RFC 8555 §7.1, §7.1.1).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::client::Client;

use crate::{
    ask::account,
    world::{TERMS, strict, world},
};

fn url<'a>(client: &'a Client, name: &str) -> Result<&'a str> {
    let url = client.directory[name].as_str().with_context(|| format!("{name} in {}", client.directory))?;
    assert!(url.starts_with("https://"), "{url}");
    Ok(url)
}

/// RFC 8555 §7.1 MUST: there are the resources directory and newNonce.
/// RFC 8555 §6.1 REQUIRED: ACME is spoken over HTTPS.
#[test]
fn the_directory_is_json_and_names_every_resource_by_an_https_url() -> Result<()> {
    let world = world();
    let reply = world.client.get(&world.stack.report.directory)?.expect(200)?;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    for name in ["newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange"] {
        url(&world.client, name)?;
    }
    Ok(())
}

/// RFC 8555 §7.1.1 MUST: newAuthz is in the directory only when there is pre-authorization.
#[test]
fn everything_that_the_directory_names_is_there() -> Result<()> {
    let account = account()?;
    for (name, value) in account.client.directory.as_object().context("an object")? {
        if name == "meta" {
            continue;
        }
        let url = value.as_str().with_context(|| format!("{name} is a URL"))?;
        if url.contains("/acme/new-nonce") || name == "renewalInfo" {
            continue;
        }
        let reply = account.post(url, &json!({}))?;
        assert!(reply.status != 404 && reply.status != 405, "{name}: {reply:?}");
    }
    Ok(())
}

/// RFC 8555 §7.1.1 MUST: `meta` is an object.
/// RFC 8555 §7.1.1 says: the items of `meta` have their types.
#[test]
fn the_items_of_meta_have_their_types() -> Result<()> {
    for client in [&world().client, &strict().client] {
        let meta = client.directory["meta"].as_object().context("meta is an object")?;
        for (name, value) in meta {
            let right = match name.as_str() {
                "termsOfService" | "website" => value.as_str().is_some_and(|url| url.starts_with("https://")),
                "caaIdentities" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
                "externalAccountRequired" => value.is_boolean(),
                // draft-ietf-acme-dns-persist §3.2, §6.
                "accountHashPrefix" => value.as_str().is_some_and(|url| url.starts_with("https://")),
                "issuerDomainNames" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
                // draft-ietf-acme-profiles §3.
                "profiles" => value.as_object().is_some_and(|all| all.values().all(Value::is_string)),
                _ => false,
            };
            assert!(right, "{name}: {value}");
        }
    }
    Ok(())
}

/// RFC 8555 §7.3 MUST: who wants terms of service agreed to says where they are, as `termsOfService` of `meta`.
/// RFC 8555 §7.3.4 MUST: who demands external account bindings says so, as `externalAccountRequired` of `meta`.
#[test]
fn what_the_operator_demands_is_in_the_directory_and_nothing_else() {
    let (usual, strict) = (&world().client.directory["meta"], &strict().client.directory["meta"]);
    assert_eq!(strict["termsOfService"], TERMS);
    assert_eq!(strict["externalAccountRequired"], true);
    assert!(usual.get("termsOfService").is_none() && usual["externalAccountRequired"] != true, "{usual}");
}
