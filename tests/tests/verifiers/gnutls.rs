//! GnuTLS: asks by itself, and reads the first answer of a response alone.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::world::{said, world};

#[test]
fn gnutls_verifies_good_and_revoked_answers() -> Result<()> {
    let world = world();
    for (subject, status) in [(&world.good, "good"), (&world.revoked, "revoked")] {
        let mut ocsptool = Command::new("ocsptool");
        ocsptool.arg("--ask").arg("--load-cert").arg(&subject.leaf).arg("--load-issuer").arg(&world.issuer);
        let said = said(ocsptool.arg("--load-trust").arg(&world.issuer))?;
        ensure!(said.contains(&format!("Certificate Status: {status}")), "{said}");
        ensure!(said.contains("Verifying OCSP Response: Success."), "{said}");
    }
    Ok(())
}
