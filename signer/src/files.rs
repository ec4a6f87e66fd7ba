//! Files that are written once and files that hold secrets: no overwriting, no links, no loose permissions.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use zeroize::Zeroizing;

/// The largest file that a secret may be.
const SECRET_MAX_BYTES: u64 = 4096;
/// The largest file of many secrets.
const PRIVATE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a secret: a regular file of ours or root's that nobody else may touch. One newline at the end is not part of it.
///
/// # Errors
/// Says which rule the file breaks, never what is in it.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    read_at_most(path, SECRET_MAX_BYTES)
}

/// Reads a file of secrets by the same rules.
///
/// # Errors
/// As [`read_secret`].
pub(crate) fn read_private(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    read_at_most(path, PRIVATE_MAX_BYTES)
}

fn read_at_most(path: &Path, most: u64) -> anyhow::Result<Zeroizing<String>> {
    let describe = || format!("secret file {}", path.display());
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).with_context(describe)?;
    // Of the open file, not of the path: nobody can swap it in between.
    let metadata = file.metadata().with_context(describe)?;
    let owner = nix::unistd::Uid::from_raw(metadata.uid());
    ensure!(metadata.is_file(), "{}: not a regular file", describe());
    ensure!(metadata.mode() & 0o077 == 0, "{}: others may read it; set its mode to 0600", describe());
    ensure!(owner.is_root() || owner == nix::unistd::geteuid(), "{}: belongs to another user", describe());
    ensure!(metadata.len() <= most, "{}: too large", describe());
    let mut text = Zeroizing::new(String::new());
    // One byte more than permitted: a file that grew meanwhile is an error, and never a shorter one.
    let read = file.take(most.saturating_add(1)).read_to_string(&mut text);
    let read = read.map_err(|_| anyhow::anyhow!("{}: not text", describe()))?;
    ensure!(u64::try_from(read).is_ok_and(|read| read <= most), "{}: too large", describe());
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// Replaces a small file as a whole, through to the disk. Nobody else may read it but who could before; a new one is the
/// folder's owner's.
pub(crate) fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let describe = || format!("cannot write {}", path.display());
    let partial = path.with_extension("partial");
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let mut file = options.with_context(describe)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let model = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder)).with_context(describe)?;
    // Only root can give files away: an operator's command must not lock the daemon out.
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::fchown(&file, Some(model.uid()), Some(model.gid())).with_context(describe)?;
    }
    file.write_all(content).and_then(|()| file.sync_all()).with_context(describe)?;
    std::fs::rename(&partial, path).with_context(describe)?;
    sync_folder_of(path)
}

/// A new file, reserved under its name before the work that fills it; removed again unless [`NewFile::commit`] is called.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
    committed: bool,
}

impl NewFile {
    /// Creates the file. Fails when there is one: nothing is ever overwritten.
    pub(crate) fn create(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        match file {
            Ok(file) => Ok(Self { path: path.to_owned(), file, committed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} exists; it is not overwritten", path.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }

    /// Checks that nobody else may read what will be in it: some file systems give every file the same permissions.
    pub(crate) fn check_secrecy(&self) -> anyhow::Result<()> {
        let mode = self.file.metadata().with_context(|| format!("cannot look at {}", self.path.display()))?.mode();
        ensure!(
            mode & 0o077 == 0,
            "{}: others may read what is written there, whatever is asked for; no secret is put there",
            self.path.display()
        );
        Ok(())
    }

    /// Writes more through to the disk; the file is still removed unless it is committed.
    pub(crate) fn append(&mut self, content: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(content).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes the content through to the disk and keeps the file.
    pub(crate) fn commit(mut self, content: &[u8]) -> anyhow::Result<()> {
        let written = self.file.write_all(content).and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        self.committed = true;
        sync_folder_of(&self.path)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.committed {
            // The work behind it has failed and said why; an empty file that stays is only untidy.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// True when others may take a file out of a folder and put another one there.
pub(crate) fn others_may_replace(folder: &Path) -> io::Result<bool> {
    let mode = std::fs::metadata(folder)?.mode();
    Ok(mode & 0o022 != 0 && mode & 0o1000 == 0)
}

/// Makes the existence of a file in its folder survive a crash.
pub(crate) fn sync_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot sync {}", folder.display()))
}

/// Writes a file that appears whole or not at all, and never in the place of another.
pub(crate) fn write_whole(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut name = path.file_name().context("not a file name")?.to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let file = NewFile::create(&partial, mode)?;
    file.commit(content)?;
    // A hard link fails where a rename would replace.
    let linked = std::fs::hard_link(&partial, path);
    std::fs::remove_file(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    match linked {
        Ok(()) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} exists; it is not overwritten", path.display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn secret(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_a_secret() {
        let (_folder, path) = secret("1234\n\n", 0o600);
        assert_eq!(read_secret(&path).unwrap().as_str(), "1234\n");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620] {
            let (_folder, path) = secret("1234", mode);
            assert!(read_secret(&path).unwrap_err().to_string().contains("mode"));
        }
    }

    #[test]
    fn a_secret_is_not_a_link_and_not_a_folder() {
        let (folder, path) = secret("1234", 0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(read_secret(&link).is_err());
        assert!(read_secret(folder.path()).is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_in_is_no_place_for_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, loose) in [(0o700, false), (0o755, false), (0o775, true), (0o777, true), (0o1777, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_may_replace(folder.path()).unwrap(), loose, "{mode:o}");
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(NewFile::create(&folder.path().join("open"), 0o644).unwrap().check_secrecy().is_err());
        assert!(NewFile::create(&folder.path().join("closed"), 0o600).unwrap().check_secrecy().is_ok());
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_half_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        drop(NewFile::create(&path, 0o600).unwrap());
        assert!(!path.exists());
        write_whole(&path, b"first", 0o644).unwrap();
        assert!(write_whole(&path, b"second", 0o644).is_err());
        assert!(NewFile::create(&path, 0o600).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
