//! The platform's own tools come as npm packages: wrangler, workerd, esbuild, binaryen, and the Node that wrangler
//! needs. They are installed from `xtask/npm`'s lock into the cache, one folder per lock.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::digest;
use crate::packages::{self, NPM};
use crate::paths::Paths;
use crate::process::{command, run};
use crate::progress::Step;

/// An installed lock.
#[derive(Clone, Debug)]
pub(crate) struct Npm {
    modules: PathBuf,
}

impl Npm {
    /// The platform's tools: what `xtask/npm/package-lock.json` names.
    pub(crate) fn install(paths: &Paths) -> Result<Self> {
        Self::install_from(paths, "xtask/npm", "wrangler, workerd and their Node")
    }

    /// The clients that tests run: what `tests/npm/package-lock.json` names. They run on the Node of the tools.
    pub(crate) fn install_clients(paths: &Paths) -> Result<Self> {
        Self::install_from(paths, "tests/npm", "ACME clients from npm")
    }

    /// Installs a lock unless the cache has it.
    fn install_from(paths: &Paths, folder: &str, what: &str) -> Result<Self> {
        let manifest = paths.root.join(folder);
        let digest = digest::of(&manifest, &["package.json", "package-lock.json"])?;
        let name = format!("npm-{}", digest.get(..16).unwrap_or(&digest));
        let place = paths.cached(&name, |place| {
            let [npm] = packages::ensure([NPM])?;
            let step = Step::begin(format!("installing {what} (npm ci, once)"));
            for file in ["package.json", "package-lock.json"] {
                fs::copy(manifest.join(file), place.join(file)).with_context(|| format!("copying {folder}/{file}"))?;
            }
            run(command(npm).args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(place))?;
            step.done();
            Ok(())
        })?;
        Ok(Self { modules: place.join("node_modules") })
    }

    /// The folder of all modules.
    pub(crate) fn modules(&self) -> &Path {
        &self.modules
    }

    /// A program that a package brings.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let program = self.modules.join(".bin").join(name);
        if !program.exists() {
            bail!("npm installed no `{name}`: delete {} and run this again", self.modules.display());
        }
        Ok(program)
    }

    /// The workerd binary itself; the `workerd` in `.bin` may be a script that starts it with Node.
    pub(crate) fn workerd(&self) -> Result<PathBuf> {
        let platform = match (env::consts::OS, env::consts::ARCH) {
            ("linux", "x86_64") => "workerd-linux-64",
            ("linux", "aarch64") => "workerd-linux-arm64",
            ("macos", "x86_64") => "workerd-darwin-64",
            ("macos", "aarch64") => "workerd-darwin-arm64",
            (os, arch) => bail!("there is no workerd for {os} on {arch}"),
        };
        let binary = self.modules.join("@cloudflare").join(platform).join("bin/workerd");
        if binary.exists() { Ok(binary) } else { self.program("workerd") }
    }

    /// `wrangler`, run by the Node of the same lock, without telemetry.
    pub(crate) fn wrangler(&self) -> Result<Command> {
        let mut wrangler = command(self.program("wrangler")?);
        wrangler.env("PATH", self.path()?).env("WRANGLER_SEND_METRICS", "false");
        Ok(wrangler)
    }

    /// PATH with these programs first.
    pub(crate) fn path(&self) -> Result<OsString> {
        let rest = env::var_os("PATH").unwrap_or_default();
        Ok(env::join_paths([self.modules.join(".bin")].into_iter().chain(env::split_paths(&rest)))?)
    }
}
