//! `signer root`: the root, in software, on a machine without a network. Creates it and signs the issuers under it.

use std::path::Path;

use anyhow::{Context, ensure};
use der::{Encode, asn1::OctetString, oid::AssociatedOid};
use p256::{
    SecretKey,
    ecdsa::{DerSignature, SigningKey},
    pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use shared::{
    chain::{Issuer, IssuerChain},
    public_key::{KeyKind, PublicKey},
    timestamp::Timestamp,
};
use spki::{EncodePublicKey, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::{
    Certificate, TbsCertificate,
    builder::{Builder, CertificateBuilder, profile::BuilderProfile},
    ext::{
        Extension,
        pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier},
    },
    name::Name,
    time::Validity,
};
use zeroize::Zeroizing;

use super::{PUBLIC_MODE, SECRET_MODE, csr, hex, pem, subject};
use crate::{
    clock,
    files::{self, NewFile},
    random,
};

const SECONDS_A_DAY: u64 = 86_400;
/// For clocks that are behind: a new CA is valid a little earlier than it was made.
const BACKDATE_SECONDS: u64 = 300;

/// Where a root lives.
#[derive(Debug)]
pub(crate) struct RootFiles<'a> {
    /// PKCS#8 in PEM, encrypted when there is a passphrase.
    pub(crate) key: &'a Path,
    /// The certificate in PEM.
    pub(crate) certificate: &'a Path,
    /// A file with the passphrase.
    pub(crate) passphrase: Option<&'a Path>,
}

/// Makes a P-256 key and its self-signed certificate.
pub(crate) fn create(name: &str, days: u32, root: &RootFiles<'_>) -> anyhow::Result<String> {
    let name = subject(name)?;
    let passphrase = root.passphrase()?;
    let key_file = NewFile::create(root.key, SECRET_MODE)?;
    let certificate_file = NewFile::create(root.certificate, PUBLIC_MODE)?;
    let key = random::signing_key()?;
    let secret = SecretKey::from(&key);
    let text = match &passphrase {
        Some(passphrase) => secret.to_pkcs8_encrypted_pem(passphrase.as_bytes(), LineEnding::LF),
        None => secret.to_pkcs8_pem(LineEnding::LF),
    };
    let text = text.map_err(|_| anyhow::anyhow!("the key cannot be encoded"))?;

    let public = PublicKey::parse(key.verifying_key().to_public_key_der()?.as_bytes())?;
    let identifier = public.key_identifier().to_vec();
    let profile = CaProfile {
        issuer: name.clone(),
        subject: name,
        path_length: None,
        key_identifier: identifier,
        authority: None,
    };
    let certificate = profile.sign(&public, validity(days, None)?, &key)?;
    let issuer = Issuer::from_der(&certificate.to_der()?)?;
    IssuerChain::from_ders([issuer.der()])?.verify_to(&issuer, clock::now())?;
    key_file.commit(text.as_bytes())?;
    certificate_file.commit(pem(&certificate)?.as_bytes())?;
    Ok(format!("made the root {}\nSHA-256 of its certificate: {}", issuer.subject(), hex(&issuer.fingerprint())))
}

