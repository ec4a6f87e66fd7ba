//! OpenSSL's command line: another implementation's word on everything that is signed here.

use std::{
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

/// An OpenSSL command.
#[must_use]
pub fn command<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

/// Runs it with this input, and gives its output.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("no openssl")?;
    // Whoever needs no input may have closed it already.
    let _ = child.stdin.take().context("its input is a pipe")?.write_all(input);
    let output = child.wait_with_output()?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    Ok(output.stdout)
}

/// Verifies a PEM chain, leaf first, up to the root in that file, strictly (RFC 5280), for a server of this name or address.
///
/// # Errors
/// When OpenSSL does not accept it.
pub fn verify(root: &Path, chain: &str, name: &str) -> Result<()> {
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), chain)?;
    let check = if name.parse::<IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    let mut verify = command(["verify", "-x509_strict", "-purpose", "sslserver", check, name, "-CAfile"]);
    // The first certificate of the file is verified; all of it may help.
    run(verify.arg(root).arg("-untrusted").arg(file.path()).arg(file.path()), b"").map(|_| ())
}

/// What `openssl x509` prints with these arguments for the first certificate of a PEM text.
///
/// # Errors
/// When it is no certificate.
pub fn x509<const N: usize>(pem: &str, arguments: [&str; N]) -> Result<String> {
    Ok(String::from_utf8(run(command(["x509", "-noout"]).args(arguments), pem.as_bytes())?)?)
}

/// The DER of the first certificate of a PEM text.
///
/// # Errors
/// When it is no certificate.
pub fn der(pem: &str) -> Result<Vec<u8>> {
    run(&mut command(["x509", "-outform", "DER"]), pem.as_bytes())
}
