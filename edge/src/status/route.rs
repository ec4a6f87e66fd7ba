//! The paths of status services: the other half of [`shared::pointers::StatusHost`]. They carry no account, need no nonce, and are
//! answered on plain HTTP too.

use shared::pointers::{CrlShard, IssuerId, OCSP_PATH, ROOT_CRL_PATH};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusRoute {
    /// `/ocsp`: the request is the body (RFC 6960 §A.1).
    Ocsp,
    /// `/ocsp/…`: the request is the rest of the path, as it was sent.
    OcspGet(String),
    /// `/crl/{issuer}/{shard}.crl`.
    Crl(IssuerId, CrlShard),
    /// `/issuer/{issuer}.der` (RFC 5280 §4.2.2.1).
    Issuer(IssuerId),
    /// `/root.crl`.
    RootCrl,
}

impl StatusRoute {
    /// Reads a path; nothing when it is none of these.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(OCSP_PATH) {
            return match rest.strip_prefix('/') {
                None if rest.is_empty() => Some(Self::Ocsp),
                Some("") => Some(Self::Ocsp),
                // Some clients put a second slash between the URL of the responder and the request.
                Some(request) => Some(Self::OcspGet(request.to_owned())),
                None => None,
            };
        }
        if path == ROOT_CRL_PATH {
            return Some(Self::RootCrl);
        }
        if let Some(rest) = path.strip_prefix("/crl/") {
            let (issuer, shard) = rest.strip_suffix(".crl")?.split_once('/')?;
            return Some(Self::Crl(issuer.parse().ok()?, shard.parse().ok()?));
        }
        let issuer = path.strip_prefix("/issuer/")?.strip_suffix(".der")?;
        Some(Self::Issuer(issuer.parse().ok()?))
    }

    /// The methods that it can be asked for with, as `Allow` lists them.
    #[must_use]
    pub const fn methods(&self) -> &'static str {
        match self {
            Self::Ocsp => "POST",
            Self::OcspGet(_) | Self::Crl(..) | Self::Issuer(_) | Self::RootCrl => "GET, HEAD",
        }
    }
}
