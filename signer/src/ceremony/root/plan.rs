//! Ceremony files: what one ceremony is to do, written and read by people before it begins. TOML, in which every unknown key and every
//! missing one is an error with its place. Paths are beside the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::timestamp::Timestamp;

use super::{
    crl::Reason,
    intent::{CaUsage, Constraints, PlainUrl},
    key::KeyFile,
    serial::AnySerial,
};
use crate::ceremony::KeyPlace;

const SECONDS_A_DAY: u64 = 86_400;
/// For clocks that are behind: a new CA is valid a little earlier than it was made.
const BACKDATE_SECONDS: u64 = 300;

/// `root create`: make a root's certificate, and its key when that is a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreatePlan {
    /// RFC 4514, for example `CN=Example Root`.
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) days: Option<u32>,
    #[serde(default)]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(default)]
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) root: RootPlace,
}

/// `root sign`: certify one subordinate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignPlan {
    /// PEM: the request.
    pub(crate) csr: PathBuf,
    /// Where the certificate goes, PEM.
    pub(crate) out: PathBuf,
    /// What the request must say; as it says when this is left out by the quick form.
    #[serde(deserialize_with = "some")]
    pub(crate) subject: Option<String>,
    #[serde(default)]
    pub(crate) days: Option<u32>,
    #[serde(default)]
    pub(crate) not_before: Option<Timestamp>,
    #[serde(default)]
    pub(crate) not_after: Option<Timestamp>,
    /// For which uses it may issue; an empty list for all.
    pub(crate) extended_key_usage: Vec<CaUsage>,
    /// Where the root's certificate can be read, DER.
    pub(crate) issuer_urls: Vec<PlainUrl>,
    /// Where the root's CRL can be read, DER.
    pub(crate) crl_urls: Vec<PlainUrl>,
    pub(crate) name_constraints: Constraints,
    pub(crate) root: RootPlace,
}

/// `root crl`: sign the root's next CRL.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CrlPlan {
    /// Larger than that of the CRL before; 1 for the first.
    pub(crate) number: u64,
    /// The CRL before. Left out only for number 1.
    #[serde(default)]
    pub(crate) previous: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) form: Form,
    /// Until the next one is due.
    pub(crate) next_update_days: u32,
    /// What is newly revoked; what the CRL before lists stays.
    #[serde(default)]
    pub(crate) revoked: Vec<RevokedPlan>,
    pub(crate) root: RootPlace,
}

/// A subordinate that is revoked, by its certificate or by its serial number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokedPlan {
    #[serde(default)]
    pub(crate) certificate: Option<PathBuf>,
    /// Up to 40 hexadecimal digits: what other tools certified may have 20 octets.
    #[serde(default)]
    pub(crate) serial: Option<AnySerial>,
    pub(crate) reason: Reason,
    /// From when on it is not to be trusted.
    pub(crate) date: Timestamp,
}

/// How a CRL is written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// As it is served (RFC 2585).
    Der,
    /// For people.
    Pem,
}

/// Where a root is: its certificate, and its key in a file or in a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootPlace {
    /// PEM.
    pub(crate) certificate: PathBuf,
    #[serde(default)]
    pub(crate) key: Option<KeyFile>,
    #[serde(default)]
    pub(crate) token: Option<KeyPlace>,
}

/// Where the key is.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyHome<'a> {
    File(&'a KeyFile),
    Token(&'a KeyPlace),
}

/// A ceremony file of one kind.
pub(crate) trait Plan: DeserializeOwned + Serialize {
    /// Every path in it, to be read beside the file.
    fn paths(&mut self) -> Vec<&mut PathBuf>;

    /// Checks what a file must have beyond the form. The quick forms may do without.
    fn check(&self) -> anyhow::Result<()>;

    /// Reads a file.
    fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut plan: Self = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        plan.paths().into_iter().for_each(|path| *path = folder.join(&*path));
        plan.check().with_context(|| format!("in {}", file.display()))?;
        Ok(plan)
    }
}

impl Plan for CreatePlan {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        self.root.paths().collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.root.check()
    }
}

impl Plan for SignPlan {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        [&mut self.csr, &mut self.out].into_iter().chain(self.root.paths()).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.name_constraints.check()?;
        self.root.check()
    }
}

