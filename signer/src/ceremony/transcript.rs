//! Transcripts: what a ceremony was asked, with what it worked, which lints passed and what it made, one JSON object a line. Written while
//! it happens into a new file; never a secret, never over another transcript.

use std::path::{Path, PathBuf};

use anyhow::Context;
use p256::ecdsa::VerifyingKey;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::timestamp::Timestamp;

use super::{PUBLIC_MODE, fingerprint, hex, made::Made};
use crate::{clock, files::NewFile, token::pkcs11::Module};

/// A transcript that is being written. One of a ceremony that failed before a key was made or used is removed.
#[derive(Debug)]
pub(crate) struct Transcript {
    path: PathBuf,
    file: Option<NewFile>,
    hash: Sha256,
    touched: bool,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    #[serde(flatten)]
    event: Event<'a>,
}

/// What can be said in one.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    /// The first line: what was asked of which program.
    Asked { verb: &'a str, version: &'a str, program_sha256: Option<String>, what: serde_json::Value },
    /// A PKCS#11 module that was loaded.
    Module { file: &'a Path, sha256: String, manufacturer: &'a str, description: &'a str, version: String },
    /// A token that is worked with.
    Token { label: &'a str, serial: &'a str, manufacturer: &'a str, model: &'a str },
    /// A file that was read.
    Read { file: &'a Path, sha256: String },
    /// The key that signs, or was made; SHA-256 of its SubjectPublicKeyInfo.
    Key { public_key_sha256: String },
    /// A rule that what is to be signed keeps.
    Linted { what: &'a str, rule: &'a str },
    /// What the key has signed, verified; SHA-256 of the DER.
    Signed { what: &'a str, sha256: String },
    /// A file that was made.
    Wrote { file: &'a Path, sha256: String },
    /// A file with a secret that was made; nothing is said about what is in it.
    WroteSecret { file: &'a Path },
    /// The last line of a ceremony that failed after a key was made or used.
    Failed { reason: String },
    /// The last line of one that did not: what was made, and SHA-256 of all lines above.
    Finished { made: serde_json::Value, above_sha256: String },
}

/// Runs a ceremony with its transcript.
pub(crate) fn with<T: Serialize>(
    verb: &str,
    asked: &T,
    path: &Path,
    ceremony: impl FnOnce(&mut Transcript) -> anyhow::Result<Made>,
) -> anyhow::Result<Made> {
    let mut transcript = Transcript::open(verb, asked, path)?;
    let result = ceremony(&mut transcript);
    transcript.close(result)
}

/// Where the transcript of a ceremony goes that makes `out`, unless it is said: beside it, with `.transcript` at its end.
pub(crate) fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".transcript");
    name.into()
}

impl Transcript {
    fn open<T: Serialize>(verb: &str, asked: &T, path: &Path) -> anyhow::Result<Self> {
        let file = Some(NewFile::create(path, PUBLIC_MODE).context("the transcript")?);
        let mut transcript = Self { path: path.to_owned(), file, hash: Sha256::new(), touched: false };
        let program = std::fs::read("/proc/self/exe").ok().map(|bytes| hex(&Sha256::digest(bytes)));
        transcript.note(Event::Asked {
            verb,
            version: env!("CARGO_PKG_VERSION"),
            program_sha256: program,
            what: serde_json::to_value(asked)?,
        })?;
        Ok(transcript)
    }

    /// A transcript of nothing, for tests.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { path: PathBuf::new(), file: None, hash: Sha256::new(), touched: false }
    }

    /// From here on a key was made or used: the transcript stays, whatever comes.
    pub(crate) const fn touched(&mut self) {
        self.touched = true;
    }

    /// A module, and the program text behind it.
    pub(crate) fn module(&mut self, file: &Path, module: &Module) -> anyhow::Result<()> {
        let library = module.library()?;
        let version = library.library_version();
        let sha256 = hash_of(file)?;
        self.note(Event::Module {
            file,
            sha256,
            manufacturer: library.manufacturer_id(),
            description: library.library_description(),
            version: format!("{}.{}", version.major(), version.minor()),
        })
    }

    /// The token with this label.
    pub(crate) fn token(&mut self, module: &Module, label: &str) -> anyhow::Result<()> {
        let slot = module.token(label)?;
        let tokens = module.tokens()?;
        let (_, info) = tokens.iter().find(|(other, _)| *other == slot).context("the token has gone")?;
        self.note(Event::Token {
            label: info.label(),
            serial: info.serial_number(),
            manufacturer: info.manufacturer_id(),
            model: info.model(),
        })
    }

    /// Notes a file that is read elsewhere.
    pub(crate) fn read(&mut self, file: &Path) -> anyhow::Result<()> {
        let sha256 = hash_of(file)?;
        self.note(Event::Read { file, sha256 })
    }

    /// Reads a text file and notes it.
    pub(crate) fn read_text(&mut self, file: &Path) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.note(Event::Read { file, sha256: hex(&Sha256::digest(&text)) })?;
        Ok(text)
    }

    /// The key that the ceremony is about.
    pub(crate) fn key(&mut self, key: &VerifyingKey) -> anyhow::Result<()> {
        let public_key_sha256 = fingerprint(key)?;
        self.note(Event::Key { public_key_sha256 })
    }

    /// A rule that holds.
    pub(crate) fn linted(&mut self, what: &str, rule: &str) -> anyhow::Result<()> {
        self.note(Event::Linted { what, rule })
    }

    /// A signature that was made over what was linted.
    pub(crate) fn signed(&mut self, what: &str, der: &[u8]) -> anyhow::Result<()> {
        self.note(Event::Signed { what, sha256: hex(&Sha256::digest(der)) })
    }

    /// A file that was made.
    pub(crate) fn wrote(&mut self, file: &Path, content: &[u8]) -> anyhow::Result<()> {
        self.note(Event::Wrote { file, sha256: hex(&Sha256::digest(content)) })
    }

    /// A secret that was made.
    pub(crate) fn wrote_secret(&mut self, file: &Path) -> anyhow::Result<()> {
        self.note(Event::WroteSecret { file })
    }

    fn close(mut self, result: anyhow::Result<Made>) -> anyhow::Result<Made> {
        match result {
            Ok(mut made) => {
                let above_sha256 = hex(&self.hash.clone().finalize());
                self.note(Event::Finished { made: serde_json::to_value(&made)?, above_sha256 })?;
                made.transcript = Some(self.keep()?);
                Ok(made)
            }
            Err(error) if self.touched => {
                self.note(Event::Failed { reason: format!("{error:#}") })?;
                let path = self.keep()?;
                Err(error.context(format!("the ceremony failed; what was done stands in {}", path.display())))
            }
            Err(error) => Err(error),
        }
    }

    fn keep(self) -> anyhow::Result<PathBuf> {
        if let Some(file) = self.file {
            file.commit(b"")?;
        }
        Ok(self.path)
    }

    fn note(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(&Line { time: clock::now(), event })?;
        line.push(b'\n');
        self.hash.update(&line);
        self.file.as_mut().map_or(Ok(()), |file| file.append(&line)).context("the transcript")
    }
}

