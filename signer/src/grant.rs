//! Grants: what `bind` gives and `issue` is shown (see [`shared::grant`]). A token is `base64url(content) "." base64url(mac)`: made under
//! the first key of the configuration, good under each of them. It gives nothing by itself: the account's key must have
//! signed the request, and the binding must live at that moment.

use std::{fmt, path::Path};

use anyhow::{Context, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use shared::{
    base64url::{self, Base64Url},
    grant::GrantToken,
    jwk::Thumbprint,
    signing::{Grant, Refusal, Refused},
    timestamp::Timestamp,
};
use zeroize::Zeroizing;

use crate::{
    admit::refused,
    bindings::{Binding, Bindings},
    files,
    policy::Policy,
};

/// Fewer are no key.
const KEY_MIN_BYTES: usize = 32;
/// Longer ones are nobody's.
const TOKEN_MAX_BYTES: usize = 2048;
/// A grant is shown to a signer, whose copy of the bindings' file does not have the binding yet, for at most this long after it was made, in
/// seconds.
const ON_ITS_WAY: u64 = 300;
/// The version of the content.
const VERSION: u8 = 1;

/// The secrets that grants are authenticated by, the one that makes them first.
#[derive(Clone)]
pub(crate) struct GrantKeys(Vec<Zeroizing<Vec<u8>>>);

/// What a grant says, once its MAC is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Granted {
    version: u8,
    /// Thumbprint of the account's key (RFC 7638).
    account: Base64Url,
    /// The binding's key id.
    pub(crate) binding: String,
    /// The scope that the binding gave.
    scope: String,
    issued: Timestamp,
    expires: Timestamp,
}

/// Which scopes an account may use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The open ones.
    Open,
    /// The one of its binding.
    Bound {
        /// The binding's key id.
        binding: String,
        /// The scope's name.
        scope: String,
    },
}

impl GrantKeys {
    /// Reads the secret files.
    ///
    /// # Errors
    /// When there is none, or one cannot be a key.
    pub(crate) fn read<'a>(files: impl Iterator<Item = &'a Path>) -> anyhow::Result<Self> {
        let read = |file: &Path| {
            let secret = files::read_secret(file)?;
            ensure!(secret.len() >= KEY_MIN_BYTES, "{}: fewer than {KEY_MIN_BYTES} bytes", file.display());
            Ok(Zeroizing::new(secret.as_bytes().to_vec()))
        };
        let keys = files.map(read).collect::<anyhow::Result<Vec<_>>>().context("grants.keys")?;
        ensure!(!keys.is_empty(), "grants.keys is empty");
        Ok(Self(keys))
    }

    /// The token of this content.
    pub(crate) fn seal(&self, granted: &Granted) -> Option<GrantToken> {
        let content = base64url::encode(&serde_json::to_vec(granted).ok()?);
        let mac = mac(self.0.first()?, &content)?.finalize().into_bytes();
        Some(GrantToken(format!("{content}.{}", base64url::encode(&mac))))
    }

    /// What a token says, if one of the keys has made it; whether it has expired is not looked at.
    ///
    /// # Errors
    /// [`Refusal::BadGrant`].
    pub(crate) fn open(&self, token: &GrantToken) -> Result<Granted, Refused> {
        let bad = || refused(Refusal::BadGrant, "the grant is not by a key of this signer");
        let (content, tag) = token.0.split_once('.').filter(|_| token.0.len() <= TOKEN_MAX_BYTES).ok_or_else(bad)?;
        let tag = base64url::decode(tag).map_err(|_| bad())?;
        let is_by = |key: &Zeroizing<Vec<u8>>| mac(key, content).is_some_and(|mac| mac.verify_slice(&tag).is_ok());
        if !self.0.iter().any(is_by) {
            return Err(bad());
        }
        let content = base64url::decode(content).map_err(|_| bad())?;
        let granted: Granted = serde_json::from_slice(&content).map_err(|_| bad())?;
        if granted.version == VERSION { Ok(granted) } else { Err(bad()) }
    }
}

impl fmt::Debug for GrantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantKeys({} keys)", self.0.len())
    }
}

impl Granted {
    /// A grant of now for this account.
    pub(crate) fn new(account: Thumbprint, binding: &Binding, now: Timestamp, lifetime: u64) -> Self {
        let expires = now.plus(lifetime);
        Self {
            version: VERSION,
            account: Base64Url(account.0.to_vec()),
            binding: binding.kid.clone(),
            scope: binding.scope.clone(),
            issued: now,
            expires: binding.expires.map_or(expires, |end| end.min(expires)),
        }
    }

    /// True when it is for this account key.
    pub(crate) fn is_of(&self, account: Thumbprint) -> bool {
        self.account.0 == account.0
    }

    /// The account's key.
    pub(crate) fn account(&self) -> Option<Thumbprint> {
        <[u8; 32]>::try_from(self.account.0.as_slice()).ok().map(Thumbprint)
    }

    /// After this it gives nothing.
    pub(crate) const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// When it should be renewed: at half of its life.
    pub(crate) fn renew_after(&self) -> Timestamp {
        self.issued.plus(self.expires.since(self.issued).checked_div(2).unwrap_or_default())
    }
}

impl Rights {
    /// What this grant gives to the account whose key has signed the request.
    ///
    /// # Errors
    /// [`Refusal::BadGrant`], [`Refusal::GrantExpired`], [`Refusal::UnknownBinding`]; [`Refusal::Unavailable`] while the binding can
    /// still be on its way to this signer.
    pub(crate) fn of(
        grant: &Grant,
        account: Thumbprint,
        policy: &Policy,
        bindings: &Bindings,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        let token = match grant {
            Grant::Open => return Ok(Self::Open),
            Grant::Bound(token) => token,
        };
        let granted = policy.grants()?.keys.open(token)?;
        if !granted.is_of(account) {
            return Err(refused(Refusal::BadGrant, "the grant is another account's"));
        }
        if granted.expires <= now {
            return Err(refused(Refusal::GrantExpired, "the grant has expired"));
        }
        // Another signer has made the grant, so it had the binding.
        if !bindings.has(&granted.binding) && now < granted.issued.plus(ON_ITS_WAY) {
            let detail = format!("the binding {} has not come to this signer yet", granted.binding);
            return Err(refused(Refusal::Unavailable, detail));
        }
        let binding = bindings.live(&granted.binding, now)?;
        if binding.scope != granted.scope {
            return Err(refused(Refusal::BadGrant, "the binding gives another scope now"));
        }
        Ok(Self::Bound { binding: granted.binding, scope: granted.scope })
    }

    /// The binding that must live still when the certificate is signed.
    pub(crate) fn binding(&self) -> Option<&str> {
        match self {
            Self::Open => None,
            Self::Bound { binding, .. } => Some(binding),
        }
    }
}

/// The MAC of a content under a key, yet to be ended.
fn mac(key: &[u8], content: &str) -> Option<Hmac<Sha256>> {
    // What else may be authenticated by such a key is not a grant.
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?;
    Some(mac.chain_update("colophon grant ").chain_update(content))
}

#[cfg(test)]
mod tests;
