//! `signer attest`: checks a YubiKey's PIV attestation: that a key was made in a device of its maker and cannot leave it, and under which
//! policies it signs. Yubico's root is the operator's to give; nothing is fetched.

mod chain;
mod claims;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use shared::public_key::PublicKey;

pub(crate) use self::claims::Claims;
use self::{chain::AttestationCertificate, claims::PinPolicy, claims::TouchPolicy};
use super::csr;
use crate::token::pkcs11::Module;

/// Where the two certificates of the device are.
#[derive(Debug)]
pub(crate) enum Evidence {
    /// Files, PEM or DER.
    Files {
        /// Of the attested slot.
        attestation: PathBuf,
        /// Of slot f9.
        device: PathBuf,
    },
    /// Among the certificates that a token shows.
    Token { module: PathBuf, token: String },
}

/// Which key it should be.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// PEM: a certification request; its own signature is checked.
    Csr(PathBuf),
    /// PEM: SubjectPublicKeyInfo.
    PublicKey(PathBuf),
    /// PEM: an issuer's certificate, first in its chain.
    Chain(PathBuf),
}

/// What was found out about a key.
#[derive(Debug, Serialize)]
pub(crate) struct Attested {
    /// SHA-256 of the SubjectPublicKeyInfo in hex.
    public_key_sha256: String,
    #[serde(flatten)]
    claims: Claims,
    /// The root that the chain leads to.
    root: String,
    /// What will be in the way of a daemon.
    warnings: Vec<&'static str>,
}

/// Checks everything; an error is a key that is not proved to be in a device.
pub(crate) fn run(
    evidence: &Evidence,
    intermediates: Option<&Path>,
    roots: &Path,
    wanted: &Wanted,
) -> anyhow::Result<Attested> {
    let key = wanted.key()?;
    let roots = AttestationCertificate::read_all(roots)?;
    let intermediates = intermediates.map_or_else(|| Ok(Vec::new()), AttestationCertificate::read_all)?;
    let (attestation, device) = match evidence {
        Evidence::Files { attestation, device } => {
            (AttestationCertificate::read(attestation)?, AttestationCertificate::read(device)?)
        }
        Evidence::Token { module, token } => from_token(module, token, &key)?,
    };
    attest(&attestation, &device, &intermediates, &roots, &key)
}

fn attest(
    attestation: &AttestationCertificate,
    device: &AttestationCertificate,
    intermediates: &[AttestationCertificate],
    roots: &[AttestationCertificate],
    key: &PublicKey,
) -> anyhow::Result<Attested> {
    let root = chain::verify(attestation, device, intermediates, roots)?;
    ensure!(*attestation.key() == *key, "the attested key is another one");
    let claims = Claims::read(attestation)?;
    let mut warnings = Vec::new();
    if claims.touch_policy != TouchPolicy::Never {
        warnings.push("each signature wants a touch: no daemon can sign with this key");
    }
    if matches!(claims.pin_policy, PinPolicy::Always | PinPolicy::MatchAlways) {
        warnings.push("the PIN is wanted for each signature, which is slower; --pin-policy once is for a daemon");
    }
    if matches!(claims.pin_policy, PinPolicy::MatchOnce | PinPolicy::MatchAlways) {
        warnings.push("a fingerprint may be wanted: no daemon can give one");
    }
    if claims.pin_policy == PinPolicy::Never {
        warnings.push("no PIN is wanted: whoever has the device signs with it");
    }
    let public_key_sha256 = super::hex(&sha2::Digest::finalize(chain::spki_hash(key)?));
    Ok(Attested { public_key_sha256, claims, root: root.to_string(), warnings })
}

impl Wanted {
    fn key(&self) -> anyhow::Result<PublicKey> {
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let key = match self {
            Self::Csr(path) => PublicKey::from_spki(csr::read(&read(path)?)?.info.public_key)?,
            Self::PublicKey(path) => {
                let spki = shared::pem::read_one(read(path)?.as_bytes(), shared::pem::Label::PublicKey);
                PublicKey::parse(&spki.with_context(|| format!("{}: not a public key in PEM", path.display()))?)?
            }
            Self::Chain(path) => {
                let chain = AttestationCertificate::read_all(path)?;
                chain.first().context("there is no certificate")?.key().clone()
            }
        };
        Ok(key)
    }
}

/// Finds the attestation of this key, and the certificate that it was issued by, among those that a token shows.
fn from_token(
    module: &Path,
    token: &str,
    key: &PublicKey,
) -> anyhow::Result<(AttestationCertificate, AttestationCertificate)> {
    let module = Module::load(module)?;
    let ders = module.certificates(module.token(token)?)?;
    // A slot may hold anything; what cannot be read is none of these two.
    let all: Vec<_> = ders.iter().filter_map(|der| AttestationCertificate::from_der(der).ok()).collect();
    let mut attestations = all.iter().filter(|one| one.key() == key && Claims::read(one).is_ok());
    let Some(attestation) = attestations.next() else {
        bail!("the token {token:?} shows no attestation of this key; ykcs11 does, and ykman writes it to a file")
    };
    let device = all.iter().find(|device| device.is_ca() && attestation.is_issued_by(device));
    let device = device.context("the token does not show its device certificate (slot f9)")?;
    Ok((attestation.clone(), device.clone()))
}

impl std::fmt::Display for Attested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "the key was made in the device and cannot leave it")?;
        writeln!(f, "SHA-256 of its public key: {}", self.public_key_sha256)?;
        write!(f, "{}\nroot: {}", self.claims, self.root)?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}
