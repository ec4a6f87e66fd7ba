//! Files that are written once and files that hold secrets: no overwriting, no links, no loose permissions.

mod access;
mod folder;

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use nix::{errno::Errno, fcntl::OFlag};
use zeroize::Zeroizing;

use self::access::Others;
pub(crate) use self::folder::Folder;
use crate::{clock, random};

/// The largest file that a secret may be.
const SECRET_MAX_BYTES: u64 = 4096;
/// The largest file of many secrets.
const PRIVATE_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The largest file that the daemon keeps about itself in one piece.
const STATE_MAX_BYTES: u64 = 1024 * 1024;
/// The end of the names of files that are being written.
const PARTIAL: &str = ".partial";
/// A file that is being written for longer belongs to a process that has died.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Reads a secret: a regular file of ours or root's to which no other user has access. One line break at the end, LF or CRLF, is not part
/// of it.
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
    let us = nix::unistd::geteuid();
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            let target = std::fs::read_link(path).unwrap_or_default();
            bail!(
                "{}: it is a symbolic link, to {}, and may be turned to another file: name the file that it leads to",
                describe(),
                target.display()
            )
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{}: this process runs as user {us}, who may not read it: {error}", describe())
        }
        Err(error) => return Err(error).with_context(describe),
    };
    // Of the open file, not of the path: nobody can swap it in between.
    let metadata = file.metadata().with_context(describe)?;
    let owner = nix::unistd::Uid::from_raw(metadata.uid());
    ensure!(metadata.is_file(), "{}: not a regular file", describe());
    match access::others(&file, us.as_raw()).with_context(describe)? {
        Others::None => {}
        Others::ByMode(mode) => {
            bail!("{}: others may use it, for its mode is {mode:04o}; set its mode to 0600", describe())
        }
        Others::ByList(why) => bail!("{}: others may use it: {why}", describe()),
    }
    ensure!(
        owner.is_root() || owner == us,
        "{}: it belongs to user {owner}, and this process runs as user {us}: only files of that user and of root are taken",
        describe()
    );
    ensure!(metadata.len() <= most, "{}: it has {} bytes, and may have {most}", describe(), metadata.len());
    let mut text = Zeroizing::new(String::new());
    // One byte more than permitted: a file that grew meanwhile is an error, and never a shorter one.
    let read = file.take(most.saturating_add(1)).read_to_string(&mut text);
    let read = read.map_err(|_| anyhow::anyhow!("{}: not text in UTF-8", describe()))?;
    ensure!(u64::try_from(read).is_ok_and(|read| read <= most), "{}: it has grown beyond {most} bytes", describe());
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Zeroizing::new(trimmed.to_owned()))
}

/// Reads a small file that the daemon keeps about itself. Follows no link; gives nothing when there is no such file.
///
/// # Errors
/// When it is no regular file, too large, or cannot be read.
pub(crate) fn read_state(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = Folder::open(folder_of(path)).and_then(|folder| folder.read(path.file_name().unwrap_or_default()));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > STATE_MAX_BYTES {
        return Err(io::Error::other(format!("not a regular file of at most {STATE_MAX_BYTES} bytes")));
    }
    let mut content = Vec::new();
    // One byte more than permitted: a file that grew meanwhile is an error, and never a shorter one.
    let read = file.take(STATE_MAX_BYTES.saturating_add(1)).read_to_end(&mut content)?;
    if u64::try_from(read).map_or(true, |read| read > STATE_MAX_BYTES) {
        return Err(io::Error::other(format!("it has grown beyond {STATE_MAX_BYTES} bytes")));
    }
    Ok(Some(content))
}

/// Replaces a small file as a whole, through to the disk. The new one has mode 0600 and the owner of the old one; where there was none, the
/// folder's owner.
///
/// # Errors
/// When it cannot be written; then the old one is as it was.
pub(crate) fn replace(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let describe = || format!("cannot write {}", path.display());
    let name = path.file_name().with_context(describe)?;
    let folder = Folder::open(folder_of(path)).with_context(describe)?;
    let partial = partial_name(name)?;
    let mut file = folder.create(&partial, 0o600).with_context(describe)?;
    let written = folder
        .give(&file, name)
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| folder.rename(&partial, name));
    if written.is_err() {
        // Why it failed is what must be told.
        let _ = folder.remove(&partial);
    }
    written.and_then(|()| folder.sync()).with_context(describe)
}

/// Removes a file that may not be there, through to the disk.
///
/// # Errors
/// When it is there and stays.
pub(crate) fn remove(path: &Path) -> anyhow::Result<()> {
    let describe = || format!("cannot remove {}", path.display());
    let name = path.file_name().with_context(describe)?;
    let folder = match Folder::open(folder_of(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(describe)?,
    };
    match folder.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| folder.sync()).with_context(describe),
    }
}

/// Removes what processes that have died left half written in a folder, and in the folders in it.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    let now = clock::now().seconds();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sweep(&entry.path())?;
            continue;
        }
        let is_partial =
            entry.file_name().to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL));
        let changed = entry.metadata().map_or(now, |metadata| u64::try_from(metadata.mtime()).unwrap_or(now));
        if is_partial && now.saturating_sub(changed) > ABANDONED.as_secs() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A random name: no other file has it, and no link can wait under it.
