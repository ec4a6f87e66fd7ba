//! Space that is kept for the day when the disk is full: a file beside the journal that is allocated and empty of meaning. It is given up
//! when a record does not fit any more, so that revocations still do, and taken back when there is space again.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag};

/// The file in the state's folder.
const NAME: &str = "reserve";

/// The file that keeps the space.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// So many bytes in this folder, not taken yet.
    pub(super) fn new(state: &Path, bytes: u64) -> Self {
        Self { path: state.join(NAME), bytes }
    }

    /// Takes the space, unless it is taken. There must be twice as much: with what was given up alone, the next record would not fit again.
    ///
    /// # Errors
    /// When there is not so much; then nothing is taken.
    pub(super) fn take(&self) -> std::io::Result<()> {
        let file = self.open()?;
        if file.metadata()?.len() == self.bytes {
            return Ok(());
        }
        let length = i64::try_from(self.bytes.saturating_mul(2)).unwrap_or(i64::MAX);
        let taken = match nix::fcntl::posix_fallocate(&file, 0, length) {
            Ok(()) => file.set_len(self.bytes).and_then(|()| file.sync_all()),
            Err(error) => Err(error.into()),
        };
        taken.inspect_err(|_| drop(file.set_len(0)))
    }

    /// Gives the space up.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn give_up(&self) -> std::io::Result<()> {
        let file = self.open()?;
        file.set_len(0)?;
        file.sync_all()
    }

    fn open(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        options.open(&self.path)
    }
}

/// True when an error says that there is no space: on the disk, in a quota, or below the limit of a file's size.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    let full = [Errno::ENOSPC, Errno::EDQUOT, Errno::EFBIG];
    error.raw_os_error().is_some_and(|code| full.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_taken_given_up_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(folder.path(), 65_536);
        let length = || std::fs::metadata(folder.path().join(NAME)).unwrap().len();
        reserve.take().unwrap();
        reserve.take().unwrap();
        assert_eq!(length(), 65_536);
        reserve.give_up().unwrap();
        assert_eq!(length(), 0);
        reserve.take().unwrap();
        assert_eq!(length(), 65_536);
        // More than any disk has.
        let reserve = Reserve::new(folder.path(), 1 << 60);
        assert!(reserve.take().is_err());
        assert_eq!(length(), 0, "nothing is taken of what is not there");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("other"), "other").unwrap();
        std::os::unix::fs::symlink("other", folder.path().join(NAME)).unwrap();
        let reserve = Reserve::new(folder.path(), 65_536);
        assert!(reserve.take().is_err() && reserve.give_up().is_err());
        assert_eq!(std::fs::read(folder.path().join("other")).unwrap(), b"other");
    }
}
