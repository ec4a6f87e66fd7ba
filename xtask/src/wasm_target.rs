//! A Rust toolchain that compiles for wasm32-unknown-unknown.
//!
//! 1. The one at hand, when it has the target.
//! 2. The one at hand, after `rustup target add`.
//! 3. Where rustup cannot download: Debian's `rustc-web`, whose standard library for wasm32 is built once from
//!    `rust-web-src`. It goes into a sysroot of our own in the cache (nothing below /usr is written), and a two-line
//!    `rustc` in front of the real one names that sysroot, so that every tool that asks `rustc --print sysroot` finds
//!    the target.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::{self, CARGO, LLD, RUST_SOURCE, RUSTC};
use crate::paths::Paths;
use crate::process::{cargo, command, output, run, succeeds_within, which};
use crate::progress::{Step, note};

/// The target's name.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How long `rustup target add` may take before we conclude that it cannot download.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);

/// How to run cargo and rustc for wasm32.
#[derive(Clone, Debug)]
pub(crate) enum WasmToolchain {
    /// The toolchain that runs us.
    Host,
    /// A toolchain in a folder of its own (`bin/rustc`, `bin/cargo`), with this linker.
    Apart {
        /// The folder, which is the sysroot too.
        sysroot: PathBuf,
        /// wasm-ld.
        linker: PathBuf,
    },
}

impl WasmToolchain {
    /// Finds one, or makes one.
    pub(crate) fn prepare(paths: &Paths) -> Result<Self> {
        if has_target(Path::new("rustc")) {
            return Ok(Self::Host);
        }
        // Once the Debian way was taken, do not ask rustup again at each build.
        if let Some(sysroot) = made_before(paths) {
            let [linker] = packages::ensure([LLD])?;
            return Ok(Self::Apart { sysroot, linker });
        }
        if which("rustup").is_some() {
            let step = Step::begin(format!("rustup target add {TARGET}"));
            if succeeds_within(command("rustup").args(["target", "add", TARGET]), RUSTUP_LIMIT)
                && has_target(Path::new("rustc"))
            {
                step.done();
                return Ok(Self::Host);
            }
            note("rustup cannot download here: taking Debian's toolchain");
        }
        let [rustc, cargo, source, linker] = packages::ensure([RUSTC, CARGO, RUST_SOURCE, LLD]).with_context(|| {
            format!("no Rust toolchain for {TARGET} (where rustup works: rustup target add {TARGET})")
        })?;
        let sysroot = sysroot(paths, &rustc, &cargo, &source)?;
        Ok(Self::Apart { sysroot, linker })
    }

    /// `cargo` for builds with `--target wasm32-unknown-unknown`.
    pub(crate) fn cargo(&self, paths: &Paths) -> Result<Command> {
        let mut command = match self {
            Self::Host => cargo(),
            Self::Apart { sysroot, .. } => command(sysroot.join("bin/cargo")),
        };
        self.configure(&mut command, paths, None)?;
        Ok(command)
    }

    /// Sets the variables by which any program (worker-build, say) finds this toolchain. `first` goes in front of
    /// everything on PATH but the toolchain.
    pub(crate) fn configure(&self, command: &mut Command, paths: &Paths, first: Option<PathBuf>) -> Result<()> {
        let mut folders: Vec<PathBuf> = Vec::new();
        if let Self::Apart { sysroot, linker } = self {
            folders.push(sysroot.join("bin"));
            command
                .env("RUSTC", sysroot.join("bin/rustc"))
                .env("CARGO", sysroot.join("bin/cargo"))
                // clippy-driver takes the sysroot from here.
                .env("SYSROOT", sysroot)
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                // `cargo run` of another toolchain sets these.
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("LD_LIBRARY_PATH");
        }
        folders.extend(first);
        let rest = env::var_os("PATH").unwrap_or_default();
        folders.extend(env::split_paths(&rest));
        let path: OsString = env::join_paths(folders)?;
        command.env("PATH", path).env("CARGO_TARGET_DIR", paths.edge_target());
        Ok(())
    }
}

/// Whether a compiler has the target's standard library.
fn has_target(rustc: &Path) -> bool {
    output(command(rustc).args(["--target", TARGET, "--print", "target-libdir"]))
        .is_ok_and(|folder| fs::read_dir(folder.trim()).is_ok_and(|mut entries| entries.next().is_some()))
}

fn sysroot_name(rustc: &Path) -> Result<String> {
    let version = output(command(rustc).arg("-vV"))?;
    let release =
        version.lines().find_map(|line| line.strip_prefix("release: ")).context("rustc -vV names no release")?;
    Ok(format!("sysroot-wasm32-{release}"))
}

fn made_before(paths: &Paths) -> Option<PathBuf> {
    let rustc = RUSTC.found()?;
    CARGO.found()?;
    let place = paths.cache.join(sysroot_name(&rustc).ok()?);
    place.exists().then_some(place)
}

fn sysroot(paths: &Paths, rustc: &Path, cargo: &Path, source: &Path) -> Result<PathBuf> {
    let name = sysroot_name(rustc)?;
    let place = paths.cache.join(&name);
    paths.cached(&name, |partial| {
        let step = Step::begin(format!("building the standard library for {TARGET} ({}; once)", rustc.display()));
        if !source.exists() {
            bail!("{} is missing", source.display());
        }
        let libraries = standard_library(rustc, cargo)?;
        let rustlib = partial.join("lib/rustlib");
        let into = rustlib.join(TARGET).join("lib");
        fs::create_dir_all(&into)?;
        for library in &libraries.files {
            let file = library.file_name().context("a library has a file name")?;
            fs::copy(library, into.join(file)).with_context(|| format!("copying {}", library.display()))?;
        }
        // Build scripts and macros are compiled for the host, with the host's own libraries.
        let host = PathBuf::from(output(command(rustc).args(["--print", "target-libdir"]))?.trim());
        let host = host.parent().context("the host's libraries are in a folder")?;
        symlink(host, rustlib.join(host.file_name().context("the host's target has a name")?))?;
        fs::create_dir(partial.join("bin"))?;
        symlink(cargo, partial.join("bin/cargo"))?;
        let wrapper = partial.join("bin/rustc");
        fs::write(&wrapper, format!("#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n", rustc.display(), place.display()))?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        step.done();
        Ok(())
    })
}

/// Libraries that were just built, and the folder that is removed with them.
struct Libraries {
    files: Vec<PathBuf>,
    _folder: tempfile::TempDir,
}

/// Builds `std` and all it needs by building an empty crate with it.
fn standard_library(rustc: &Path, cargo: &Path) -> Result<Libraries> {
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    fs::create_dir(place.join("src"))?;
    fs::write(place.join("src/lib.rs"), "")?;
    fs::write(
        place.join("Cargo.toml"),
        "[package]\nname = \"emptiness\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\n[workspace]\n",
    )?;
    let mut build = command(cargo);
    build
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "-Zbuild-std=std,panic_abort,panic_unwind,proc_macro",
        ])
        .current_dir(place)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", rustc)
        .env("CARGO_TARGET_DIR", place.join("target"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("LD_LIBRARY_PATH");
    run(&mut build)?;
    let built = place.join("target").join(TARGET).join("release/deps");
    let mut files = Vec::new();
    for entry in fs::read_dir(&built).with_context(|| format!("reading {}", built.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libemptiness") {
            files.push(file);
        }
    }
    if files.is_empty() {
        bail!("building the standard library left no library in {}", built.display());
    }
    Ok(Libraries { files, _folder: folder })
}
