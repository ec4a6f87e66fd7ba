//! Programs that come from the system: installed by `apt-get` where that is possible, asked for where it is not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths::Paths;
use crate::process::{run, which};
use crate::progress::Step;

/// Something that a Debian package brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    /// The package's name.
    pub(crate) name: &'static str,
    /// Where what we need of it may be: absolute paths, or names of programs.
    pub(crate) provides: &'static [&'static str],
}

pub(crate) const SOFTHSM: Package = Package {
    name: "softhsm2",
    provides: &[
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ],
};
pub(crate) const PCSCD: Package = Package { name: "pcscd", provides: &["/usr/sbin/pcscd"] };
pub(crate) const YKCS11: Package = Package {
    name: "ykcs11",
    provides: &["/usr/lib/x86_64-linux-gnu/libykcs11.so.2", "/usr/lib/aarch64-linux-gnu/libykcs11.so.2"],
};
pub(crate) const OPENSC: Package = Package {
    name: "opensc-pkcs11",
    provides: &["/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so"],
};
/// OpenSC's programs, which bring its module with them.
pub(crate) const OPENSC_TOOLS: Package = Package { name: "opensc", provides: &["pkcs11-tool"] };
/// The virtual reader. Never installed from here: where it is, the machine's own pcscd listens on all of its addresses.
pub(crate) const VPCD: Package =
    Package { name: "vsmartcard-vpcd", provides: &["/usr/lib/pcsc/drivers/serial/libifdvpcd.so"] };
/// For libFuzzer, which is in C++.
pub(crate) const CXX: Package = Package { name: "g++", provides: &["c++", "g++", "clang++"] };
pub(crate) const NPM: Package = Package { name: "npm", provides: &["npm"] };
pub(crate) const OPENSSL: Package = Package { name: "openssl", provides: &["openssl"] };
pub(crate) const BIND: Package = Package { name: "bind9", provides: &["named"] };
pub(crate) const NSUPDATE: Package = Package { name: "bind9-dnsutils", provides: &["nsupdate"] };
pub(crate) const LEGO: Package = Package { name: "lego", provides: &["lego"] };
/// Unpacked alone: installed, it would serve this machine.
pub(crate) const CADDY: Package = Package { name: "caddy", provides: &["/usr/bin/caddy"] };
pub(crate) const CURL: Package = Package { name: "curl", provides: &["curl"] };
pub(crate) const GNUTLS: Package = Package { name: "gnutls-bin", provides: &["ocsptool"] };
pub(crate) const GO: Package = Package { name: "golang-go", provides: &["go"] };
pub(crate) const GO_CRYPTO: Package = Package {
    name: "golang-golang-x-crypto-dev",
    provides: &["/usr/share/gocode/src/golang.org/x/crypto/ocsp/ocsp.go"],
};
/// `ip`, for the network namespaces of tests.
pub(crate) const IPROUTE: Package = Package { name: "iproute2", provides: &["ip"] };
pub(crate) const JAVA: Package = Package { name: "default-jdk-headless", provides: &["javac"] };
pub(crate) const NGINX: Package = Package { name: "nginx-light", provides: &["/usr/sbin/nginx"] };
pub(crate) const PYTHON_VENV: Package =
    Package { name: "python3-venv", provides: &["/usr/lib/python3/dist-packages/ensurepip", "python3"] };
pub(crate) const RUSTC: Package = Package { name: "rustc-web", provides: &["/usr/bin/rustc"] };
pub(crate) const CARGO: Package = Package { name: "cargo-web", provides: &["/usr/bin/cargo"] };
pub(crate) const RUST_SOURCE: Package =
    Package { name: "rust-web-src", provides: &["/usr/lib/rustlib/src/rust/library/std/Cargo.toml"] };
pub(crate) const LLD: Package = Package { name: "lld-19", provides: &["/usr/lib/llvm-19/bin/wasm-ld"] };
pub(crate) const CLIPPY: Package = Package { name: "rust-web-clippy", provides: &["/usr/bin/clippy-driver"] };
pub(crate) const RUSTFMT: Package = Package { name: "rustfmt-web", provides: &["/usr/bin/rustfmt"] };

impl Package {
    /// The first thing that it provides and that is there.
    pub(crate) fn found(&self) -> Option<PathBuf> {
        self.provides.iter().find_map(|place| {
            let path = Path::new(place);
            if path.is_absolute() { path.exists().then(|| path.to_path_buf()) } else { which(place) }
        })
    }
}

/// Makes sure that all are there, and gives where each is, in the same order.
///
/// # Errors
/// When one is missing and cannot be installed from here; the message is the line to run.
pub(crate) fn ensure<const N: usize>(packages: [Package; N]) -> Result<[PathBuf; N]> {
    let missing: Vec<&str> =
        packages.iter().filter(|package| package.found().is_none()).map(|package| package.name).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let mut found = Vec::with_capacity(N);
    for package in packages {
        match package.found() {
            Some(path) => found.push(path),
            None => bail!("{} is installed, but has none of {:?}", package.name, package.provides),
        }
    }
    found.try_into().map_err(|_| anyhow::anyhow!("a package was not looked at"))
}

/// Gives where a package is: installed already, or unpacked into the cache, where nothing but we knows of it.
///
/// # Errors
/// When apt does not have it.
pub(crate) fn unpacked(package: Package, paths: &Paths) -> Result<PathBuf> {
    if let Some(installed) = package.found() {
        return Ok(installed);
    }
    let name = package.name;
    let place = paths.cached(&format!("tools/{name}"), |place| {
        let step = Step::begin(format!("fetching {name} (once)"));
        let folder = tempfile::tempdir()?;
        let apt = |arguments: &[&str]| {
            // Root would hand the download to a user who may not enter this folder.
            let options = ["--quiet", "-o", "APT::Sandbox::User=root"];
            run(Command::new("apt-get").args(options).args(arguments).current_dir(folder.path()))
        };
        // The package lists may be old or absent: refresh them only when they do not do.
        if apt(&["download", name]).is_err() {
            apt(&["update"])?;
            apt(&["download", name])?;
        }
        for file in fs::read_dir(folder.path())?.flatten() {
            run(Command::new("dpkg").arg("-x").arg(file.path()).arg(place))?;
        }
        step.done();
        Ok(())
    })?;
    let inside = package.provides.iter().map(|path| place.join(path.trim_start_matches('/')));
    inside.into_iter().find(|path| path.exists()).with_context(|| format!("the package {name} has not what it should"))
}

fn install(names: &[&str]) -> Result<()> {
    let list = names.join(" ");
    if which("apt-get").is_none() {
        bail!(
            "missing: {list} (the names of Debian's packages). \
             Install them with your system's package manager, then run this again."
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("missing: {list}. Run:\n\n    sudo apt-get install --no-install-recommends {list}\n");
    }
    let step = Step::begin(format!("installing {list} (apt-get)"));
    let install = || {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(names)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    // The package lists may be old or absent: refresh them only when they do not do.
    if install().is_err() {
        run(Command::new("apt-get").args(["update", "--quiet"]))?;
        install()?;
    }
    step.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_a_file_by_path() {
        assert!(Package { name: "coreutils", provides: &["sh"] }.found().is_some());
        assert!(Package { name: "base-files", provides: &["/etc"] }.found().is_some());
        assert!(Package { name: "none", provides: &["no-such-program-here", "/no/such/file"] }.found().is_none());
    }
}
