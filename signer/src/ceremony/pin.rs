//! Where a command has the PIN of a token from: a credential of the service manager, or else a file, or else whoever sits at the
//! terminal. Never the command line, nor a variable of the environment. The daemon and its workers know files and nobody to ask.

mod silent;

use std::{
    io::{IsTerminal, stderr, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use cryptoki::types::AuthPin;
use secrecy::ExposeSecret;

use crate::token::pin;

/// Where the service manager puts credentials (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why there is no PIN.
#[derive(Debug, thiserror::Error)]
enum NoPin {
    /// Nothing has it, and nobody can be asked.
    #[error(
        "the {whose} is missing: name a file with {option}, let the service manager give the credential {credential:?}, or run this \
         on a terminal"
    )]
    Nowhere {
        /// Whose PIN.
        whose: String,
        /// The command line's option.
        option: &'static str,
        /// The credential's name.
        credential: String,
    },
    /// It was typed differently the second time.
    #[error("these are two PINs")]
    Two,
}

/// The user's PIN of a token.
///
/// # Errors
/// [`NoPin`]; what is wrong with the credential or with the file.
pub(super) fn user(token: &str, file: Option<&Path>) -> anyhow::Result<AuthPin> {
    Wanted::user(token).find(file, false)
}

/// A user's PIN that a token is to have: whoever is asked types it twice.
///
/// # Errors
/// As [`user`].
pub(super) fn new_user(token: &str, file: Option<&Path>) -> anyhow::Result<AuthPin> {
    Wanted::user(token).find(file, true)
}

/// A security officer's PIN that a token is to have, likewise.
///
/// # Errors
/// As [`user`].
pub(super) fn new_officer(token: &str, file: Option<&Path>) -> anyhow::Result<AuthPin> {
    let whose = format!("security officer's PIN of the token {token:?}");
    Wanted { whose, option: "--so-pin-file", credential: format!("{token}-so-pin") }.find(file, true)
}

/// A PIN and its names.
struct Wanted {
    whose: String,
    option: &'static str,
    credential: String,
}

impl Wanted {
    fn user(token: &str) -> Self {
        let whose = format!("PIN of the token {token:?}");
        Self { whose, option: "--pin-file", credential: format!("{token}-pin") }
    }

    fn find(self, file: Option<&Path>, new: bool) -> anyhow::Result<AuthPin> {
        match self.given().as_deref().or(file) {
            Some(file) => pin::read(file),
            None if stdin().is_terminal() && stderr().is_terminal() => self.ask(new),
            None => Err(NoPin::Nowhere { whose: self.whose, option: self.option, credential: self.credential }.into()),
        }
    }

    /// The credential, if there is one. A label with a slash in it names none.
    fn given(&self) -> Option<PathBuf> {
        let folder = std::env::var_os(CREDENTIALS).filter(|_| !self.credential.contains('/'))?;
        Some(Path::new(&folder).join(&self.credential)).filter(|path| path.exists())
    }

    /// Asks on the terminal, without echo.
    fn ask(&self, new: bool) -> anyhow::Result<AuthPin> {
        let first = typed(&self.whose)?;
        if new {
            let again = typed(&format!("{}, again", self.whose))?;
            ensure!(first.expose_secret() == again.expose_secret(), NoPin::Two);
        }
        Ok(first)
    }
}

fn typed(whose: &str) -> anyhow::Result<AuthPin> {
    let line = silent::ask(&format!("{whose}: ")).context("the terminal cannot be asked")?;
    let text = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix('\n'));
    let text = text.context("the answer is not one line of text in UTF-8")?;
    pin::parse(text).context("this is not a PIN")
}
