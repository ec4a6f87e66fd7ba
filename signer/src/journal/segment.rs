//! The files of a journal: segments, numbered from 0 without a gap, of which only the last is added to.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::file::Unreadable;
use crate::files;

/// What comes behind a segment's number in its name.
const SUFFIX: &str = ".jsonl";

/// Digits of a segment's number in its name.
const DIGITS: usize = 8;

/// The folder of a journal.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("journal")
}

/// The file of a segment.
pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(name(number))
}

/// The name of a segment's file.
pub(crate) fn name(number: u32) -> String {
    format!("{number:0DIGITS$}{SUFFIX}")
}

/// How many segments there are.
///
/// # Errors
/// [`Unreadable::Missing`] names the first that is not there although a later one is, [`Unreadable::Foreign`] a file that is no
/// segment's; when the folder cannot be read.
pub(crate) fn count(folder: &Path) -> Result<u32, Unreadable> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.file_name();
        let number = file.to_str().and_then(number);
        numbers.push(number.ok_or_else(|| Unreadable::Foreign(file.to_string_lossy().into_owned()))?);
    }
    numbers.sort_unstable();
    for (expected, number) in (0..).zip(&numbers) {
        if *number != expected {
            return Err(Unreadable::Missing(name(expected)));
        }
    }
    u32::try_from(numbers.len()).map_err(|_| Unreadable::Foreign(String::from("more segments than there are numbers")))
}

/// Opens a segment to be read.
pub(crate) fn open(folder: &Path, number: u32) -> std::io::Result<File> {
    File::open(path(folder, number))
}

/// Opens the last segment to be added to.
pub(crate) fn open_last(folder: &Path, number: u32) -> std::io::Result<File> {
    OpenOptions::new().append(true).open(path(folder, number))
}

/// Makes a segment that is not there, to be added to. Its name survives a crash before this returns.
///
/// # Errors
/// When there is one, and when the folder cannot be written.
pub(crate) fn create(folder: &Path, number: u32) -> anyhow::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let path = path(folder, number);
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot make {}", path.display()))?;
    files::sync_folder_of(&path)?;
    Ok(file)
}

fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_number = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_a_foreign_segment_are_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(count(folder.path()).unwrap(), 0);
        for number in [0, 1, 2] {
            create(folder.path(), number).unwrap();
        }
        assert!(create(folder.path(), 2).is_err(), "none is made anew");
        assert_eq!(count(folder.path()).unwrap(), 3);
        std::fs::remove_file(path(folder.path(), 1)).unwrap();
        assert_eq!(count(folder.path()).unwrap_err().to_string(), "the journal's segment 00000001.jsonl is missing");
        for foreign in ["00000001.jsonl.gz", "1.jsonl", "+0000001.jsonl"] {
            std::fs::write(folder.path().join(foreign), "").unwrap();
            assert!(count(folder.path()).unwrap_err().to_string().contains(foreign));
            std::fs::remove_file(folder.path().join(foreign)).unwrap();
        }
    }
}
