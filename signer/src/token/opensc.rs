//! A configuration of OpenSC for one worker. Its module looks at every reader when it is loaded, and waits for one that hangs: a worker
//! that is told to ignore the readers of the others starts whatever those do.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::files::{self, Folder};

/// The variable that names OpenSC's configuration file.
pub(crate) const VARIABLE: &str = "OPENSC_CONF";

/// A file for `OPENSC_CONF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenscConf {
    path: PathBuf,
    text: String,
}

impl OpenscConf {
    /// The file of this token in the state folder, which ignores every reader whose name contains one of these texts.
    ///
    /// # Errors
    /// When a text cannot be written in OpenSC's syntax, which has no escapes, or would match every reader.
    pub(crate) fn ignoring(readers: &[String], state: &Path, token: &str) -> anyhow::Result<Self> {
        ensure!(!readers.is_empty(), "ignored_readers names at least one");
        let mut quoted = Vec::new();
        for reader in readers {
            let plain = reader.chars().all(|letter| !letter.is_control() && !matches!(letter, '"' | '\\'));
            ensure!(
                plain && !reader.trim().is_empty(),
                "ignored_readers has parts of readers' names, without quotes and backslashes, not {reader:?}"
            );
            quoted.push(format!("\"{reader}\""));
        }
        let text = format!("app default {{\n    ignored_readers = {};\n}}\n", quoted.join(", "));
        Ok(Self { path: state.join(format!("opensc-{token}.conf")), text })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it, through to the disk, for nobody else to change.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let folder = self.path.parent().context("the file has a folder")?;
        Folder::make(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        files::replace(&self.path, self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn conf(readers: &[&str], state: &Path) -> anyhow::Result<OpenscConf> {
        let readers: Vec<_> = readers.iter().map(|reader| (*reader).to_owned()).collect();
        OpenscConf::ignoring(&readers, state, "a1-0")
    }

    #[test]
    fn the_file_names_the_readers_in_openscs_syntax_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let conf = conf(&["Yubico YubiKey OTP+FIDO+CCID 01", "SPR 532"], &state).unwrap();
        conf.write().unwrap();
        conf.write().unwrap();
        let path = state.join("opensc-a1-0.conf");
        assert_eq!(conf.path(), path);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "app default {\n    ignored_readers = \"Yubico YubiKey OTP+FIDO+CCID 01\", \"SPR 532\";\n}\n"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_would_end_the_text_or_ignore_every_reader_is_an_error() {
        for readers in [&[][..], &[""], &[" "], &["a\"; debug = 9; #"], &["a\\"], &["a\nb"]] {
            assert!(conf(readers, Path::new("/")).is_err(), "{readers:?}");
        }
    }
}
