//! What people and programs get without speaking ACME.

use std::fs;

use anyhow::{Context as _, Result};
use tests::openssl::{self, x509};

use crate::world::world;

fn base() -> String {
    world().client.url("newNonce").trim_end_matches("/acme/new-nonce").to_owned()
}

#[test]
fn the_page_shows_the_fingerprint_that_openssl_computes_and_a_line_for_each_client() -> Result<()> {
    let world = world();
    let page = world.client.get(&format!("{}/", base()))?.expect(200)?;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = page.text()?;
    let root = fs::read_to_string(&world.stack.report.root)?;
    let fingerprint = x509(&root, ["-fingerprint", "-sha256"])?;
    let fingerprint = fingerprint.trim().split('=').nth(1).context("a fingerprint")?;
    assert!(page.contains(fingerprint), "{fingerprint} is not in\n{page}");
    for client in ["certbot", "lego", "Caddy", "acme.sh", "BEGIN CERTIFICATE"] {
        assert!(page.contains(client), "{client}");
    }
    assert!(page.contains(&world.stack.report.directory) && !page.contains("<script"));
    Ok(())
}

#[test]
fn the_root_is_served_by_https_and_by_plain_http() -> Result<()> {
    let world = world();
    let root = openssl::der(&fs::read_to_string(&world.stack.report.root)?)?;
    for base in [base(), world.stack.report.http.clone()] {
        assert_eq!(openssl::der(world.client.get(&format!("{base}/root.pem"))?.expect(200)?.text()?)?, root);
        assert_eq!(world.client.get(&format!("{base}/root.der"))?.expect(200)?.body, root);
    }
    Ok(())
}

#[test]
fn the_directory_names_only_what_is_served() -> Result<()> {
    let client = &world().client;
    for (name, url) in client.directory.as_object().context("a directory is an object")? {
        match url.as_str() {
            // What this one is followed by is an identifier (RFC 9773 §4.1): here one that cannot be.
            Some(url) if name == "renewalInfo" => assert_eq!(client.bare("GET", &format!("{url}/none"))?.status, 400),
            Some(url) => assert_ne!(client.bare("HEAD", url)?.status, 404, "{name}"),
            None => {}
        }
    }
    assert!(client.directory["meta"]["profiles"].get("server").is_some(), "{}", client.directory);
    Ok(())
}
