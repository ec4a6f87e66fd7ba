//! `cargo xtask package`: the signer as a Debian package, with its manual pages, which the program itself writes.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::build::{self, Flavour};
use crate::paths::Paths;
use crate::process::{command, output, run};
use crate::progress::{Step, note};
use crate::tools;

/// Builds the signer, writes its pages beside it, and packs both; prints where the package is.
pub(crate) fn package(paths: &Paths) -> Result<()> {
    let program = build::build_signer(paths, Flavour::Usual)?;
    // Where the package's metadata in signer/Cargo.toml looks for them.
    let pages = program.with_file_name("manual");
    match fs::remove_dir_all(&pages) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", pages.display()));
        }
        _ => {}
    }
    run(command(&program).args(["manual", "--out"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        compress(&page?.path())?;
    }
    let cargo_deb = tools::cargo_deb(paths)?;
    let step = Step::begin("packing the signer");
    let mut pack = command(cargo_deb);
    // What is packed is what was built above, and it keeps its symbols for whoever reads a backtrace.
    pack.args(["--package", "signer", "--no-build", "--no-strip", "--quiet"]).current_dir(&paths.root);
    let package = output(pack.env("CARGO_TARGET_DIR", &paths.target))?;
    let Some(package) = package.lines().last() else { bail!("cargo-deb names no package") };
    step.done();
    note(format!("the package: {package}"));
    Ok(())
}

/// Replaces a page by its compressed form (Debian policy §12.1), which has no time in it.
fn compress(page: &Path) -> Result<()> {
    let content = fs::read(page).with_context(|| format!("reading {}", page.display()))?;
    let compressed = File::create(page.with_extension("1.gz"))?;
    let mut encoder = GzEncoder::new(compressed, Compression::best());
    encoder.write_all(&content)?;
    encoder.finish()?;
    Ok(fs::remove_file(page)?)
}
