//! How the status of certificates is told: the key `status` of the configuration.

use serde::Deserialize;
use shared::{chain::Issuer, crl, pointers::StatusHost};

use super::document::{Document, Kind};

/// The configuration as an operator writes it; all of it can be left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusConfig {
    /// What certificates point to, as the signers have it: `http://host[:port]`. Only shown.
    pub host: Option<StatusHost>,
    /// What becomes of a request with a nonce.
    pub nonce: NoncePolicy,
    /// Which responses are signed anew before they expire.
    pub refresh: RefreshPolicy,
    /// So many questions since a response was signed make its certificate popular: 1 to 100. Each costs a row, and no later one does.
    pub presign: u32,
    /// So many seconds an isolate answers from its memory without asking: so long it does not see a revocation.
    pub memory_seconds: u64,
    /// The same for CRLs.
    pub crl_memory_seconds: u64,
    /// A CRL that was fetched longer ago is fetched again when somebody asks for it.
    pub crl_poll_seconds: u64,
    /// The most that others are told to keep an answer for.
    pub max_age_seconds: u64,
    /// The caches that are purged after a revocation.
    pub purge: Option<PurgeConfig>,
    /// The root's CRL, PEM, as the ceremony made it.
    pub root_crl: Option<String>,
}

/// A zone whose caches are purged by tag, with the secret `CACHE_PURGE_TOKEN`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeConfig {
    /// The zone's identifier: 32 lower-case hex digits.
    pub zone: String,
    /// The platform's API, without a slash at the end.
    #[serde(default = "default_api")]
    pub api: String,
}

/// A value that cannot be served. Each names the key below `status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStatus {
    /// A number that is too small or too large.
    #[error("{0}: {1} to {2}")]
    Range(&'static str, u64, u64),
    /// `root_crl`.
    #[error("root_crl: {0}")]
    RootCrl(#[from] crl::BadCrl),
    /// `purge.zone`.
    #[error("purge.zone: 32 lower-case hex digits")]
    Zone,
    /// `purge.api`.
    #[error("purge.api: https://host/path without a trailing slash")]
    Api,
}

/// What becomes of an OCSP request with a nonce (RFC 9654): it is never answered, because responses are signed before anybody
/// asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoncePolicy {
    /// It gets the response without a nonce, which RFC 9654 §2.1 has clients expect.
    #[default]
    Ignore,
    /// It gets `unauthorized`: for clients that would take a response without a nonce for an attack and retry.
    Refuse,
}

/// Which responses are signed anew before they expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshPolicy {
    /// Those that were asked for `presign` times since they were signed, at half their life, without anybody asking.
    #[default]
    Asked,
    /// Those that are asked for in the second half of their life, then.
    OnDemand,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self {
            host: None,
            nonce: NoncePolicy::Ignore,
            refresh: RefreshPolicy::Asked,
            presign: 1,
            memory_seconds: 1,
            crl_memory_seconds: 5,
            crl_poll_seconds: 30,
            max_age_seconds: 3600,
            purge: None,
            root_crl: None,
        }
    }
}

impl StatusConfig {
    /// Checks all values but the root's CRL. With `loopback`, the API may be plain HTTP at 127.0.0.1.
    ///
    /// # Errors
    /// The first value that is wrong.
    pub fn check(&self, loopback: bool) -> Result<(), BadStatus> {
        for (key, value, least, most) in [
            ("presign", u64::from(self.presign), 1, 100),
            // So long a revocation is not seen, whatever is purged.
            ("memory_seconds", self.memory_seconds, 0, 60),
            ("crl_memory_seconds", self.crl_memory_seconds, 0, 300),
            ("crl_poll_seconds", self.crl_poll_seconds, 1, 3600),
            ("max_age_seconds", self.max_age_seconds, 0, 604_800),
        ] {
            if !(least..=most).contains(&value) {
                return Err(BadStatus::Range(key, least, most));
            }
        }
        let Some(PurgeConfig { zone, api }) = &self.purge else { return Ok(()) };
        if zone.len() != 32 || !zone.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BadStatus::Zone);
        }
        let rest = api.strip_prefix("https://").or_else(|| api.strip_prefix("http://127.0.0.1:").filter(|_| loopback));
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'"' | b'\\');
        match rest {
            Some(rest)
                if !rest.is_empty() && !rest.starts_with('/') && !rest.ends_with('/') && rest.bytes().all(allowed) =>
            {
                Ok(())
            }
            _ => Err(BadStatus::Api),
        }
    }

    /// The number of questions that make a certificate popular; none when nothing is signed before it is asked for.
    #[must_use]
    pub fn popular(&self) -> Option<u32> {
        (self.refresh == RefreshPolicy::Asked).then_some(self.presign)
    }

    /// The root's CRL, verified; whether it is still good is seen when it is asked for.
    ///
    /// # Errors
    /// When it is no CRL in PEM, or not the root's.
    pub fn check_root_crl(&self, root: &Issuer) -> Result<Option<Document>, BadStatus> {
        let Some(pem) = &self.root_crl else { return Ok(None) };
        let der = shared::pem::read_one(pem.as_bytes(), shared::pem::Label::Crl).map_err(crl::BadCrl::Pem)?;
        let (this_update, next_update) = crl::CrlContent::verify_dates(&der, root)?;
        Ok(Some(Document { kind: Kind::Crl, body: shared::base64url::Base64Url(der), this_update, next_update }))
    }
}

fn default_api() -> String {
    "https://api.cloudflare.com/client/v4".to_owned()
}