/// Signs an issuer: a CA that issues leaves and no further CA (pathLenConstraint 0).
pub(crate) fn sign(root: &RootFiles<'_>, request: &Path, days: u32, out: &Path) -> anyhow::Result<String> {
    let passphrase = root.passphrase()?;
    let request_text = read(request)?;
    let request = csr::read(&request_text)?;
    ensure!(request.info.subject.iter().next().is_some(), "the subject of a CA is not empty");
    let public = PublicKey::from_spki(request.info.public_key)?;
    ensure!(public.kind() == KeyKind::P256, "the key of an issuer is P-256");

    let root_certificate = Issuer::from_pem(&read(root.certificate)?).context("the root's certificate")?;
    root_certificate.check_time(clock::now()).context("the root's certificate")?;
    let key = private_key(root.key, passphrase.as_deref().map(String::as_str))?;
    ensure!(*key.verifying_key() == root_certificate.key(), "the key is not the one of the root's certificate");
    ensure!(request.info.subject != *root_certificate.subject(), "an issuer has another name than its root");

    let profile = CaProfile {
        issuer: root_certificate.subject().clone(),
        subject: request.info.subject,
        path_length: Some(0),
        key_identifier: public.key_identifier().to_vec(),
        authority: Some(root_certificate.key_identifier().to_vec()),
    };
    let certificate = profile.sign(&public, validity(days, Some(root_certificate.not_after()))?, &key)?;
    let der = certificate.to_der()?;
    IssuerChain::from_ders([der.as_slice()])?.verify_to(&root_certificate, clock::now())?;
    files::write_whole(out, pem(&certificate)?.as_bytes(), PUBLIC_MODE)?;
    let issuer = Issuer::from_der(&der)?;
    Ok(format!("signed the issuer {}\nSHA-256 of its certificate: {}", issuer.subject(), hex(&issuer.fingerprint())))
}

impl RootFiles<'_> {
    fn passphrase(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let passphrase = self.passphrase.map(files::read_secret).transpose()?;
        ensure!(passphrase.as_ref().is_none_or(|text| !text.is_empty()), "the passphrase is empty");
        Ok(passphrase)
    }
}

/// What a CA certificate of ours says beside its key and its times (RFC 5280 §4.2.1).
struct CaProfile {
    issuer: Name,
    subject: Name,
    path_length: Option<u8>,
    key_identifier: Vec<u8>,
    /// The issuer's key identifier; none in a self-signed certificate.
    authority: Option<Vec<u8>>,
}

impl CaProfile {
    fn sign(self, subject_key: &PublicKey, validity: Validity, key: &SigningKey) -> anyhow::Result<Certificate> {
        let serial = random::serial_number()?.to_x509()?;
        let spki: SubjectPublicKeyInfoOwned = subject_key.spki().clone();
        CertificateBuilder::new(self, serial, validity, spki)
            .and_then(|builder| builder.build::<_, DerSignature>(key))
            .map_err(|_| anyhow::anyhow!("the certificate cannot be built"))
    }

    fn extensions(&self) -> der::Result<Vec<Extension>> {
        let constraints = BasicConstraints { ca: true, path_len_constraint: self.path_length };
        let mut extensions = vec![
            extension(true, &constraints)?,
            extension(true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
            extension(false, &SubjectKeyIdentifier(OctetString::new(self.key_identifier.clone())?))?,
        ];
        if let Some(authority) = &self.authority {
            let key_identifier = Some(OctetString::new(authority.clone())?);
            let authority = AuthorityKeyIdentifier { key_identifier, ..AuthorityKeyIdentifier::default() };
            extensions.push(extension(false, &authority)?);
        }
        Ok(extensions)
    }
}

impl BuilderProfile for CaProfile {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions()?)
    }
}

fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// So many days from now, but not beyond what the issuer has left.
fn validity(days: u32, limit: Option<Timestamp>) -> anyhow::Result<Validity> {
    ensure!(days > 0, "a certificate is valid for at least a day");
    let now = clock::now();
    let not_before = now.minus(BACKDATE_SECONDS);
    let not_after = now.plus(u64::from(days).saturating_mul(SECONDS_A_DAY)).minus(1);
    ensure!(limit.is_none_or(|limit| not_after <= limit), "the issuer would outlive its root; give fewer --days");
    Ok(Validity::new(not_before.to_x509()?, not_after.to_x509()?))
}

fn private_key(path: &Path, passphrase: Option<&str>) -> anyhow::Result<SigningKey> {
    let text = files::read_secret(path)?;
    let key = match passphrase {
        Some(passphrase) => SigningKey::from_pkcs8_encrypted_pem(&text, passphrase),
        None => SigningKey::from_pkcs8_pem(&text),
    };
    key.map_err(|_| anyhow::anyhow!("{}: not a P-256 key in PKCS#8, or another passphrase", path.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
