//! What a ceremony has made, for people and for programs.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use shared::{serial::SerialNumber, timestamp::Timestamp};

/// The facts of one ceremony.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    /// `token`, `key`, `request`, `root`, `issuer`, `chain` or `crl`.
    pub(crate) what: &'static str,
    /// Its label or its distinguished name.
    pub(crate) name: String,
    /// SHA-256 of the SubjectPublicKeyInfo in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_key_sha256: Option<String>,
    /// SHA-256 of the certificate's DER in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<SerialNumber>,
    /// A CRL's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u64>,
    /// How many certificates a CRL lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<usize>,
    /// The last second of a certificate; when the next CRL is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<Timestamp>,
    /// Files that were written, without the transcript.
    pub(crate) files: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transcript: Option<PathBuf>,
}

impl Made {
    /// With nothing but its name.
    pub(crate) const fn new(what: &'static str, name: String) -> Self {
        Self {
            what,
            name,
            public_key_sha256: None,
            certificate_sha256: None,
            serial: None,
            number: None,
            revoked: None,
            not_after: None,
            files: Vec::new(),
            transcript: None,
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "made the {} {}", self.what, self.name)?;
        let texts = [
            ("SHA-256 of its public key", self.public_key_sha256.clone()),
            ("SHA-256 of its certificate", self.certificate_sha256.clone()),
            ("serial number", self.serial.map(|serial| serial.to_string())),
            ("number", self.number.map(|number| number.to_string())),
            ("revoked certificates", self.revoked.map(|count| count.to_string())),
            ("good until", self.not_after.map(|time| time.to_string())),
        ];
        for (name, text) in texts {
            text.map_or(Ok(()), |text| write!(f, "\n{name}: {text}"))?;
        }
        let written = self.files.iter().chain(&self.transcript);
        written.into_iter().try_for_each(|file| write!(f, "\nwrote {}", file.display()))
    }
}
