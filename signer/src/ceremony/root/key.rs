//! The root's key: in a PKCS#11 token, or in an encrypted file on a machine without a network.

use std::path::Path;

use anyhow::{Context, ensure};
use p256::{
    SecretKey,
    ecdsa::{DerSignature, SigningKey, VerifyingKey},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument, der::pem::PemLabel};
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

/// Why a file has no key that a root signs with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadKeyFile {
    /// Something else altogether, or several blocks.
    #[error("not one private key in PEM (-----BEGIN ENCRYPTED PRIVATE KEY-----)")]
    NotPem,
    /// SEC 1, PKCS#1, OpenSSH, or no key.
    #[error(
        "a {0:?} block, and PKCS#8 is wanted: `openssl pkcs8 -topk8 -in FILE -out NEW` makes it of other private keys"
    )]
    Kind(String),
    /// No passphrase was named.
    #[error("the key is encrypted: name the file of its passphrase (passphrase_file)")]
    Encrypted,
    /// One was named in vain.
    #[error(
        "a passphrase file is named, and the key is not encrypted: `openssl pkcs8 -topk8 -in FILE -out NEW` encrypts it"
    )]
    NotEncrypted,
    /// What comes out is no key.
    #[error("the passphrase is another one: the key cannot be decrypted with it")]
    Passphrase,
    /// PBES1, or a cipher that is not compiled in.
    #[error(
        "the key is encrypted in a way that is not supported: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW` encrypts it anew"
    )]
    Sealing,
    /// RSA, Ed25519, another curve.
    #[error("the private key is not an EC key on P-256")]
    Key,
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
        let key = read_key(&text, passphrase.as_deref().map(String::as_bytes));
        Ok(Self::File(Box::new(key.with_context(|| place.file.display().to_string())?)))
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

/// Reads a key in PEM.
fn read_key(text: &str, passphrase: Option<&[u8]>) -> Result<SigningKey, BadKeyFile> {
    let (label, document) = SecretDocument::from_pem(shared::pem::trimmed(text)).map_err(|_| BadKeyFile::NotPem)?;
    let plain = match (label, passphrase) {
        (PrivateKeyInfoRef::PEM_LABEL, None) => document,
        (PrivateKeyInfoRef::PEM_LABEL, Some(_)) => return Err(BadKeyFile::NotEncrypted),
        (EncryptedPrivateKeyInfoRef::PEM_LABEL, None) => return Err(BadKeyFile::Encrypted),
        (EncryptedPrivateKeyInfoRef::PEM_LABEL, Some(passphrase)) => {
            let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| BadKeyFile::Sealing)?;
            sealed.decrypt(passphrase).map_err(|error| match error {
                // One wrong passphrase in some hundred gives bytes that only are no key.
                pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
                    BadKeyFile::Passphrase
                }
                _ => BadKeyFile::Sealing,
            })?
        }
        (other, _) => return Err(BadKeyFile::Kind(other.to_owned())),
    };
    SigningKey::from_pkcs8_der(plain.as_bytes()).map_err(|_| BadKeyFile::Key)
}

/// Refuses a folder in which others could put another file in the secret's place.
fn check_folder(path: &Path) -> anyhow::Result<()> {
    let folder = files::folder_of(path);
    let loose = files::others_may_replace(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
    ensure!(!loose, "{}: others may write in this folder; no secret is put there", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_key_file_is_told_apart() {
        let key = random::signing_key().unwrap();
        let secret = SecretKey::from(&key);
        let plain = secret.to_pkcs8_pem(LineEnding::LF).unwrap();
        let sealed = secret.to_pkcs8_encrypted_pem(b"sesame", LineEnding::LF).unwrap();
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let sec1 = plain.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let right = Some(&b"sesame"[..]);
        let table = [
            (plain.as_str(), None, None),
            (sealed.as_str(), right, None),
            (sealed.as_str(), None, Some(BadKeyFile::Encrypted)),
            (sealed.as_str(), Some(&b"simsim"[..]), Some(BadKeyFile::Passphrase)),
            (plain.as_str(), right, Some(BadKeyFile::NotEncrypted)),
            (sec1.as_str(), None, Some(BadKeyFile::Kind("EC PRIVATE KEY".into()))),
            (ed25519.as_str(), None, Some(BadKeyFile::Key)),
            ("", None, Some(BadKeyFile::NotPem)),
            ("MIGH", None, Some(BadKeyFile::NotPem)),
        ];
        for (text, passphrase, wrong) in table {
            let read = read_key(text, passphrase);
            assert_eq!(read.as_ref().err(), wrong.as_ref(), "{text}");
            assert!(read.is_err() || read.unwrap() == key);
        }
    }
}
