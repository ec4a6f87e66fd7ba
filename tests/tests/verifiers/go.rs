//! Go: x/crypto/ocsp, as Caddy, Traefik and lego have it. It refuses responses about several certificates.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::world::{said, world};

/// Where Debian's packages of Go libraries are.
const LIBRARIES: &str = "/usr/share/gocode";

#[test]
fn gos_library_verifies_good_and_revoked_answers_by_get_and_post_with_either_hash() -> Result<()> {
    let world = world();
    let program = world.folder.join("ocsp-go");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/verifiers/ocsp.go");
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off").env("GOPATH", LIBRARIES).env("GOFLAGS", "").env("CGO_ENABLED", "0");
    said(build.env("GOCACHE", world.folder.join("go-cache")).args(["build", "-o"]).arg(&program).arg(source))?;
    for (subject, expected) in [(&world.good, "good\n"), (&world.revoked, "revoked 1\n")] {
        for hash in ["sha1", "sha256"] {
            for method in ["GET", "POST"] {
                let mut ask = Command::new(&program);
                let said = said(ask.arg(&subject.leaf).arg(&world.issuer).args([hash, method]))?;
                ensure!(said == expected, "{hash} {method}: {said}");
            }
        }
    }
    Ok(())
}
