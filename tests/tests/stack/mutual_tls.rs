//! Between edge and signer: TLS 1.3, both sides by certificates of one private authority. OpenSSL plays the strangers.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tempfile::TempDir;
use tests::{account::Account, openssl};

use crate::world::world;

/// What a client that shows these files (certificate, key) says and hears when it asks for the signer's status.
fn ask(identity: Option<(&Path, &Path)>, version: &str) -> Result<String> {
    let folder = world().stack.report.state.join("signers/1");
    let configuration: toml::Table = fs::read_to_string(folder.join("signer.toml"))?.parse()?;
    let address = configuration["listen"]["address"].as_str().context("an address")?;
    let roots = configuration["listen"]["client_roots"].as_str().context("client roots")?;
    let mut client = openssl::command(["s_client", version, "-ign_eof", "-verify_return_error", "-connect", address]);
    client.args(["-servername", "signer-1.colophon.internal", "-verify_hostname", "signer-1.colophon.internal"]);
    client.arg("-CAfile").arg(folder.join(roots));
    if let Some((certificate, key)) = identity {
        client.arg("-cert").arg(certificate).arg("-key").arg(key);
    }
    let request = b"GET /v1/status HTTP/1.1\r\nHost: signer-1.colophon.internal\r\nConnection: close\r\n\r\n";
    Ok(match openssl::run(&mut client, request) {
        Ok(output) => String::from_utf8_lossy(&output).into_owned(),
        Err(error) => error.to_string(),
    })
}

/// A client certificate like the edge's, by another authority with the same name.
fn by_another_authority(folder: &TempDir) -> Result<(std::path::PathBuf, std::path::PathBuf)> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Colophon throwaway infrastructure");
    let mut client = CertificateParams::new(vec!["edge.colophon.internal".to_owned()])?;
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = client.signed_by(&key, &Issuer::new(authority, authority_key))?;
    let (certificate_file, key_file) = (folder.path().join("client.pem"), folder.path().join("client.key"));
    fs::write(&certificate_file, certificate.pem())?;
    fs::write(&key_file, key.serialize_pem())?;
    Ok((certificate_file, key_file))
}

fn edges() -> (std::path::PathBuf, std::path::PathBuf) {
    let folder = world().stack.report.state.join("edge");
    (folder.join("client.pem"), folder.join("client.key"))
}

#[test]
fn without_a_client_certificate_the_handshake_is_refused() -> Result<()> {
    let heard = ask(None, "-tls1_3")?;
    assert!(heard.contains("certificate required") && !heard.contains("HTTP/1.1"), "{heard}");
    Ok(())
}

#[test]
fn a_client_certificate_of_another_authority_is_refused_in_the_handshake() -> Result<()> {
    let folder = TempDir::new()?;
    let (certificate, key) = by_another_authority(&folder)?;
    let heard = ask(Some((&certificate, &key)), "-tls1_3")?;
    assert!(heard.contains("alert") && !heard.contains("HTTP/1.1"), "{heard}");
    Ok(())
}

#[test]
fn tls_1_2_is_refused_even_from_the_edge() -> Result<()> {
    let (certificate, key) = edges();
    let heard = ask(Some((&certificate, &key)), "-tls1_2")?;
    assert!(heard.contains("alert") && !heard.contains("HTTP/1.1"), "{heard}");
    Ok(())
}

#[test]
fn the_edge_with_its_certificate_is_told_the_status() -> Result<()> {
    let (certificate, key) = edges();
    let heard = ask(Some((&certificate, &key)), "-tls1_3")?;
    assert!(heard.contains("HTTP/1.1 200") && heard.contains("Verification: OK"), "{heard}");
    assert!(heard.contains("\"a1\""), "the status names its issuer: {heard}");
    Ok(())
}

#[test]
fn the_signer_logs_the_client_certificate_of_the_edge_that_it_served() -> Result<()> {
    let world = world();
    Account::new(&world.client)?.issue(&["logged.test"], &world.responder)?;
    let log = world.stack.log("signer-1")?;
    let (certificate, _) = edges();
    let serial = openssl::x509(&fs::read_to_string(certificate)?, ["-serial"])?.to_lowercase();
    let serial = serial.trim().trim_start_matches("serial=").trim_start_matches('0').to_owned();
    let line = log.lines().find(|line| line.contains("connected") && line.contains("edge.colophon.internal"));
    let line = line.with_context(|| format!("no connection of the edge in\n{log}"))?;
    assert!(line.to_lowercase().replace(':', "").contains(&serial), "{serial} is not in {line}");
    Ok(())
}
