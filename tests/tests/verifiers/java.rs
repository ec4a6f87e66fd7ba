//! Java: its revocation checker, by OCSP and by the CRL that a certificate points to, without a way out.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::world::{said, world};

#[test]
fn javas_revocation_checker_accepts_good_and_revoked_answers_of_either_kind() -> Result<()> {
    let world = world();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/verifiers/Revocation.java");
    let mut compile = Command::new("javac");
    said(compile.arg("-d").arg(&world.folder).arg(source))?;
    for kind in ["ocsp", "crl"] {
        for (subject, expected) in [(&world.good, "good\n"), (&world.revoked, "revoked KEY_COMPROMISE\n")] {
            let mut java = Command::new("java");
            java.arg("-cp").arg(&world.folder).arg("Revocation").arg(&world.root).arg(&subject.leaf);
            let said = said(java.arg(&world.issuer).arg(kind))?;
            ensure!(said == expected, "{kind}: {said}");
        }
    }
    Ok(())
}
