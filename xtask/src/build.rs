//! `cargo xtask build`: the edge to WebAssembly as wrangler's `[build]` does, and the signer for the host.
//!
//! The benchmarks' floor is built the same way as the edge.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::digest;
use crate::npm::Npm;
use crate::paths::Paths;
use crate::process::{cargo, command, run};
use crate::progress::{Step, note};
use crate::tools;
use crate::wasm_target::WasmToolchain;

/// The largest compressed bundle, in bytes: half of the 3 MB that the platform's smaller plan takes.
const BUNDLE_BUDGET: u64 = 1_500_000;

/// A crate that becomes a WebAssembly module and its glue.
#[derive(Clone, Copy, Debug)]
struct Worker {
    name: &'static str,
    /// Its folder below the workspace; the bundle is in `build` below that.
    folder: &'static str,
    /// Everything else below the workspace that the bundle is made from, its own `Cargo.toml` and `src` aside.
    sources: &'static [&'static str],
}

const EDGE: Worker =
    Worker { name: "the edge", folder: "edge", sources: &["edge/build.rs", "shared/Cargo.toml", "shared/src"] };
const FLOOR: Worker = Worker { name: "the floor of the benchmarks", folder: "tests/floor", sources: &[] };

/// What every bundle is made from.
const COMMON_SOURCES: [&str; 3] = ["Cargo.lock", "Cargo.toml", "xtask/npm/package-lock.json"];

/// The name of the stamp that lies beside the bundle.
const STAMP: &str = ".sources";

/// What the module may use: as worker-build allows it, so that nothing newer than workerd gets in.
const WASM_FEATURES: [&str; 7] = [
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
];

/// What to build.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BuildOptions {
    /// Only the edge (WebAssembly).
    #[arg(long)]
    edge: bool,
    /// Only the signer.
    #[arg(long)]
    signer: bool,
}

/// Builds what was asked for, or both.
pub(crate) fn build(paths: &Paths, options: BuildOptions) -> Result<()> {
    let both = !options.edge && !options.signer;
    if both || options.edge {
        build_edge(paths)?;
    }
    if both || options.signer {
        build_signer(paths, Flavour::Usual)?;
    }
    Ok(())
}

/// Builds the edge's bundle unless it is made from the sources at hand, and prints its size. Gives the bundle's folder.
pub(crate) fn build_edge(paths: &Paths) -> Result<PathBuf> {
    EDGE.build(paths)
}

/// The same for the floor of the benchmarks.
pub(crate) fn build_floor(paths: &Paths) -> Result<PathBuf> {
    FLOOR.build(paths)
}

impl Worker {
    fn build(&self, paths: &Paths) -> Result<PathBuf> {
        // Two stacks that start at once must not build over each other.
        let _lock = paths.lock_build(self.folder)?;
        let folder = paths.root.join(self.folder);
        let bundle = folder.join("build");
        let own = ["Cargo.toml", "src"].map(|name| format!("{}/{name}", self.folder));
        let own = own.iter().map(String::as_str);
        let sources: Vec<&str> = COMMON_SOURCES.into_iter().chain(self.sources.iter().copied()).chain(own).collect();
        let sources = digest::of(&paths.root, &sources)?;
        if fs::read_to_string(bundle.join(STAMP)).is_ok_and(|stamp| stamp == sources)
            && bundle.join("index_bg.wasm").exists()
        {
            return Ok(bundle);
        }
        let toolchain = WasmToolchain::prepare(paths)?;
        let npm = Npm::install(paths)?;
        let wasm_bindgen = tools::wasm_bindgen(paths)?;
        let worker_build = tools::worker_build(paths)?;
        let step = Step::begin(format!("building {} (wasm32, release)", self.name));
        let mut build: Command = command(worker_build);
        build
            .arg("--release")
            .current_dir(&folder)
            .env("WASM_BINDGEN_BIN", wasm_bindgen)
            .env("WASM_OPT_BIN", npm.program("wasm-opt")?)
            .env("ESBUILD_BIN", npm.program("esbuild")?);
        // wasm-opt is a script for Node.
        let modules = npm.program("node")?.parent().map(Path::to_path_buf);
        toolchain.configure(&mut build, paths, modules)?;
        run(&mut build)?;
        drop_names(&npm, &bundle)?;
        fs::write(bundle.join(STAMP), sources).with_context(|| format!("stamping the bundle of {}", self.name))?;
        step.done();
        note(format!("the bundle of {}: {}", self.name, Size::of(&bundle)?));
        Ok(bundle)
    }
}