fn partial_name(name: &std::ffi::OsStr) -> anyhow::Result<OsString> {
    let random: String = random::bytes::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{random}{PARTIAL}"));
    Ok(partial)
}

/// A new file, reserved under its name before the work that fills it; removed again unless [`NewFile::commit`] is called.
#[derive(Debug)]
pub(crate) struct NewFile {
    folder: Folder,
    name: OsString,
    path: PathBuf,
    file: File,
    committed: bool,
}

impl NewFile {
    /// Creates the file. Fails when there is one: nothing is ever overwritten.
    pub(crate) fn create(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let describe = || format!("cannot create {}", path.display());
        let name = path.file_name().with_context(describe)?.to_owned();
        let folder = Folder::open(folder_of(path)).with_context(describe)?;
        match folder.create(&name, mode) {
            Ok(file) => Ok(Self { folder, name, path: path.to_owned(), file, committed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{} exists; it is not overwritten", path.display())
            }
            Err(error) => Err(error).with_context(describe),
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
        self.folder.sync().with_context(|| format!("cannot sync {}", self.folder.path().display()))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.committed {
            // The work behind it has failed and said why; an empty file that stays is only untidy.
            let _ = self.folder.remove(&self.name);
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
    let describe = || format!("cannot write {}", path.display());
    let name = path.file_name().with_context(describe)?;
    let folder = Folder::open(folder_of(path)).with_context(describe)?;
    let partial = partial_name(name)?;
    let mut file = folder.create(&partial, mode).with_context(describe)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    // A hard link fails where a rename would replace.
    let linked = written.and_then(|()| folder.link(&partial, name));
    folder.remove(&partial).with_context(|| format!("cannot remove {}", Path::new(&partial).display()))?;
    match linked {
        Ok(()) => folder.sync().with_context(describe),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} exists; it is not overwritten", path.display())
        }
        Err(error) => Err(error).with_context(describe),
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
        for (content, read) in [("1234\n", "1234"), ("1234\r\n", "1234"), ("1234\n\n", "1234\n"), ("1234\r", "1234\r")]
        {
            let (_folder, path) = secret(content, 0o600);
            assert_eq!(read_secret(&path).unwrap().as_str(), read, "{content:?}");
        }
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o620] {
            let (_folder, path) = secret("1234", mode);
            assert!(read_secret(&path).unwrap_err().to_string().contains(&format!("mode is 0{mode:o}")));
        }
    }

    #[test]
    fn a_secret_with_an_access_control_list_is_judged_by_who_is_in_it() {
        use rustix::fs::{XattrFlags, fsetxattr};
        let us = nix::unistd::geteuid().as_raw();
        for (user, private) in [(us, true), (us + 1, false)] {
            let (_folder, path) = secret("1234", 0o400);
            let list = access::tests::credential(user);
            fsetxattr(File::open(&path).unwrap(), "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o440, "as systemd's credentials look");
            match read_secret(&path) {
                Ok(text) => assert!(private && text.as_str() == "1234"),
                Err(error) => assert!(!private && error.to_string().contains(&format!("user {user}")), "{error}"),
            }
        }
    }

    #[test]
    fn a_secret_is_not_a_link_and_not_a_folder() {
        let (folder, path) = secret("1234", 0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let error = read_secret(&link).unwrap_err().to_string();
        assert!(error.contains("symbolic link, to") && error.contains(path.to_str().unwrap()), "{error}");
        assert!(read_secret(folder.path()).is_err());
    }

    /// The daemon's user owns the state folder, and may put links there; a command of root writes there.
    #[test]
    fn a_link_in_the_folder_is_replaced_and_never_written_through() {
        use std::os::unix::fs::symlink;
        let (folder, victim) = secret("of another", 0o644);
        let state = folder.path().join("state");
        Folder::make(&state).unwrap();
        for name in ["stops.json", "stops.partial", "stops.json.partial"] {
            symlink(&victim, state.join(name)).unwrap();
        }
        replace(&state.join("stops.json"), b"{}").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"of another");
        let written = std::fs::symlink_metadata(state.join("stops.json")).unwrap();
        assert!(written.is_file() && written.mode() & 0o777 == 0o600);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 3, "nothing half written stays");

        symlink(&victim, state.join("mark")).unwrap();
        assert!(read_state(&state.join("mark")).is_err(), "nor is it read through");
        assert_eq!(read_state(&state.join("stops.json")).unwrap().as_deref(), Some(&b"{}"[..]));
        assert_eq!(read_state(&state.join("none")).unwrap(), None);
        remove(&state.join("mark")).unwrap();
        remove(&state.join("mark")).unwrap();
        assert!(victim.exists());

        symlink(&victim, state.join("chain.pem.partial")).unwrap();
        write_whole(&state.join("chain.pem"), b"chain", 0o644).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"of another");
    }

    #[test]
    fn what_a_dead_process_left_half_written_is_removed_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (name, time) in [(".a.0123.partial", Some(old)), (".b.0123.partial", None), ("c.partial", Some(old))] {
            let file = File::create(folder.path().join(name)).unwrap();
            time.into_iter().for_each(|time| file.set_modified(time).unwrap());
        }
        sweep(folder.path()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, [".b.0123.partial", "c.partial"]);
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
