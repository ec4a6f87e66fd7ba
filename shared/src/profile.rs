//! Profiles: everything of a certificate that is neither a name, a key, a serial nor a time. Read as [`ProfileConfig`],
//! checked into [`Profile`].

use std::{fmt, str::FromStr};

use const_oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use der::asn1::ObjectIdentifier;
use serde::{Deserialize, Serialize};

/// The name of a profile: 1 to 64 lower-case letters, digits and hyphens (draft-ietf-acme-profiles §3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

/// A profile as an operator writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// What orders call it.
    pub name: ProfileName,
    /// Seconds from notBefore to notAfter, both included (RFC 5280 §4.1.2.5).
    pub validity_seconds: u64,
    /// Seconds that notBefore lies before the signature, for clocks that are behind.
    pub backdate_seconds: u64,
    /// At least one.
    pub extended_key_usage: Vec<Usage>,
    /// Where the certificate says its status can be learned.
    pub revocation: Revocation,
}

/// A checked profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: ProfileName,
    validity_seconds: u64,
    backdate_seconds: u64,
    extended_key_usage: Vec<Usage>,
    revocation: Revocation,
}

/// What a certificate may be used for (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Usage {
    /// TLS servers.
    #[serde(rename = "serverAuth")]
    ServerAuth,
    /// TLS clients.
    #[serde(rename = "clientAuth")]
    ClientAuth,
}

/// How a certificate of the profile can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revocation {
    /// It lives too short for it: noRevAvail and no pointers (RFC 9608).
    None,
    /// An OCSP responder is named (RFC 5280 §4.2.2.1).
    Ocsp,
    /// A CRL is named (RFC 5280 §4.2.1.13).
    Crl,
    /// An OCSP responder and a CRL are named.
    Both,
}

/// Why a profile is refused at start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProfile {
    /// The name has other characters, or none, or more than 64.
    #[error("a profile's name is 1 to 64 lower-case letters, digits and hyphens")]
    Name,
    /// The validity is zero or more than 825 days.
    #[error("profile {0}: validity_seconds is between 60 and 71280000 (825 days)")]
    Validity(String),
    /// The backdate is as long as the validity or longer.
    #[error("profile {0}: backdate_seconds is less than validity_seconds")]
    Backdate(String),
    /// No extended key usage, or one twice.
    #[error("profile {0}: extended_key_usage names at least one usage, each once")]
    ExtendedKeyUsage(String),
}

impl ProfileName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Profile {
    /// What orders call it.
    #[must_use]
    pub const fn name(&self) -> &ProfileName {
        &self.name
    }

    /// Seconds from notBefore to notAfter, both included.
    #[must_use]
    pub const fn validity_seconds(&self) -> u64 {
        self.validity_seconds
    }

    /// Seconds that notBefore lies before the signature.
    #[must_use]
    pub const fn backdate_seconds(&self) -> u64 {
        self.backdate_seconds
    }

    /// At least one usage, each once.
    #[must_use]
    pub fn extended_key_usage(&self) -> &[Usage] {
        &self.extended_key_usage
    }

    /// How its certificates can be revoked.
    #[must_use]
    pub const fn revocation(&self) -> Revocation {
        self.revocation
    }
}

impl Revocation {
    /// True when certificates name an OCSP responder.
    #[must_use]
    pub const fn has_ocsp(self) -> bool {
        matches!(self, Self::Ocsp | Self::Both)
    }

    /// True when certificates name a CRL.
    #[must_use]
    pub const fn has_crl(self) -> bool {
        matches!(self, Self::Crl | Self::Both)
    }
}

impl Usage {
    /// Its object identifier (RFC 5280 §4.2.1.12).
    #[must_use]
    pub const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::ServerAuth => ID_KP_SERVER_AUTH,
            Self::ClientAuth => ID_KP_CLIENT_AUTH,
        }
    }
}

impl TryFrom<ProfileConfig> for Profile {
    type Error = BadProfile;

    fn try_from(config: ProfileConfig) -> Result<Self, BadProfile> {
        let ProfileConfig { name, validity_seconds, backdate_seconds, mut extended_key_usage, revocation } = config;
        if !(60..=71_280_000).contains(&validity_seconds) {
            return Err(BadProfile::Validity(name.0));
        }
        if backdate_seconds >= validity_seconds {
            return Err(BadProfile::Backdate(name.0));
        }
        let given = extended_key_usage.len();
        extended_key_usage.sort_unstable();
        extended_key_usage.dedup();
        if given == 0 || extended_key_usage.len() != given {
            return Err(BadProfile::ExtendedKeyUsage(name.0));
        }
        Ok(Self { name, validity_seconds, backdate_seconds, extended_key_usage, revocation })
    }
}

impl FromStr for ProfileName {
    type Err = BadProfile;

    fn from_str(text: &str) -> Result<Self, BadProfile> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadProfile::Name)
        }
    }
}

impl TryFrom<String> for ProfileName {
    type Error = BadProfile;

    fn try_from(text: String) -> Result<Self, BadProfile> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