/// Drops the functions' names, a tenth of the module, which worker-build always keeps. Without them a trap is told by number.
fn drop_names(npm: &Npm, bundle: &Path) -> Result<()> {
    let module = bundle.join("index_bg.wasm");
    let mut strip = command(npm.program("wasm-opt")?);
    strip.args(WASM_FEATURES).arg("--strip-debug").arg(&module).arg("-o").arg(&module);
    // It is a script for Node.
    run(strip.env("PATH", npm.path()?))
}

/// What a bundle weighs, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    raw: u64,
    /// With gzip, each file by itself.
    pub(crate) compressed: u64,
}

impl Size {
    /// Of the bundle in that folder.
    pub(crate) fn of(bundle: &Path) -> Result<Self> {
        let mut size = Self { raw: 0, compressed: 0 };
        for file in ["index_bg.wasm", "index.js"] {
            let content = fs::read(bundle.join(file)).with_context(|| format!("reading the bundle's {file}"))?;
            size.raw += content.len() as u64;
            size.compressed += gzipped(&content)?;
        }
        Ok(size)
    }

    /// An error when it is over the budget. A build does not ask: only what gets deployed has to keep it.
    pub(crate) fn within_budget(self) -> Result<()> {
        if self.compressed > BUNDLE_BUDGET {
            bail!("the edge's bundle is over its budget of {} kB: {self}", BUNDLE_BUDGET / 1000);
        }
        Ok(())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} kB, compressed {} kB", self.raw / 1000, self.compressed / 1000)
    }
}

fn gzipped(content: &[u8]) -> Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.len() as u64)
}

/// Which signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// The one that gets released.
    Usual,
    /// The one that can be told to sign as slowly as a USB token. For tests only.
    SlowToken,
}

/// The profile of what runs on hosts, and the folder of what is built by it.
const PROFILE: &str = "native";

/// Builds the signer for its release (cargo decides whether there is something to do), and gives the binary.
pub(crate) fn build_signer(paths: &Paths, flavour: Flavour) -> Result<PathBuf> {
    let name = match flavour {
        Flavour::Usual => "signer",
        Flavour::SlowToken => "signer-slow-token",
    };
    let binary = paths.target.join(PROFILE).join(name);
    let step = Step::begin(format!("building {name} ({PROFILE})"));
    let mut build = cargo();
    build
        .args(["build", "--quiet", "--profile", PROFILE, "--package", "signer", "--bin", name])
        .current_dir(&paths.root);
    build.env("CARGO_TARGET_DIR", &paths.target);
    if flavour == Flavour::SlowToken {
        build.args(["--features", "slow-token"]);
    }
    run(&mut build)?;
    if !binary.exists() {
        bail!("cargo built {name}, but {} is not there", binary.display());
    }
    step.done();
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_over_its_budget_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.js"), "export {}").unwrap();
        fs::write(folder.path().join("index_bg.wasm"), vec![0; 2_000_000]).unwrap();
        Size::of(folder.path()).unwrap().within_budget().unwrap();
        let mut noise = vec![0; 1_600_000];
        getrandom::fill(&mut noise).unwrap();
        fs::write(folder.path().join("index_bg.wasm"), noise).unwrap();
        assert!(Size::of(folder.path()).unwrap().within_budget().is_err());
    }
}
