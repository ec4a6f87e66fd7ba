//! Tools that are built from source: pinned, each once per version into the cache, and always by a lock. Where a lock cannot be kept,
//! the installation fails: versions that a registry picks today are not what was tested.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::digest;
use crate::packages::{self, GO};
use crate::paths::Paths;
use crate::process::{cargo, command, output, run};
use crate::progress::Step;

/// cargo-deny looks at licences, bans and sources; it is no part of what gets built.
const CARGO_DENY: &str = "0.20.2";

/// cargo-deb makes Debian packages.
const CARGO_DEB: &str = "3.8.0";

/// The crate of this tree that is `wasm-bindgen`, with a lock of its own.
const WASM_BINDGEN: &str = "xtask/wasm-bindgen";

/// The module that pins programs written in Go, with the hash of each of its dependencies in go.sum.
const GO_MODULE: &str = "tests/go";

/// The features of instant-acme's own tests: all of them, with the cryptography that compiles fastest.
const INSTANT_ACME: &str = "ring,hyper-rustls,rcgen,time,x509-parser";

/// How a tool is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// For tools whose run takes longer than their build.
    Release,
    /// Unoptimized and without debug information, for tools that run for a moment: half of the build's time and less.
    Quick,
}

/// Returns `wasm-bindgen` in exactly the version of the crate: its glue and its command line are one.
///
/// # Errors
/// When the lock of the tool and the workspace's disagree, or it does not build.
pub(crate) fn wasm_bindgen(paths: &Paths) -> Result<PathBuf> {
    let version = locked_version(&paths.root, "wasm-bindgen")?;
    let own = locked_version(&paths.root.join(WASM_BINDGEN), "wasm-bindgen-cli")?;
    ensure!(
        own == version,
        "{WASM_BINDGEN} has wasm-bindgen-cli {own}, the workspace has wasm-bindgen {version}: \
         change the version in {WASM_BINDGEN}/Cargo.toml and run `cargo update` there"
    );
    let digest = digest::of(&paths.root, &[WASM_BINDGEN])?;
    let name = format!("wasm-bindgen-{version}-{}", digest.get(..16).unwrap_or(&digest));
    let source = paths.root.join(WASM_BINDGEN);
    built(paths, &name, "wasm-bindgen", |place| {
        let mut install = install(place, Profile::Release);
        install.arg("--path").arg(source).env("CARGO_TARGET_DIR", place.join("target"));
        run(&mut install)?;
        Ok(fs::remove_dir_all(place.join("target"))?)
    })
}

/// Returns `worker-build`, released together with the crate `worker`.
pub(crate) fn worker_build(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "worker-build", &locked_version(&paths.root, "worker")?, Profile::Release)
}

/// Returns `cargo-deny`.
pub(crate) fn cargo_deny(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "cargo-deny", CARGO_DENY, Profile::Quick)
}

/// Returns `cargo-deb`.
pub(crate) fn cargo_deb(paths: &Paths) -> Result<PathBuf> {
    installed(paths, "cargo-deb", CARGO_DEB, Profile::Release)
}

/// Returns the folder with the programs that `tests/go` pins: `step` and `pebble-challtestsrv`.
///
/// # Errors
/// When Go is missing or older than the module says, or a download has another hash than go.sum.
pub(crate) fn go_programs(paths: &Paths) -> Result<PathBuf> {
    let digest = digest::of(&paths.root, &[GO_MODULE])?;
    paths.cached(&format!("tools/go-{}", digest.get(..16).unwrap_or(&digest)), |place| {
        let [go] = packages::ensure([GO])?;
        let step = Step::begin("building step and pebble-challtestsrv (once; it takes minutes)");
        let module = paths.root.join(GO_MODULE);
        let mut build = command(go);
        build.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(place).arg("tool");
        // Neither cgo, which would want headers of smart cards, nor another module around this one.
        run(build.env("CGO_ENABLED", "0").env("GOWORK", "off").current_dir(module))?;
        step.done();
        Ok(())
    })
}

