//! Tools that cargo installs: pinned, each once per version into the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::paths::Paths;
use crate::process::{cargo, run};
use crate::progress::{Step, note};

/// cargo-deny looks at licences, bans and sources; it is no part of what gets built.
const CARGO_DENY: &str = "0.20.2";

/// cargo-deb makes Debian packages.
const CARGO_DEB: &str = "3.8.0";

/// `wasm-bindgen`, in exactly the version of the crate: its glue and its command line are one.
pub(crate) fn wasm_bindgen(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "wasm-bindgen-cli", &locked_version(&paths.root, "wasm-bindgen")?, "wasm-bindgen")
}

/// `worker-build`, released together with the crate `worker`.
pub(crate) fn worker_build(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "worker-build", &locked_version(&paths.root, "worker")?, "worker-build")
}

/// `cargo-deny`.
pub(crate) fn cargo_deny(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "cargo-deny", CARGO_DENY, "cargo-deny")
}

/// `cargo-deb`.
pub(crate) fn cargo_deb(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "cargo-deb", CARGO_DEB, "cargo-deb")
}

/// The binary of a package of the registry, installed when it is not there.
fn installed(paths: &Paths, package: &str, version: &str, binary: &str) -> Result<PathBuf> {
    let name = format!("tools/{package}-{version}");
    let place = paths.cached(&name, |place| {
        let step = Step::begin(format!("installing {package} {version} (once; it takes minutes)"));
        if let Err(error) = install(package, version, place, true) {
            // The lock that the package was published with may name versions that the registry at hand does not have.
            note(format!("with its own lock: {error:#}"));
            note("trying again with the versions that the registry has");
            install(package, version, place, false)?;
        }
        step.done();
        Ok(())
    })?;
    let binary = place.join("bin").join(binary);
    if !binary.exists() {
        bail!("{} is missing: delete {} and run this again", binary.display(), place.display());
    }
    Ok(binary)
}

fn install(package: &str, version: &str, place: &Path, locked: bool) -> Result<()> {
    let mut command = cargo();
    command.args(["install", "--quiet", "--version", version, "--root"]).arg(place);
    if locked {
        command.arg("--locked");
    }
    command.arg(package);
    // Neither in the workspace's target folder nor with its configuration.
    command.env_remove("CARGO_TARGET_DIR").current_dir(place);
    run(&mut command)
}

/// The version that Cargo.lock has of a package; an error when there are two.
fn locked_version(root: &Path, package: &str) -> Result<String> {
    let file = root.join("Cargo.lock");
    let lock = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    version_in(&lock, package)
}

fn version_in(lock: &str, package: &str) -> Result<String> {
    let lock: toml::Table = lock.parse().context("Cargo.lock")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let mut versions = packages
        .iter()
        .filter(|entry| entry.get("name").and_then(toml::Value::as_str) == Some(package))
        .filter_map(|entry| entry.get("version").and_then(toml::Value::as_str));
    let version = versions.next().ok_or_else(|| anyhow!("Cargo.lock has no {package}"))?;
    match versions.next() {
        None => Ok(version.to_owned()),
        Some(other) => bail!("Cargo.lock has {package} {version} and {other}: which one do the tools have to match?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_tool_is_the_one_of_its_crate() {
        let package = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let lock = [package("worker", "0.8.7"), package("x", "1.0.0"), package("x", "2.0.0")].concat();
        assert_eq!(version_in(&lock, "worker").unwrap(), "0.8.7");
        assert!(version_in(&lock, "x").is_err());
        assert!(version_in(&lock, "y").is_err());
    }
}
