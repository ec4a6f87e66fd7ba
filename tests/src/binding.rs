//! External account bindings as a client makes them (RFC 8555 §7.3.4).

use std::{
    env, fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use shared::base64url::{self, Base64Url};

use crate::{
    account::{Account, register},
    client::Client,
    key::AccountKey,
    stack::{Report, XTASK},
};

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

/// Runs `cargo xtask eab` with this verb on a stack, and gives what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub fn eab(report: &Report, verb: &str, arguments: &[&str]) -> Result<String> {
    let xtask = env::var_os(XTASK).with_context(|| format!("{XTASK} must name the binary of xtask"))?;
    let mut command = Command::new(xtask);
    command.args(["eab", verb, "--state"]).arg(&report.state).args(arguments);
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A new binding of this id, as an operator hands it out.
///
/// # Errors
/// As [`eab`].
pub fn hand_out(report: &Report, kid: &str, more: &[&str]) -> Result<BindingKey> {
    let arguments: Vec<_> = ["--json", "--kid", kid].into_iter().chain(more.iter().copied()).collect();
    let made: Value = serde_json::from_str(&eab(report, "new", &arguments)?)?;
    ensure!(made["kid"] == kid, "{made}");
    let hmac_key = Base64Url(base64url::decode(made["hmac_key"].as_str().context("a key")?)?);
    Ok(BindingKey { key_id: kid.to_owned(), hmac_key })
}

/// An account of this binding with a fresh key.
///
/// # Errors
/// When it is still refused some seconds after the binding was made.
pub fn open(client: &Client, binding: &BindingKey) -> Result<Account> {
    let key = AccountKey::es256();
    let payload = json!({"externalAccountBinding": binding.bind(&key.jwk(), client.url("newAccount"))?});
    // A signer has read the file of bindings within a second of its change.
    let started = Instant::now();
    loop {
        let reply = register(client, &key, &payload)?;
        if reply.status == 201 {
            return Ok(Account::of(client, key, reply.location()?));
        }
        ensure!(started.elapsed() < Duration::from_secs(5), "{} {}", reply.status, reply.text()?);
        sleep(Duration::from_millis(200));
    }
}
