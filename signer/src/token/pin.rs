//! PINs, and the mark that keeps a wrong one from being tried twice. Tokens lock or wipe themselves after three tries, and a
//! service manager that restarts a daemon makes three tries in three seconds.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cryptoki::{slot::TokenInfo, types::AuthPin};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::base64url::Base64Url;

use crate::{files, random};

/// Texts that a module takes for something else than a PIN: ykcs11 skips the login on them.
const NO_LOGIN: [&str; 2] = ["VERIFY_NONE", "VERIFY_BIO"];

/// Why a text is not a PIN. Each of these would cost a try of the token, or mean something else to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAPin {
    /// Some modules ask for a fingerprint then.
    #[error("it is empty")]
    Empty,
    /// ykcs11 skips the login.
    #[error("modules take this word for \"no login\"")]
    NoLogin,
    /// What an editor wrote, or two PINs.
    #[error(
        "it has a line break that is not the one at its end, which alone is left out: write the PIN alone, with printf '%s'"
    )]
    LineBreak,
    /// What an editor of another system wrote.
    #[error("it begins with a byte order mark (BOM), which would be a part of it: save it without one")]
    ByteOrderMark,
    /// Cannot be seen.
    #[error("it begins or ends with a blank, which would be a part of it")]
    Blank,
    /// Neither can this.
    #[error("it has a control character in it")]
    Control,
}

/// How long the PINs of a token are, in bytes, as the token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinLengths {
    least: usize,
    most: usize,
}

/// Why a PIN is not tried, although nothing is known against it. No try of the token is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTried {
    /// The token would refuse it for its length; some count that as a wrong one.
    #[error("the PIN has {length} bytes, and the token says that its PINs have {} to {}", lengths.least, lengths.most)]
    Length {
        /// The PIN's.
        length: usize,
        /// The token's.
        lengths: PinLengths,
    },
    /// Too many were wrong.
    #[error("the token is locked after too many wrong PINs: unlock it with its PUK or SO-PIN and the maker's tool")]
    Locked,
    /// This one would have to be right.
    #[error(
        "one try is left before the token locks itself, and it is not spent here: log in once by hand with the right PIN \
         (`pkcs11-tool --login --list-objects`, `ykman piv access verify-pin`), which gives all tries back"
    )]
    OneTryLeft,
}

/// Reads a PIN from its file; see [`files::read_secret`] for what that file must be.
pub(crate) fn read(path: &Path) -> anyhow::Result<AuthPin> {
    let text = files::read_secret(path)?;
    parse(&text).with_context(|| format!("{}: this is not a PIN", path.display()))
}

/// A PIN, if the text is one.
pub(crate) fn parse(text: &str) -> Result<AuthPin, NotAPin> {
    let flaws = [
        (text.is_empty(), NotAPin::Empty),
        (NO_LOGIN.contains(&text), NotAPin::NoLogin),
        (text.starts_with('\u{feff}'), NotAPin::ByteOrderMark),
        (text.contains(['\n', '\r', '\u{2028}', '\u{2029}']), NotAPin::LineBreak),
        (text.trim() != text, NotAPin::Blank),
        (text.contains(char::is_control), NotAPin::Control),
    ];
    let flaw = flaws.into_iter().find(|(holds, _)| *holds);
    flaw.map_or_else(|| Ok(AuthPin::from(text)), |(_, flaw)| Err(flaw))
}

/// Whether a token may be given this PIN, by what it says of itself without a login.
///
/// # Errors
/// When the try would be lost, or be the last.
pub(crate) fn may_try(info: &TokenInfo, pin: &AuthPin) -> Result<(), NotTried> {
    judge(info.user_pin_locked(), info.user_pin_final_try(), PinLengths::of(info), pin)
}

fn judge(locked: bool, one_left: bool, lengths: Option<PinLengths>, pin: &AuthPin) -> Result<(), NotTried> {
    match (locked, one_left) {
        (true, _) => Err(NotTried::Locked),
        (false, true) => Err(NotTried::OneTryLeft),
        (false, false) => lengths.map_or(Ok(()), |lengths| lengths.admit(pin)),
    }
}

