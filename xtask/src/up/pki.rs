//! The certificates around the stack: the infrastructure authority for the mutual TLS between edge and signers, and a
//! throwaway authority for the HTTPS front. The issuing authorities are made by the signer's own command line (see
//! `signers`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use serde::{Deserialize, Serialize};

use super::state::write_private;

const DAY: u64 = 24 * 60 * 60;
const AUTHORITY_DAYS: u64 = 3650;
const LEAF_DAYS: u64 = 90;
/// A leaf that has less than this left is made anew.
const LEAF_MARGIN_DAYS: u64 = 7;

/// A certificate and its key, both PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate (no chain: the authority signs leaves directly).
    pub(crate) certificate: PathBuf,
    /// The key, PKCS#8.
    pub(crate) key: PathBuf,
}

/// A small certificate authority in a folder.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// What a leaf is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Server,
    Client,
}

/// What lies beside a leaf, so that it need not be parsed to know whether it will do.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    names: Vec<String>,
    not_after: u64,
}

impl Authority {
    /// The authority in `folder`, created with its first use and never replaced.
    pub(crate) fn open(folder: PathBuf, name: &str) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let certificate = folder.join("ca.pem");
        let key_file = folder.join("ca.key");
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        valid(&mut params, now()?, AUTHORITY_DAYS);
        // The certificate is written last, so where there is one there is a key.
        let key = if certificate.exists() {
            KeyPair::from_pem(&fs::read_to_string(&key_file)?)
                .with_context(|| format!("reading {}", key_file.display()))?
        } else {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            write_private(&key_file, key.serialize_pem().as_bytes())?;
            write_private(&certificate, params.self_signed(&key)?.pem().as_bytes())?;
            key
        };
        Ok(Self { folder, issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate (PEM file).
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The leaf of that name: as it was, or a new one when it is for other names or about to expire.
    pub(crate) fn leaf(&self, name: &str, names: &[&str], purpose: Purpose) -> Result<Pair> {
        let pair =
            Pair { certificate: self.folder.join(format!("{name}.pem")), key: self.folder.join(format!("{name}.key")) };
        let description_file = self.folder.join(format!("{name}.json"));
        let now = now()?;
        let wanted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        if description(&description_file)
            .is_some_and(|made| made.names == wanted && made.not_after > now + LEAF_MARGIN_DAYS * DAY)
        {
            return Ok(pair);
        }
        let mut params = CertificateParams::new(wanted.clone())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF_DAYS);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // The description goes first and comes last: without it the pair is made anew.
        let _ = fs::remove_file(&description_file);
        write_private(&pair.key, key.serialize_pem().as_bytes())?;
        write_private(&pair.certificate, params.signed_by(&key, &self.issuer)?.pem().as_bytes())?;
        let made = Description { names: wanted, not_after: now + LEAF_DAYS * DAY };
        write_private(&description_file, &serde_json::to_vec(&made)?)?;
        Ok(pair)
    }
}

fn description(file: &Path) -> Option<Description> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// From an hour ago, for clocks that differ a little.
fn valid(params: &mut CertificateParams, now: u64, days: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(3600));
    params.not_after = epoch + Duration::from_secs(now + days * DAY);
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(authority: &Authority, pair: &Pair) -> bool {
        let mut verify = std::process::Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-CAfile"]).arg(authority.certificate()).arg(&pair.certificate);
        verify.output().unwrap().status.success()
    }

    #[test]
    fn leaves_are_kept_until_their_names_change_and_the_authority_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("front");
        let open = || Authority::open(place.clone(), "Throwaway").unwrap();
        let first = open();
        let pair = first.leaf("front", &["localhost", "127.0.0.1"], Purpose::Server).unwrap();
        assert!(verifies(&first, &pair));
        let before = fs::read(&pair.certificate).unwrap();
        let root = fs::read(first.certificate()).unwrap();
        open().leaf("front", &["localhost", "127.0.0.1"], Purpose::Server).unwrap();
        assert_eq!(fs::read(&pair.certificate).unwrap(), before);
        let second = open();
        second.leaf("front", &["localhost", "10.0.0.1"], Purpose::Server).unwrap();
        assert_ne!(fs::read(&pair.certificate).unwrap(), before);
        assert!(verifies(&second, &pair));
        assert_eq!(fs::read(second.certificate()).unwrap(), root);
    }
}