impl Plan for CrlPlan {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let revoked = self.revoked.iter_mut().filter_map(|revoked| revoked.certificate.as_mut());
        self.previous.iter_mut().chain([&mut self.out]).chain(revoked).chain(self.root.paths()).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.root.check()
    }
}

impl RootPlace {
    /// The one place of the key.
    pub(super) fn home(&self) -> anyhow::Result<KeyHome<'_>> {
        match (&self.key, &self.token) {
            (Some(key), None) => Ok(KeyHome::File(key)),
            (None, Some(token)) => Ok(KeyHome::Token(token)),
            _ => bail!("a root has its key in a file ([root.key]) or in a token ([root.token])"),
        }
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let key = self.key.iter_mut().flat_map(|key| [Some(&mut key.file), key.passphrase_file.as_mut()]);
        // The module's path is the system's own.
        let token = self.token.iter_mut().filter_map(|token| token.pin_file.as_mut());
        key.flatten().chain(token).chain([&mut self.certificate])
    }

    fn check(&self) -> anyhow::Result<()> {
        match self.home()? {
            KeyHome::File(key) if key.passphrase_file.is_none() => {
                bail!("[root.key]: a root's key in a file is encrypted: passphrase_file is missing")
            }
            KeyHome::File(_) | KeyHome::Token(_) => Ok(()),
        }
    }
}

/// From when until when a certificate is valid: so many days from now, or both times.
pub(super) fn validity(
    (days, not_before, not_after): (Option<u32>, Option<Timestamp>, Option<Timestamp>),
    now: Timestamp,
    root: Option<(Timestamp, Timestamp)>,
) -> anyhow::Result<(Timestamp, Timestamp)> {
    let (first, last) = match (days, not_before, not_after) {
        (Some(days), None, None) => {
            ensure!(days > 0, "a certificate is valid for at least a day");
            let first = now.minus(BACKDATE_SECONDS);
            let first = root.map_or(first, |(root_first, _)| first.max(root_first));
            (first, now.plus(u64::from(days).saturating_mul(SECONDS_A_DAY)).minus(1))
        }
        (None, Some(first), Some(last)) => (first, last),
        _ => bail!("a validity is given by days, or by not_before and not_after"),
    };
    ensure!(first < last, "not_after lies before not_before");
    ensure!(now <= last, "it would have ended already");
    if let Some((root_first, root_last)) = root {
        ensure!(last <= root_last, "the issuer would outlive its root, which ends {root_last}");
        ensure!(root_first <= first, "the issuer would be valid before its root, which begins {root_first}");
    }
    Ok((first, last))
}

/// So many days later.
pub(super) fn days_after(now: Timestamp, days: u32) -> Timestamp {
    now.plus(u64::from(days).saturating_mul(SECONDS_A_DAY))
}

/// A key that must stand in a file, of a value that the quick form does without.
fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that a text shows, by their first line: `# create.toml`.
    fn files(text: &str) -> Vec<(&str, &str)> {
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        blocks.filter_map(|block| Some((block.lines().next()?.strip_prefix("# ")?, block))).collect()
    }

    #[test]
    fn every_file_that_the_documentation_shows_is_one() {
        let files = files(include_str!("../../../../docs/ceremony.md"));
        assert_eq!(files.len(), 4, "{files:?}");
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let read = match name {
                "create.toml" => CreatePlan::load(&path).map(drop),
                "sign-a1.toml" => SignPlan::load(&path).map(drop),
                _ => CrlPlan::load(&path).map(drop),
            };
            assert!(read.is_ok(), "{name}: {read:?}");
        }
    }

    #[test]
    fn paths_are_beside_the_file_but_for_modules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crl.toml");
        let text = "number = 2\nprevious = \"old\"\nout = \"/new\"\nform = \"der\"\nnext_update_days = 1\n\
                    [root]\ncertificate = \"root.pem\"\n\
                    [root.token]\nmodule = \"module.so\"\ntoken = \"t\"\nlabel = \"l\"\npin_file = \"pin\"\n";
        std::fs::write(&path, text).unwrap();
        let plan = CrlPlan::load(&path).unwrap();
        let token = plan.root.token.as_ref().unwrap();
        assert_eq!(plan.previous.as_deref(), Some(folder.path().join("old").as_path()));
        assert_eq!((plan.out.as_path(), token.module.as_path()), (Path::new("/new"), Path::new("module.so")));
        assert_eq!(token.pin_file, Some(folder.path().join("pin")));
    }
}