/// Returns the folder of instant-acme's published crate, with its own tests against Pebble built in it as `pebble-tests`.
///
/// # Errors
/// When they do not build by the lock that the crate was published with.
pub(crate) fn instant_acme_tests(paths: &Paths) -> Result<PathBuf> {
    let version = locked_version(&paths.root, "instant-acme")?;
    paths.cached(&format!("tools/instant-acme-tests-{version}"), |place| {
        let step = Step::begin(format!("building the tests of instant-acme {version} (once; it takes minutes)"));
        copy(&published(paths, "instant-acme", &version)?, place)?;
        let target = place.join("target");
        let mut build = cargo();
        build.args(["test", "--locked", "--test", "pebble", "--no-run", "--no-default-features"]);
        build.args(["--features", INSTANT_ACME, "--message-format", "json"]).current_dir(place);
        build.env("CARGO_TARGET_DIR", &target).env("CARGO_PROFILE_TEST_DEBUG", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        let program = executable(&output(&mut build)?, "pebble")?;
        fs::copy(&program, place.join("pebble-tests")).with_context(|| format!("copying {}", program.display()))?;
        fs::remove_dir_all(&target)?;
        step.done();
        Ok(())
    })
}

/// Returns the program of a package of the registry, built by the lock that it was published with unless the cache has it.
fn installed(paths: &Paths, package: &str, version: &str, profile: Profile) -> Result<PathBuf> {
    built(paths, &format!("{package}-{version}"), package, |place| {
        let mut install = install(place, profile);
        install.args(["--version", version, package]);
        // Neither in the workspace's target folder nor with its configuration.
        run(install.env_remove("CARGO_TARGET_DIR").current_dir(place))
    })
}

/// Returns a program of the cache, which `build` puts into `bin` below its folder when the cache does not have it.
fn built(paths: &Paths, name: &str, program: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = paths.cached(&format!("tools/{name}"), |place| {
        let step = Step::begin(format!("building {name} (once; it takes minutes)"));
        build(place)?;
        step.done();
        Ok(())
    })?;
    let program = place.join("bin").join(program);
    if !program.exists() {
        bail!("{} is missing: delete {} and run this again", program.display(), place.display());
    }
    Ok(program)
}

/// Returns `cargo install` into this folder, by a lock.
fn install(place: &Path, profile: Profile) -> std::process::Command {
    let mut install = cargo();
    install.args(["install", "--quiet", "--locked", "--root"]).arg(place);
    if profile == Profile::Quick {
        install.arg("--debug").env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    install
}

/// Returns the folder where cargo has unpacked a package of the workspace's lock.
fn published(paths: &Paths, package: &str, version: &str) -> Result<PathBuf> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1"]).current_dir(&paths.root);
    let metadata: serde_json::Value = serde_json::from_str(&output(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let wanted = packages.iter().find(|one| one["name"] == package && one["version"] == version);
    let manifest = wanted.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.with_context(|| format!("cargo metadata does not have {package} {version}"))?;
    Ok(Path::new(manifest).parent().context("a manifest is in a folder")?.to_path_buf())
}

/// Copies what is in a folder into another one.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Returns the executable of a target from what `cargo --message-format json` prints.
fn executable(messages: &str, target: &str) -> Result<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found = messages.filter(|message| message["target"]["name"] == target);
    let found = found.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.with_context(|| format!("cargo built no executable of {target}"))
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

    #[test]
    fn every_tool_is_installed_by_a_lock() {
        for profile in [Profile::Release, Profile::Quick] {
            let install = install(Path::new("tools/x"), profile);
            assert!(install.get_args().any(|argument| argument == "--locked"), "{install:?}");
        }
    }

    #[test]
    fn the_locks_of_the_workspace_and_of_wasm_bindgen_have_one_version() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let own = locked_version(&root.join(WASM_BINDGEN), "wasm-bindgen-cli").unwrap();
        assert_eq!(own, locked_version(root, "wasm-bindgen").unwrap());
    }

    #[test]
    fn the_executable_is_the_one_of_the_target() {
        let messages = concat!(
            r#"{"target":{"name":"instant_acme"},"executable":null}"#,
            "\n",
            r#"{"target":{"name":"pebble"},"executable":"/t/debug/deps/pebble-1"}"#,
            "\nnot JSON\n",
        );
        assert_eq!(executable(messages, "pebble").unwrap(), Path::new("/t/debug/deps/pebble-1"));
        assert!(executable(messages, "other").is_err());
    }
}
