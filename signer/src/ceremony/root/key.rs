//! The root's key: in a PKCS#11 token, or in an encrypted file on a machine without a network.

use std::path::Path;

use anyhow::{Context, ensure};
use p256::{
    SecretKey,
    ecdsa::{DerSignature, SigningKey, VerifyingKey},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use serde::{Deserialize, Serialize};
use signature::Signer;
use zeroize::Zeroizing;

use super::super::{KeyPlace, SECRET_MODE, transcript::Transcript};
use crate::{
    files::{self, NewFile},
    random,
    token::pkcs11::TokenKey,
};

/// A key in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    /// PKCS#8 in PEM, encrypted when there is a passphrase.
    pub(crate) file: std::path::PathBuf,
    /// A file with the passphrase.
    pub(crate) passphrase_file: Option<std::path::PathBuf>,
}

/// A key that signs certificates and CRLs. P-256.
#[derive(Debug)]
pub(super) enum RootKey {
    /// In this process's memory.
    File(Box<SigningKey>),
    /// In a token, logged in.
    Token(TokenKey),
}

impl RootKey {
    /// The key of a token, logged in.
    pub(super) fn of_token(place: &KeyPlace, transcript: &mut Transcript) -> anyhow::Result<Self> {
        Ok(Self::Token(place.open(transcript)?))
    }

    /// The key of a file.
    pub(super) fn of_file(place: &KeyFile) -> anyhow::Result<Self> {
        let passphrase = place.passphrase()?;
        let text = files::read_secret(&place.file)?;
        let key = match &passphrase {
            Some(passphrase) => SigningKey::from_pkcs8_encrypted_pem(&text, passphrase.as_bytes()),
            None => SigningKey::from_pkcs8_pem(&text),
        };
        let key = key.map_err(|_| {
            anyhow::anyhow!("{}: not a P-256 key in PKCS#8, or another passphrase", place.file.display())
        })?;
        Ok(Self::File(Box::new(key)))
    }

    /// The public half.
    pub(super) fn public(&self) -> &VerifyingKey {
        match self {
            Self::File(key) => key.verifying_key(),
            Self::Token(key) => key.public(),
        }
    }

    /// Signs with ECDSA and SHA-256. DER.
    pub(super) fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::File(key) => {
                let signature: DerSignature =
                    key.try_sign(message).map_err(|_| anyhow::anyhow!("the key does not sign"))?;
                Ok(signature.as_bytes().to_vec())
            }
            Self::Token(key) => Ok(key.sign(message)?),
        }
    }
}

/// A new key and the file that it will be in; the file is only there once it is kept.
#[derive(Debug)]
pub(super) struct NewKey {
    file: NewFile,
    text: Zeroizing<String>,
}

impl KeyFile {
    /// Makes a key for this place, which must be empty.
    pub(super) fn make(&self) -> anyhow::Result<(RootKey, NewKey)> {
        let passphrase = self.passphrase()?;
        check_folder(&self.file)?;
        let file = NewFile::create(&self.file, SECRET_MODE)?;
        file.check_secrecy()?;
        let key = random::signing_key()?;
        let secret = SecretKey::from(&key);
        let text = match &passphrase {
            Some(passphrase) => secret.to_pkcs8_encrypted_pem(passphrase.as_bytes(), LineEnding::LF),
            None => secret.to_pkcs8_pem(LineEnding::LF),
        };
        let text = text.map_err(|_| anyhow::anyhow!("the key cannot be encoded"))?;
        Ok((RootKey::File(Box::new(key)), NewKey { file, text }))
    }

    fn passphrase(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let passphrase = self.passphrase_file.as_deref().map(files::read_secret).transpose()?;
        ensure!(passphrase.as_ref().is_none_or(|text| !text.is_empty()), "the passphrase is empty");
        Ok(passphrase)
    }
}

impl NewKey {
    /// Writes it.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        self.file.commit(self.text.as_bytes())
    }
}

/// Refuses a folder in which others could put another file in the secret's place.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = files::folder_of(path);
    let loose = files::others_may_replace(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    ensure!(!loose, "{}: others may write in this folder; no secret is put there", folder.display());
    Ok(())
}
