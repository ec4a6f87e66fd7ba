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
    /// So many seconds an isolate answers from its memory without asking: so long it does not see a revocation.
    pub memory_seconds: u64,
    /// The same for CRLs.
    pub crl_memory_seconds: u64,
    /// A CRL that was fetched longer ago is fetched again when somebody asks for it.
    pub crl_poll_seconds: u64,
    /// The most that others are told to keep an answer for.
    pub max_age_seconds: u64,
    /// The root's CRL, PEM, as the ceremony made it.
    pub root_crl: Option<String>,
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
    /// Those that were asked for since they were signed, at half their life.
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
            memory_seconds: 1,
            crl_memory_seconds: 5,
            crl_poll_seconds: 30,
            max_age_seconds: 3600,
            root_crl: None,
        }
    }
}

impl StatusConfig {
    /// The root's CRL, verified; whether it is still good is seen when it is asked for.
    ///
    /// # Errors
    /// When it is no CRL in PEM, or not the root's.
    pub fn check_root_crl(&self, root: &Issuer) -> Result<Option<Document>, crl::BadCrl> {
        let Some(pem) = &self.root_crl else { return Ok(None) };
        let (label, der) = der::pem::decode_vec(pem.trim().as_bytes()).map_err(|_| crl::BadCrl::Form)?;
        if label != "X509 CRL" {
            return Err(crl::BadCrl::Form);
        }
        let content = crl::CrlContent::verify(&der, root)?;
        Ok(Some(Document {
            kind: Kind::Crl,
            body: shared::base64url::Base64Url(der),
            this_update: content.this_update,
            next_update: content.next_update,
        }))
    }
}
