//! Linters: pkilint on certificates, CRLs and responses, zlint on certificates and CRLs.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use tests::openssl;

use crate::world::{Subject, World, said, world};

/// The folder of pkilint's programs.
const PKILINT: &str = "COLOPHON_PKILINT";
/// The program zlint.
const ZLINT: &str = "COLOPHON_ZLINT";
/// Those of zlint's sources that speak of every certificate, not of those for the public web.
const SOURCES: &str = "RFC5280,RFC5480,RFC5891";

/// pkilint ends with the number of its findings.
fn pkilint(program: &str, arguments: &[&str], file: &Path) -> Result<()> {
    let folder =
        env::var_os(PKILINT).with_context(|| format!("{PKILINT} must name the folder of pkilint's programs"))?;
    let mut lint = Command::new(Path::new(&folder).join(program));
    said(lint.arg("lint").args(arguments).args(["-s", "NOTICE"]).arg(file)).map(|_| ())
}

fn zlint(file: &Path, more: &[&str]) -> Result<()> {
    let program = env::var_os(ZLINT).with_context(|| format!("{ZLINT} must name zlint"))?;
    let said = said(Command::new(program).args(["-pretty"]).args(more).arg(file))?;
    let results: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let results = results.as_object().context("zlint prints an object")?;
    ensure!(results.len() > 3, "hardly anything was looked at: {said}");
    let findings: Vec<_> =
        results.iter().filter(|(_, result)| !matches!(result["result"].as_str(), Some("pass" | "NA" | "NE"))).collect();
    ensure!(findings.is_empty(), "{}: {findings:?}", file.display());
    Ok(())
}

fn response(world: &World, subject: &Subject, hash: &str) -> Result<std::path::PathBuf> {
    let file = world.folder.join(format!("{}{hash}.ocsp", subject.name));
    let mut ask = Command::new("openssl");
    ask.args(["ocsp", hash, "-no_nonce", "-noverify", "-url", &subject.pointer("authorityInfoAccess", "OCSP - URI:")?]);
    said(ask.arg("-issuer").arg(&world.issuer).arg("-cert").arg(&subject.leaf).arg("-respout").arg(&file))?;
    Ok(file)
}

#[test]
fn linters_find_nothing_in_certificates_with_pointers() -> Result<()> {
    let world = world();
    for subject in [&world.good, &world.revoked] {
        pkilint("lint_pkix_cert", &[], &subject.leaf)?;
        zlint(&subject.leaf, &["-includeSources", SOURCES])?;
    }
    let mut chain =
        Command::new(Path::new(&env::var_os(PKILINT).context(PKILINT)?).join("lint_pkix_signer_signee_cert_chain"));
    said(chain.args(["lint", "-s", "NOTICE"]).arg(&world.issuer).arg(&world.good.leaf)).map(|_| ())
}

#[test]
fn linters_find_nothing_in_crls() -> Result<()> {
    let world = world();
    for subject in [&world.good, &world.revoked] {
        let der = world.crl(subject)?;
        let file = world.folder.join(format!("{}.lint.crl", subject.name));
        fs::write(&file, openssl::run(&mut openssl::command(["crl", "-inform", "DER"]), &der)?)?;
        pkilint("lint_crl", &["-t", "CRL", "-p", "PKIX"], &file)?;
        pkilint("lint_crl", &["-t", "CRL", "-p", "BR"], &file)?;
        zlint(&file, &[])?;
    }
    Ok(())
}

#[test]
fn linters_find_nothing_in_responses() -> Result<()> {
    let world = world();
    for subject in [&world.good, &world.revoked] {
        for hash in ["-sha1", "-sha256"] {
            pkilint("lint_ocsp_response", &[], &response(world, subject, hash)?)?;
        }
    }
    Ok(())
}
