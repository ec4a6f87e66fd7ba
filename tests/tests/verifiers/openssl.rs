//! OpenSSL: OCSP by GET and POST with either hash, and CRLs.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use tests::openssl;

use crate::world::{Subject, World, said, world};

fn ask(world: &World, subject: &Subject, more: &[&str]) -> Result<String> {
    let mut ocsp = Command::new("openssl");
    ocsp.arg("ocsp").args(more).arg("-issuer").arg(&world.issuer).arg("-cert").arg(&subject.leaf);
    ocsp.args(["-url", &subject.pointer("authorityInfoAccess", "OCSP - URI:")?]).arg("-CAfile").arg(&world.root);
    said(ocsp.arg("-verify_other").arg(&world.issuer))
}

#[test]
fn openssl_verifies_good_and_revoked_answers_with_either_hash() -> Result<()> {
    let world = world();
    // A nonce is not answered: OpenSSL says so, and goes on.
    for more in [&["-no_nonce"][..], &["-sha256", "-no_nonce"], &["-nonce"]] {
        for (subject, status) in [(&world.good, ": good"), (&world.revoked, ": revoked")] {
            let said = ask(world, subject, more)?;
            ensure!(said.contains("Response verify OK") && said.contains(status), "{more:?}: {said}");
        }
    }
    Ok(())
}

#[test]
fn openssl_verifies_chains_against_the_crls_that_certificates_point_to() -> Result<()> {
    let world = world();
    for (subject, expected) in [(&world.good, true), (&world.revoked, false)] {
        let pem = openssl::run(&mut openssl::command(["crl", "-inform", "DER"]), &world.crl(subject)?)?;
        let file = world.folder.join(format!("{}.crl.pem", subject.name));
        fs::write(&file, pem)?;
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-crl_check", "-CAfile"]).arg(&world.root).arg("-untrusted");
        let output = verify.arg(&world.issuer).arg("-CRLfile").arg(&file).arg(&subject.leaf).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() == expected, "{}: {said}", subject.name);
        ensure!(expected || said.contains("certificate revoked"), "{said}");
    }
    Ok(())
}
