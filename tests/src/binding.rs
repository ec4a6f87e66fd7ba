//! External account bindings as a client makes them (RFC 8555 §7.3.4).

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use shared::base64url::{self, Base64Url};

/// What the operator hands out: here, what `up` writes.
#[derive(Debug, Deserialize)]
pub struct BindingKey {
    /// Its id.
    pub key_id: String,
    /// The MAC key.
    pub hmac_key: Base64Url,
}

impl BindingKey {
    /// Reads the file that a stack's report names.
    ///
    /// # Errors
    /// When bindings are off.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let file = file.context("the stack was started without --eab")?;
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// The binding of an account key, for this newAccount URL.
    ///
    /// # Errors
    /// Never: HMAC takes a key of any length.
    pub fn bind(&self, account_key: &Value, new_account: &str) -> Result<Value> {
        let header = json!({"alg": "HS256", "kid": self.key_id, "url": new_account});
        let protected = base64url::encode(header.to_string().as_bytes());
        let payload = base64url::encode(account_key.to_string().as_bytes());
        let mac = Hmac::<Sha256>::new_from_slice(&self.hmac_key.0)?.chain_update(format!("{protected}.{payload}"));
        let signature = base64url::encode(&mac.finalize().into_bytes());
        Ok(json!({"protected": protected, "payload": payload, "signature": signature}))
    }
}