impl PinLengths {
    /// Those of a token; nothing for one that does not say.
    pub(crate) fn of(info: &TokenInfo) -> Option<Self> {
        let (least, most) = (info.min_pin_length(), info.max_pin_length());
        (most > 0 && least <= most).then_some(Self { least, most })
    }

    /// Compares a PIN.
    ///
    /// # Errors
    /// [`NotTried::Length`].
    pub(crate) fn admit(self, pin: &AuthPin) -> Result<(), NotTried> {
        let length = pin.expose_secret().len();
        if (self.least..=self.most).contains(&length) {
            Ok(())
        } else {
            Err(NotTried::Length { length, lengths: self })
        }
    }
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
        matches!(files::read_state(&self.accepted), Ok(Some(accepted)) if accepted == file.0.as_bytes())
    }

    /// Notes that the token has accepted the PIN of this file.
    pub(crate) fn accept(&self, file: &PinFile) -> anyhow::Result<()> {
        files::remove(&self.rejected)?;
        files::replace(&self.accepted, file.0.as_bytes())
    }

    /// What the mark says about `pin`. A mark that cannot be read counts against every PIN.
    pub(crate) fn about(&self, pin: &AuthPin) -> Marked {
        let text = match files::read_state(&self.rejected) {
            Ok(Some(text)) => text,
            Ok(None) => return Marked::Nothing,
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
        files::remove(&self.accepted)
    }

    /// Takes back [`Self::reject`], when the token could not say anything about the PIN.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        files::remove(&self.rejected)
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

    /// Each of them was once a try of a token that has three.
    #[test]
    fn a_file_that_is_suspicious_is_refused_before_a_try_is_spent() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            read(&path)
        };
        let table = [
            ("", NotAPin::Empty),
            ("\n", NotAPin::Empty),
            ("VERIFY_NONE", NotAPin::NoLogin),
            ("VERIFY_BIO\n", NotAPin::NoLogin),
            ("123456\n\n", NotAPin::LineBreak),
            ("123456\r", NotAPin::LineBreak),
            ("123456\r\n\r\n", NotAPin::LineBreak),
            ("123456\n654321\n", NotAPin::LineBreak),
            ("\u{feff}123456\n", NotAPin::ByteOrderMark),
            ("123456 \n", NotAPin::Blank),
            ("\t123456", NotAPin::Blank),
            ("123456\u{a0}\n", NotAPin::Blank),
            ("123\u{0}456", NotAPin::Control),
        ];
        for (content, flaw) in table {
            let error = format!("{:#}", read(content).unwrap_err());
            assert!(error.ends_with(&format!("this is not a PIN: {flaw}")), "{content:?}: {error}");
            assert!(!error.contains("123"), "{error}");
        }
        for content in ["123456", "123456\n", "123456\r\n", "two words", "Grüße"] {
            assert_eq!(read(content).unwrap().expose_secret(), content.trim_end(), "{content:?}");
        }
    }

    #[test]
    fn a_locked_token_and_one_with_one_try_left_are_left_alone_and_told_apart() {
        for (one_left, locked, not_tried) in
            [(true, false, NotTried::OneTryLeft), (true, true, NotTried::Locked), (false, true, NotTried::Locked)]
        {
            assert_eq!(judge(locked, one_left, None, &pin("123456")), Err(not_tried));
        }
        assert!(NotTried::OneTryLeft.to_string().contains("log in once by hand"));
        assert!(NotTried::Locked.to_string().contains("PUK"));
    }

    #[test]
    fn a_pin_of_another_length_than_the_tokens_is_not_tried() {
        let lengths = PinLengths { least: 6, most: 8 };
        assert_eq!(lengths.admit(&pin("12345")), Err(NotTried::Length { length: 5, lengths }));
        assert!(lengths.admit(&pin("123456")).is_ok() && lengths.admit(&pin("12345678")).is_ok());
        let error = lengths.admit(&pin("123456789")).unwrap_err().to_string();
        assert_eq!(judge(false, false, Some(lengths), &pin("1")), Err(NotTried::Length { length: 1, lengths }));
        assert_eq!(judge(false, false, None, &pin("1")), Ok(()));
        assert!(error.contains("9 bytes") && error.contains("6 to 8") && !error.contains("1234"), "{error}");
    }
}
