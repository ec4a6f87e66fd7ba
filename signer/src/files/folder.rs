//! A folder that is held open while files in it are made, replaced and removed. A path is resolved once: a user who may rename a folder
//! above, or put a link in its place, cannot lead a later step of the same write elsewhere.
//!
//! A command that runs as root works in folders of the daemon's user. It follows no symbolic link of another user, neither in the
//! path nor in the folder.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat, readlinkat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, linkat, unlinkat},
};

/// The user whose links a command of root follows.
const ROOT: u32 = 0;
/// Links that one path may lead through, as in the kernel.
const LINKS_MAX: usize = 40;
/// Folders that were just made are for their owner alone.
const FOLDER_MODE: Mode = Mode::S_IRWXU;

/// A folder, open.
#[derive(Debug)]
pub(crate) struct Folder {
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it is not there or is no folder. For root: when the path leads through a symbolic link of another user.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = if geteuid().is_root() {
            walk(path, ROOT)?
        } else {
            File::options().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(path)?
        };
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens a folder, and makes it first where it is missing, with mode 0700. Root gives what it makes to the owner of the folder above.
    ///
    /// # Errors
    /// As [`Self::open`]; when it cannot be made.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let above = Self::make(super::folder_of(path))?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        match mkdirat(&above.file, name, FOLDER_MODE) {
            Ok(()) => {
                let file = openat(
                    &above.file,
                    name,
                    OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                    Mode::empty(),
                )?;
                let folder = Self { file: file.into(), path: path.to_owned() };
                above.give_to_owner(&folder.file)?;
                above.sync()?;
                Ok(folder)
            }
            // Another process was faster.
            Err(Errno::EEXIST) => Self::open(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Where it was found, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open folder, to lock it.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Creates a file that is not there, to be written. Never follows a link.
    pub(crate) fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.file, name, flags, Mode::from_bits_truncate(mode))?.into())
    }

    /// Opens a file to be read. Fails for a link, and waits for no writer.
    pub(crate) fn read(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        Ok(openat(&self.file, name, flags, Mode::empty())?.into())
    }

    /// Renames a file of the folder, in the place of another or of a link.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.file, from, &self.file, to)?)
    }

    /// Gives a file of the folder a second name, which is not there yet.
    pub(crate) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(linkat(&self.file, from, &self.file, to, AtFlags::empty())?)
    }

    /// Removes a file or a link.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.file, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Makes what was created, renamed and removed survive a crash.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives a file to the owner of the regular file of this name, or else to the folder's. Does nothing unless root runs this.
    pub(crate) fn give(&self, file: &File, like: &OsStr) -> io::Result<()> {
        match fstatat(&self.file, like, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) if is(&stat, SFlag::S_IFREG) => give(file, stat.st_uid, stat.st_gid),
            _ => self.give_to_owner(file),
        }
    }

    fn give_to_owner(&self, file: &File) -> io::Result<()> {
        let owner = self.file.metadata()?;
        give(file, owner.uid(), owner.gid())
    }
}

/// Only root can give files away: an operator's command must not lock the daemon out.
fn give(file: &File, owner: u32, group: u32) -> io::Result<()> {
    if geteuid().is_root() {
        fchown(file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

/// Opens a folder, component by component. Follows the symbolic links of the trusted user alone.
fn walk(path: &Path, trusted: u32) -> io::Result<File> {
    let mut left: VecDeque<OsString> = names_of(&std::path::absolute(path)?).into();
    let (mut here, mut links) = (top()?, 0_usize);
    while let Some(name) = left.pop_front() {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let next = openat(&here, name.as_os_str(), flags, Mode::empty())?;
        let stat = fstat(&next)?;
        if !is(&stat, SFlag::S_IFLNK) {
            here = next;
            continue;
        }
        if stat.st_uid != trusted {
            let link = Path::new(&name).display();
            return Err(io::Error::other(format!(
                "the path leads through the symbolic link {link} of user {}, which a command of root does not follow: name the folder \
                 itself, or run the command as that user",
                stat.st_uid
            )));
        }
        links = links.saturating_add(1);
        if links > LINKS_MAX {
            return Err(Errno::ELOOP.into());
        }
        // Of the link that was looked at, whatever stands in its place by now.
        let target = PathBuf::from(readlinkat(&next, "")?);
        if target.is_absolute() {
            here = top()?;
        }
        names_of(&target).into_iter().rev().for_each(|name| left.push_front(name));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(&here, ".", flags, Mode::empty())?.into())
}

fn top() -> io::Result<OwnedFd> {
    Ok(open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn names_of(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    names.collect()
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == kind
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn root_follows_the_links_of_root_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let base = temporary.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real/state")).unwrap();
        std::fs::write(base.join("real/state/file"), "here").unwrap();
        symlink("real", base.join("relative")).unwrap();
        symlink(base.join("real"), base.join("absolute")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        let us = geteuid().as_raw();
        for way in ["real/state", "relative/state", "absolute/state", "real/../absolute/./state"] {
            let file = walk(&base.join(way), us).unwrap();
            assert!(file.metadata().unwrap().is_dir(), "{way}");
            assert_eq!(
                file.metadata().unwrap().ino(),
                std::fs::metadata(base.join("real/state")).unwrap().ino(),
                "{way}"
            );
        }
        for way in ["relative/state", "absolute/state", "relative"] {
            let error = walk(&base.join(way), us + 1).unwrap_err().to_string();
            assert!(error.contains("symbolic link") && error.contains(&format!("user {us}")), "{way}: {error}");
        }
        assert!(walk(&base.join("real/state"), us + 1).is_ok(), "no link is in the way");
        assert_eq!(walk(&base.join("loop"), us).unwrap_err().raw_os_error(), Some(Errno::ELOOP as i32));
        assert_eq!(walk(&base.join("missing"), us).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(walk(&base.join("real/state/file"), us).is_err(), "no folder");
    }

    #[test]
    fn a_folder_whose_path_is_taken_by_another_stays_the_one_that_was_opened() {
        let temporary = tempfile::tempdir().unwrap();
        let [state, moved, other] = ["state", "moved", "other"].map(|name| temporary.path().join(name));
        std::fs::create_dir(&state).unwrap();
        std::fs::create_dir(&other).unwrap();
        let folder = Folder::open(&state).unwrap();
        std::fs::rename(&state, &moved).unwrap();
        symlink(&other, &state).unwrap();
        folder.create("new".as_ref(), 0o600).unwrap();
        assert!(moved.join("new").exists() && !other.join("new").exists());
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b");
        Folder::make(&path).unwrap();
        Folder::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        std::fs::write(temporary.path().join("file"), "").unwrap();
        assert!(Folder::make(&temporary.path().join("file")).is_err());
    }
}
