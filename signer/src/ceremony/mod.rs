//! How keys and chains come to be: the offline commands. Each refuses to do harm: none initialises a token that holds
//! anything, makes a second key of a name, or overwrites a file.

pub(crate) mod attest;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod csr;
pub(crate) mod eab;
pub(crate) mod import_chain;
pub(crate) mod init;
pub(crate) mod keygen;
pub(crate) mod list;
pub(crate) mod made;
mod name;
pub(crate) mod pin;
pub(crate) mod pin_ok;
pub(crate) mod root;
pub(crate) mod transcript;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use cryptoki::{session::Session, slot::TokenInfo, types::AuthPin};
use der::{
    EncodePem,
    pem::{LineEnding, PemLabel},
};
use p256::ecdsa::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{chain::Issuer, timestamp::Timestamp};
use signature::Keypair;
use spki::{AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey};

use self::transcript::Transcript;
use crate::token::{
    self,
    pkcs11::{self, Module, TokenKey, VisibleKey},
};

/// The permissions of a file that is no secret.
pub(crate) const PUBLIC_MODE: u32 = 0o644;
/// The permissions of a file that is one.
pub(crate) const SECRET_MODE: u32 = 0o600;

/// Where a key is, or is to be made: in a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyPlace {
    /// The PKCS#11 module.
    pub(crate) module: PathBuf,
    /// The token's label.
    pub(crate) token: String,
    /// A file with the PIN; see [`pin`] for where it is from otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pin_file: Option<PathBuf>,
    /// The key's label.
    pub(crate) label: String,
}

impl KeyPlace {
    /// The module, with what it and the token say about themselves in the transcript.
    fn load(&self, transcript: &mut Transcript) -> anyhow::Result<Module> {
        let module = Module::load(&self.module)?;
        transcript.module(&self.module, &module)?;
        transcript.token(&module, &self.token)?;
        Ok(module)
    }

    /// The one key of the token with the label, logged in.
    fn open(&self, transcript: &mut Transcript) -> anyhow::Result<TokenKey> {
        let module = self.load(transcript)?;
        let visible = visible_key(&module, &self.token, &self.label)?;
        let pin = self.pin()?;
        token::pin::may_try(&module.info(visible.slot)?, &pin)?;
        let session = module.login(visible.slot, &pin)?;
        TokenKey::find(session, &visible)?.with_pin(pin)
    }

    /// Logs in, once.
    fn login(&self, session: &Session, info: &TokenInfo) -> anyhow::Result<AuthPin> {
        let pin = self.pin()?;
        token::pin::may_try(info, &pin)?;
        pkcs11::login(session, &pin)?;
        Ok(pin)
    }

    fn pin(&self) -> anyhow::Result<AuthPin> {
        pin::user(&self.token, self.pin_file.as_deref())
    }
}

/// Checks that a CA certificate is valid now, by this machine's clock.
///
/// # Errors
/// Names the certificate, its dates and the clock's.
pub(crate) fn check_dates(certificate: &Issuer, now: Timestamp) -> anyhow::Result<()> {
    let (first, last) = (certificate.not_before(), certificate.not_after());
    let state = if now < first { "is not valid yet" } else { "has expired" };
    ensure!(
        first <= now && now <= last,
        "the certificate of {} {state}: it is valid from {first} to {last}, and the clock of this machine says {now} (`date -u` shows it)",
        certificate.subject()
    );
    Ok(())
}

/// The one key of a token with this label.
fn visible_key(module: &Module, token: &str, label: &str) -> anyhow::Result<VisibleKey> {
    let slot = module.token(token)?;
    let mut keys: Vec<_> = module.visible_keys(slot)?.into_iter().filter(|key| key.label == label).collect();
    keys.dedup_by(|one, other| one.public == other.public && one.id == other.id);
    match (keys.pop(), keys.pop()) {
        (Some(key), None) => Ok(key),
        (None, _) => bail!("the token {token:?} shows no P-256 key with the label {label:?}"),
        (Some(_), Some(_)) => bail!("the token {token:?} shows several keys with the label {label:?}"),
    }
}

/// SHA-256 of the SubjectPublicKeyInfo in lower-case hex: what two people read to each other.
pub(crate) fn fingerprint(key: &VerifyingKey) -> anyhow::Result<String> {
    let spki = key.to_public_key_der().context("the public key cannot be encoded")?;
    Ok(hex(&Sha256::digest(spki.as_bytes())))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// PEM with Unix line ends.
fn pem<T: EncodePem + PemLabel>(value: &T) -> anyhow::Result<String> {
    value.to_pem(LineEnding::LF).context("cannot be encoded as PEM")
}

/// A distinguished name of RFC 4514, with something in it.
fn subject(text: &str) -> anyhow::Result<x509_cert::name::Name> {
    let name: x509_cert::name::Name = text
        .parse()
        .map_err(|_| anyhow::anyhow!("{text:?} is not a distinguished name such as \"CN=Example Root\""))?;
    name::check(&name)?;
    Ok(name)
}

/// The public half of a key that signs elsewhere, in the form that builders ask for.
struct PublicHalf(VerifyingKey);

impl Keypair for PublicHalf {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.0
    }
}

impl DynSignatureAlgorithmIdentifier for PublicHalf {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(shared::certificate::ecdsa_with_sha256())
    }
}

#[cfg(test)]
mod tests {
    use shared::testing::TestCa;

    use super::*;

    #[test]
    fn a_certificate_out_of_its_time_is_named_with_its_dates_and_the_clock() {
        let root = TestCa::new(1).root;
        let (first, last) = (root.not_before(), root.not_after());
        assert!(check_dates(&root, first).is_ok() && check_dates(&root, last).is_ok());
        for (now, state) in [(first.minus(1), "is not valid yet"), (last.plus(1), "has expired")] {
            let error = check_dates(&root, now).unwrap_err().to_string();
            for part in ["CN=Test Root 1", state, &first.to_string(), &last.to_string(), &now.to_string()] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
