//! A key for external account bindings (RFC 8555 §7.3.4), made for a throwaway stack as an operator would hand one out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::base64url::{self, Base64Url};

use super::state::{State, write_private};

/// Its id.
const KEY_ID: &str = "throwaway";

/// Whether accounts need a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BindingPolicy {
    /// Bindings are ignored
    #[default]
    Off,
    /// A binding that is there must be right
    Optional,
    /// No account without one
    Required,
}

/// What a client is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Key {
    /// For `--eab-kid` and its like.
    pub(crate) key_id: String,
    /// For `--eab-hmac-key` and its like: base64url.
    pub(crate) hmac_key: Base64Url,
}

impl BindingPolicy {
    /// Its name in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// The edge's secret: all keys by their ids.
pub(super) fn keys(state: &State) -> Result<Vec<u8>> {
    Ok(json!({ KEY_ID: key(state)? }).to_string().into_bytes())
}

/// The file with the key for clients, written where bindings are of use.
pub(super) fn key_file(state: &State, policy: BindingPolicy) -> Result<Option<PathBuf>> {
    if policy == BindingPolicy::Off {
        return Ok(None);
    }
    let file = state.folder().join("external-account.json");
    let hmac_key = Base64Url(base64url::decode(&key(state)?)?);
    write_private(&file, &serde_json::to_vec(&Key { key_id: KEY_ID.to_owned(), hmac_key })?)?;
    Ok(Some(file))
}

/// Reads [`key_file`]'s.
pub(crate) fn read(file: &Path) -> Result<Key> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn key(state: &State) -> Result<String> {
    let secret = fs::read(state.secret("external-account")?)?;
    Ok(base64url::encode(&secret))
}
