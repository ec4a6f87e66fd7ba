//! The text files of this tree, for tests of its tidiness.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold what was made, not what was written.
const MADE: [&str; 3] = ["target", "node_modules", "build"];

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Below the workspace's folder, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The workspace's folder.
///
/// # Panics
/// When this crate is not in it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member is below the workspace").to_path_buf()
}

/// All text files below a folder of the workspace (`""` for all), sorted.
///
/// # Panics
/// When a folder cannot be read.
#[must_use]
pub fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort_by(|a: &Source, b: &Source| a.path.cmp(&b.path));
    found
}

/// The file at this path.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // `.ci` and `.cargo` are ours; other hidden folders are somebody's tools. `.git` is a file in a second working tree.
        let hidden = name.starts_with('.') && path.is_dir() && !matches!(name, ".ci" | ".cargo");
        let foreign = hidden || name == ".git";
        if foreign || (path.is_dir() && MADE.contains(&name)) {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let below = path.strip_prefix(root()).expect("it is below the workspace");
            found.push(Source { path: below.to_string_lossy().into_owned(), text });
        }
    }
}
