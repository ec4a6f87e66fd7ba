//! PINs, and the mark that keeps a wrong one from being tried twice. Tokens lock or wipe themselves after three tries, and a
//! service manager that restarts a daemon makes three tries in three seconds.

use std::{
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::base64url::Base64Url;

use crate::{files, random};

/// Texts that a module takes for something else than a PIN: ykcs11 skips the login on them.
const NOT_PINS: [&str; 3] = ["", "VERIFY_NONE", "VERIFY_BIO"];

/// Reads a PIN from its file; see [`files::read_secret`] for what that file must be.
pub(crate) fn read(path: &Path) -> anyhow::Result<AuthPin> {
    let text = files::read_secret(path)?;
    parse(&text).with_context(|| format!("{}: this is not a PIN", path.display()))
}

/// A PIN, if the text is one.
pub(crate) fn parse(text: &str) -> Option<AuthPin> {
    (!NOT_PINS.contains(&text)).then(|| AuthPin::from(text))
}

/// What is known about the PIN of one token, in two files of the state folder.
///
/// `pin-rejected-…` stands from before the first login with a PIN until the token has accepted it, so that a crash in between
/// errs on the side of not trying again. `pin-accepted-…` names the PIN file (not the PIN) that the token has accepted:
/// with it, a crash in the middle of a later login costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct PinMark {
    rejected: PathBuf,
    accepted: PathBuf,
}

/// Which version of a PIN file was read: device, inode, size and time of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PinFile(String);

/// What a mark says about a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// There is no mark: nothing is known against the PIN.
    Nothing,
    /// Another PIN was rejected, and an operator has changed it since.
    AnotherPin,
    /// This very PIN was rejected.
    ThisPin,
}

/// SHA-256 over salt and PIN. Enough to recognise a rejected PIN; the file is as private as the PIN file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkFile {
    salt: Base64Url,
    digest: Base64Url,
}

impl PinFile {
    /// The version that is there now.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (device, inode, size) = (file.dev(), file.ino(), file.len());
        Ok(Self(format!("{device} {inode} {size} {} {}\n", file.ctime(), file.ctime_nsec())))
    }
}

impl PinMark {
    /// The marks of one token, which may not exist. `name` is unique in the state folder.
    pub(crate) fn new(state: &Path, name: &str) -> Self {
        Self {
            rejected: state.join(format!("pin-rejected-{name}")),
            accepted: state.join(format!("pin-accepted-{name}")),
        }
    }

    /// True when the token has accepted the PIN of this very file.
    pub(crate) fn has_accepted(&self, file: &PinFile) -> bool {
        std::fs::read_to_string(&self.accepted).is_ok_and(|accepted| accepted == file.0)
    }

    /// Notes that the token has accepted the PIN of this file.
    pub(crate) fn accept(&self, file: &PinFile) -> anyhow::Result<()> {
        remove(&self.rejected)?;
        files::replace(&self.accepted, file.0.as_bytes())
    }

    /// What the mark says about `pin`. A mark that cannot be read counts against every PIN.
    pub(crate) fn about(&self, pin: &AuthPin) -> Marked {
        let text = match std::fs::read(&self.rejected) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Marked::Nothing,
            Err(_) => return Marked::ThisPin,
        };
        match serde_json::from_slice::<MarkFile>(&text) {
            Ok(mark) if mark.digest.0 != digest(&mark.salt.0, pin) => Marked::AnotherPin,
            _ => Marked::ThisPin,
        }
    }

    /// Notes that the PIN counts as rejected, through to the disk: before it is tried, or when it was.
    pub(crate) fn reject(&self, pin: &AuthPin) -> anyhow::Result<()> {
        let salt = random::bytes::<16>()?;
        let mark = MarkFile { digest: Base64Url(digest(&salt, pin)), salt: Base64Url(salt.to_vec()) };
        files::replace(&self.rejected, &serde_json::to_vec(&mark)?)?;
        remove(&self.accepted)
    }

    /// Takes back [`Self::reject`], when the token could not say anything about the PIN.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        remove(&self.rejected)
    }
}

/// Removes a file that may not be there, through to the disk.
fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => files::sync_folder_of(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn digest(salt: &[u8], pin: &AuthPin) -> Vec<u8> {
    Sha256::new().chain_update(salt).chain_update(pin.expose_secret()).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> AuthPin {
        AuthPin::from(text)
    }

    #[test]
    fn a_mark_stands_against_its_pin_alone_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let mark = PinMark::new(folder.path(), "a1-0");
        assert_eq!(mark.about(&pin("1234")), Marked::Nothing);
        mark.reject(&pin("1234")).unwrap();
        assert_eq!(mark.about(&pin("1234")), Marked::ThisPin);
        assert_eq!(mark.about(&pin("12345")), Marked::AnotherPin);
        mark.clear().unwrap();
        mark.clear().unwrap();
        assert_eq!(mark.about(&pin("1234")), Marked::Nothing);
    }

    #[test]
    fn a_broken_mark_counts_against_every_pin() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pin-rejected-a1-0"), b"{").unwrap();
        assert_eq!(PinMark::new(folder.path(), "a1-0").about(&pin("1234")), Marked::ThisPin);
    }

    #[test]
    fn acceptance_is_of_one_version_of_the_pin_file_and_ends_with_a_rejection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234").unwrap();
        let mark = PinMark::new(folder.path(), "a1-0");
        let file = PinFile::of(&path).unwrap();
        mark.accept(&file).unwrap();
        assert!(mark.has_accepted(&file));
        std::fs::write(&path, "12345").unwrap();
        assert!(!mark.has_accepted(&PinFile::of(&path).unwrap()));
        mark.reject(&pin("12345")).unwrap();
        assert!(!mark.has_accepted(&file));
    }

    #[test]
    fn texts_that_a_module_takes_for_no_login_are_not_pins() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        for text in ["", "\n", "VERIFY_NONE", "VERIFY_BIO\n"] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(read(&path).unwrap_err().to_string().ends_with("this is not a PIN"));
        }
    }
}
