//! `cargo xtask fuzz`: the parsers of strangers' bytes under libFuzzer, each for some seconds. With the stable compiler, and so without
//! sanitizers, which code without `unsafe` hardly needs: panics, endless loops and memory without bounds are what is looked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::packages::{self, CXX};
use crate::paths::Paths;
use crate::process::{cargo, command, output, run};
use crate::progress::Step;

/// The workspace of the targets, and the folder of their sources in it.
const FOLDER: &str = "tests/fuzz";
const TARGETS: &str = "fuzz_targets";
/// What people write by hand, one folder for each target: where the search begins.
const SEEDS: &str = "seeds";

/// What libFuzzer needs of a compiler: counters of what was reached, and what was compared with what.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Bounds of one target: no input takes longer, no run more memory.
const BOUNDS: [&str; 4] = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1"];

/// What to fuzz.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FuzzOptions {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets [default: all]
    targets: Vec<String>,
}

impl FuzzOptions {
    /// All targets, each for so long.
    pub(crate) const fn all(seconds: u32) -> Self {
        Self { seconds, targets: Vec::new() }
    }
}

/// Fuzzes. What was found interesting stays in the target folder, where the next run begins; so does an input that a parser does not
/// survive, which is an error.
pub(crate) fn fuzz(paths: &Paths, options: &FuzzOptions) -> Result<()> {
    packages::ensure([CXX])?;
    let known = targets(&paths.root)?;
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        bail!("no target `{unknown}`; there are {}", known.join(", "));
    }
    let built = build(paths)?;
    for target in known.iter().filter(|target| options.targets.is_empty() || options.targets.contains(target)) {
        let step = Step::begin(format!("fuzzing {target} for {} s", options.seconds));
        let corpus = paths.target.join("fuzz/corpus").join(target);
        let found = paths.target.join("fuzz/found").join(target);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let mut fuzzer = command(built.join(target));
        fuzzer.args(BOUNDS).arg(format!("-max_total_time={}", options.seconds)).arg(&corpus);
        let seeds = paths.root.join(FOLDER).join(SEEDS).join(target);
        if seeds.is_dir() {
            fuzzer.arg(seeds);
        }
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        output(&mut fuzzer).with_context(|| format!("{target} does not survive the input in {}", found.display()))?;
        step.done();
    }
    Ok(())
}

/// The names of all targets, sorted.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join(FOLDER).join(TARGETS);
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; gives the folder that they are in.
fn build(paths: &Paths) -> Result<PathBuf> {
    let step = Step::begin("building the fuzz targets");
    let host = output(command("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    let target = paths.target.join("fuzz");
    // With a target of its own, so that the flags reach neither build scripts nor macros.
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--locked", "--target", host]).current_dir(paths.root.join(FOLDER));
    run(build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &target))?;
    step.done();
    Ok(target.join(host).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_are_built() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = fs::read_to_string(root.join(FOLDER).join("Cargo.toml")).unwrap();
        let names = targets(root).unwrap();
        assert!(names.len() > 10);
        for name in names {
            assert!(manifest.contains(&format!("path = \"{TARGETS}/{name}.rs\"")), "{name} is not in the manifest");
        }
    }
}