fn hash_of(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceremony(path: &Path, touch: bool, succeed: bool) -> anyhow::Result<Made> {
        with("test", &serde_json::json!({"days": 1}), path, |transcript| {
            transcript.linted("thing", "a rule")?;
            if touch {
                transcript.touched();
            }
            anyhow::ensure!(succeed, "a reason");
            Ok(Made::new("thing", "a thing".into()))
        })
    }

    #[test]
    fn a_transcript_ends_with_the_hash_of_what_is_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.transcript");
        assert_eq!(ceremony(&path, false, true).unwrap().transcript.as_ref(), Some(&path));
        let text = std::fs::read_to_string(&path).unwrap();
        let (above, last) = text.trim_end().rsplit_once('\n').unwrap();
        let last: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(last["event"], "finished");
        assert_eq!(last["above_sha256"], hex(&Sha256::digest(format!("{above}\n"))));
        assert!(ceremony(&path, true, true).is_err(), "a transcript was overwritten");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_failure_leaves_a_transcript_only_when_a_key_was_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.transcript");
        ceremony(&path, false, false).unwrap_err();
        assert!(!path.exists());
        let error = format!("{:#}", ceremony(&path, true, false).unwrap_err());
        assert!(error.contains("a.transcript") && error.ends_with("a reason"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#""event":"failed","reason":"a reason""#));
    }
}
