//! Where things are: the tree, what cargo builds, and the cache of everything that is slow to obtain.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

/// The three places that the tooling knows.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The workspace's folder.
    pub(crate) root: PathBuf,
    /// Cargo's target folder for the host.
    pub(crate) target: PathBuf,
    /// Tools, keyed by version; safe to delete at any time.
    pub(crate) cache: PathBuf,
}

impl Paths {
    /// From the environment: `CARGO_TARGET_DIR`, and `COLOPHON_CACHE` or `XDG_CACHE_HOME` or the home folder.
    pub(crate) fn discover() -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not inside a workspace")?.to_path_buf();
        let target = match variable("CARGO_TARGET_DIR") {
            Some(path) => std::path::absolute(path)?,
            None => root.join("target"),
        };
        let cache = variable("COLOPHON_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("colophon")))
            .or_else(|| env::home_dir().map(|path| path.join(".cache/colophon")))
            .ok_or_else(|| anyhow!("no home folder: set COLOPHON_CACHE to a folder that may hold the tools"))?;
        let cache = std::path::absolute(cache)?;
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        Ok(Self { root, target, cache })
    }

    /// Cargo's target folder for wasm32: apart from the host's, because another compiler may fill it.
    pub(crate) fn edge_target(&self) -> PathBuf {
        self.target.join("edge")
    }

    /// Fills `name` below the cache once: `fill` gets an empty sibling folder, which becomes `name` only when it
    /// succeeded. Concurrent callers wait for each other. Gives the folder.
    pub(crate) fn cached(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.cache.join(name);
        let parent = place.parent().context("a cached folder has a parent")?;
        fs::create_dir_all(parent)?;
        let _lock = lock(&self.cache, name)?;
        if place.exists() {
            return Ok(place);
        }
        // A fixed name: what an interrupted install left is found, and removed.
        let file_name = place.file_name().context("a cached folder has a name")?.to_string_lossy();
        let partial = parent.join(format!(".{file_name}.partial"));
        remove(&partial)?;
        fs::create_dir(&partial)?;
        if let Err(error) = fill(&partial) {
            let _ = remove(&partial);
            return Err(error);
        }
        fs::rename(&partial, &place).with_context(|| format!("moving a finished install to {}", place.display()))?;
        Ok(place)
    }

    /// Like [`Paths::cached`] for what cannot be moved once made: filled in place, and filled anew unless its marker is
    /// there.
    pub(crate) fn cached_in_place(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let place = self.cache.join(name);
        let marker = place.join(".complete");
        let _lock = lock(&self.cache, name)?;
        if marker.exists() {
            return Ok(place);
        }
        remove(&place)?;
        fs::create_dir_all(&place)?;
        fill(&place)?;
        File::create(marker)?;
        Ok(place)
    }
}

/// Removes an unfinished install, if there is one.
fn remove(place: &Path) -> Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the unfinished {}", place.display()))
        }
        _ => Ok(()),
    }
}

impl Paths {
    /// An exclusive lock for what is built once for the whole workspace; released when dropped.
    pub(crate) fn lock_build(&self, name: &str) -> Result<File> {
        lock(&self.target, name)
    }
}

/// An exclusive lock for one entry of the cache, or one thing that is built; released when dropped.
fn lock(cache: &Path, name: &str) -> Result<File> {
    let locks = cache.join("locks");
    fs::create_dir_all(&locks)?;
    let file = File::create(locks.join(name.replace('/', "-"))).context("creating a lock")?;
    file.lock().context("waiting for another install or build to end")?;
    Ok(file)
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &Path) -> Paths {
        Paths { root: folder.into(), target: folder.into(), cache: folder.into() }
    }

    #[test]
    fn a_failed_install_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let failed = paths.cached("tools/x-1", |place| {
            fs::write(place.join("half"), "")?;
            Err(anyhow!("the registry is away"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path().join("tools")).unwrap().count(), 0);
    }

    #[test]
    fn what_an_interrupted_install_left_is_not_taken_for_a_part_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(".x-1.partial/half")).unwrap();
        let place = paths(folder.path()).cached("x-1", |place| Ok(fs::write(place.join("whole"), "")?)).unwrap();
        assert!(place.join("whole").exists() && !place.join("half").exists());
    }

    #[test]
    fn what_is_installed_is_not_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let place = paths.cached("x-1", |place| Ok(fs::write(place.join("bin"), "1")?)).unwrap();
        paths.cached("x-1", |_| panic!("installed twice")).unwrap();
        assert_eq!(fs::read_to_string(place.join("bin")).unwrap(), "1");
    }

    #[test]
    fn an_unfinished_install_in_place_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        let _ = paths.cached_in_place("venv-1", |place| {
            fs::write(place.join("half"), "")?;
            Err(anyhow!("interrupted"))
        });
        let place = paths.cached_in_place("venv-1", |place| Ok(fs::write(place.join("whole"), "")?)).unwrap();
        assert!(place.join("whole").exists() && !place.join("half").exists());
    }
}
