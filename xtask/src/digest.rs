//! SHA-256 of files and folders: keys of the cache, and stamps that say whether a build is still fresh.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

/// Over all these files and, recursively, folders: names and contents, in an order that does not depend on the file
/// system. What does not exist counts as absent.
pub(crate) fn of(root: &Path, places: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    for place in places {
        collect(&root.join(place), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        for part in [name.as_bytes(), &content] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Ok(hex(&hash.finalize()))
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if place.is_dir() {
        for entry in fs::read_dir(place).with_context(|| format!("reading {}", place.display()))? {
            collect(&entry?.path(), files)?;
        }
    } else if place.is_file() {
        files.push(place.to_path_buf());
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_name_or_a_byte_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        write("src/a", "1");
        let first = of(folder.path(), &["src", "absent"]).unwrap();
        assert_eq!(first, of(folder.path(), &["src"]).unwrap());
        write("src/a", "2");
        let second = of(folder.path(), &["src"]).unwrap();
        fs::rename(folder.path().join("src/a"), folder.path().join("src/b")).unwrap();
        let third = of(folder.path(), &["src"]).unwrap();
        assert!(first != second && second != third && first != third);
    }
}
