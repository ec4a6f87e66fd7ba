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

    /// Takes the space.
    ///
    /// # Errors
    /// When there is not so much; then nothing is taken.
    pub(super) fn take(&self) -> std::io::Result<()> {
        let file = self.open()?;
        let length = i64::try_from(self.bytes).unwrap_or(i64::MAX);
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
