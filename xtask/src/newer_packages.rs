//! Programs of a newer Debian than the one at hand: fetched by apt from the mirror that the machine already uses, and
//! unpacked into the cache. Nothing gets installed, and apt's own lists stay as they are, so nobody needs to be root.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::paths::Paths;
use crate::process::{command, output, run, which};
use crate::progress::Step;

/// The suite that has them.
const SUITE: &str = "forky";
/// What the archive is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A program that this machine's own suite has too old, or not at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewerPackage {
    /// The package's name.
    name: &'static str,
    /// Its version as far as it matters to us: `2.10` is any 2.10.
    version: &'static str,
    /// The program, below the package's root.
    program: &'static str,
    /// The environment variable that names another copy.
    variable: &'static str,
}

/// A small ACME server that follows the newest drafts: what others do, to be compared with.
pub(crate) const PEBBLE: NewerPackage =
    NewerPackage { name: "pebble", version: "2.10", program: "usr/bin/pebble", variable: "COLOPHON_PEBBLE" };

/// A client that knows IP identifiers and profiles; this machine's own may be older.
pub(crate) const NEWER_LEGO: NewerPackage =
    NewerPackage { name: "lego", version: "4", program: "usr/bin/lego", variable: "COLOPHON_LEGO" };

/// A linter of certificates and CRLs.
pub(crate) const ZLINT: NewerPackage =
    NewerPackage { name: "zlint", version: "3", program: "usr/bin/zlint", variable: "COLOPHON_ZLINT" };

impl NewerPackage {
    /// The program: the one that its environment variable names, else from the cache, else fetched.
    ///
    /// # Errors
    /// When it can be had in none of these ways; the message says what to install.
    pub(crate) fn ensure(&self, paths: &Paths) -> Result<PathBuf> {
        if let Some(own) = env::var_os(self.variable).filter(|own| !own.is_empty()) {
            return which(&own.to_string_lossy()).with_context(|| format!("{} names no program", self.variable));
        }
        let place = paths
            .cached(&format!("tools/{}-{}", self.name, self.version), |place| {
                let step = Step::begin(format!("fetching {} {} of Debian {SUITE} (once)", self.name, self.version));
                self.fetch(place)?;
                step.done();
                Ok(())
            })
            .with_context(|| {
                let (name, version, variable) = (self.name, self.version, self.variable);
                format!("no {name} {version}: install it, and name the program in the variable {variable}")
            })?;
        Ok(place.join(self.program))
    }

    /// Unpacks the package into `place`, from the first mirror that has it.
    fn fetch(&self, place: &Path) -> Result<()> {
        if which("apt-get").is_none() || which("dpkg").is_none() {
            bail!("this machine has no apt, which would fetch it");
        }
        let apt = Apt::new()?;
        let mut failure = None;
        for mirror in apt.mirrors()? {
            match apt.download(&mirror, self) {
                Ok(package) => {
                    run(command("dpkg").arg("-x").arg(package).arg(place))?;
                    if !place.join(self.program).exists() {
                        bail!("the package {} has no {}", self.name, self.program);
                    }
                    return Ok(());
                }
                // The first mirror is the most likely one.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| anyhow!("apt has no source of packages")))
    }
}

/// apt with lists and a cache of its own.
#[derive(Debug)]
struct Apt {
    folder: tempfile::TempDir,
}

impl Apt {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.path().join(name))?;
        }
        Ok(Self { folder })
    }

    fn command(&self) -> Command {
        let mut apt = command("apt-get");
        for (option, name) in [("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
            apt.arg("-o").arg(option_of(option, &self.folder.path().join(name)));
        }
        // Root would hand the download to a user who may not enter this folder.
        apt.args(["--quiet", "-o", "APT::Sandbox::User=root"]).current_dir(self.folder.path());
        apt
    }

    /// Where this machine's packages come from, as apt itself understands its configuration.
    fn mirrors(&self) -> Result<Vec<String>> {
        Ok(mirrors_in(&output(self.command().args(["update", "--print-uris"]))?))
    }

    /// Downloads a package from the newer suite of a mirror.
    fn download(&self, mirror: &str, package: &NewerPackage) -> Result<PathBuf> {
        let sources = self.folder.path().join("sources.list");
        fs::write(&sources, format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"))?;
        let newer = || {
            let mut apt = self.command();
            apt.arg("-o").arg(option_of("Dir::Etc::sourcelist", &sources));
            apt.args(["-o", "Dir::Etc::sourceparts=/dev/null"]);
            // Descriptions for software centres.
            apt.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
            apt
        };
        output(newer().args(["update", "--error-on=any"]))?;
        output(newer().arg("download").arg(format!("{}={}*", package.name, package.version)))?;
        let files = fs::read_dir(self.folder.path())?.flatten().map(|entry| entry.path());
        let mut downloaded = files.filter(|file| file.extension().is_some_and(|extension| extension == "deb"));
        downloaded.next().context("apt downloaded no package")
    }
}

/// `NAME=PATH`
fn option_of(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(format!("{name}="));
    option.push(path);
    option
}

/// The archives in what `apt-get update --print-uris` prints: `'MIRROR/dists/SUITE/InRelease' FILE 0`, and more like it.
fn mirrors_in(printed: &str) -> Vec<String> {
    let mut mirrors: Vec<String> = Vec::new();
    for line in printed.lines() {
        let address = line.trim_start_matches('\'').split('\'').next().unwrap_or_default();
        let Some((mirror, rest)) = address.split_once("/dists/") else { continue };
        if rest.ends_with("/InRelease") && !mirrors.iter().any(|known| known == mirror) {
            mirrors.push(mirror.to_owned());
        }
    }
    mirrors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mirror_is_tried_once_and_in_apts_order() {
        let printed = "\
'http://one.test/debian/dists/bookworm/InRelease' one_InRelease 0
'http://one.test/debian/dists/bookworm-updates/InRelease' one_updates_InRelease 0
'https://two.test/dists/nodistro/InRelease' two_InRelease 0
'http://one.test/debian/dists/bookworm/main/binary-amd64/Packages.xz' one_Packages 0
'http://three.test/flat/InRelease' three_InRelease 0
";
        assert_eq!(mirrors_in(printed), ["http://one.test/debian", "https://two.test"]);
    }
}
