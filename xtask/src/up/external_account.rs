//! External account bindings (RFC 8555 §7.3.4) of a throwaway stack, made by the signer's own command line as an operator would. All
//! signers of the stack share one file of bindings and one secret of grants.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::base64url::Base64Url;

use super::state::{State, write_private};
use super::state_folder;
use crate::build::{Flavour, build_signer};
use crate::paths::Paths;
use crate::process::{command, output};

/// The id of the binding that `up` makes.
const KEY_ID: &str = "throwaway";
/// The one scope of the signers' configuration.
pub(super) const SCOPE: &str = "everything";
/// The first signer's configuration in the state folder: what is asked of it holds for all.
const FIRST: &str = "signers/1/signer.toml";

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

/// What is asked about bindings.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes a binding and prints what its client needs
    New {
        /// The stack's state folder [default: .colophon/up in the workspace]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Its key id [default: a random one]
        #[arg(long)]
        kid: Option<String>,
        /// How many accounts may have it
        #[arg(long, value_name = "N")]
        uses: Option<u64>,
        /// Prints JSON: "kid", "hmac_key" and more
        #[arg(long)]
        json: bool,
    },
    /// Ends a binding
    Revoke {
        /// The stack's state folder [default: .colophon/up in the workspace]
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Its key id
        kid: String,
    },
}

/// What a client is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Key {
    /// For `--eab-kid` and its like.
    #[serde(alias = "kid")]
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

impl Verb {
    /// `cargo xtask eab`.
    pub(crate) fn run(&self, paths: &Paths) -> Result<()> {
        let (Self::New { state, .. } | Self::Revoke { state, .. }) = self;
        let folder = state_folder(state.as_deref(), paths);
        let configuration = fs::read_to_string(folder.join(FIRST)).context("no stack was started there")?;
        // Only the other build reads a configuration of slow tokens.
        let flavour = if configuration.contains("latency_ms") { Flavour::SlowToken } else { Flavour::Usual };
        let signer = build_signer(paths, flavour)?;
        let mut asked = match self {
            Self::New { kid, uses, json, .. } => {
                let mut asked = new(&signer, &folder);
                if let Some(kid) = kid {
                    asked.args(["--kid", kid]);
                }
                if let Some(uses) = uses {
                    asked.arg("--uses").arg(uses.to_string());
                }
                if *json {
                    asked.arg("--json");
                }
                asked
            }
            Self::Revoke { kid, .. } => {
                let mut asked = eab(&signer, "revoke", &folder);
                asked.arg(kid);
                asked
            }
        };
        print!("{}", output(&mut asked)?);
        Ok(())
    }
}

/// `[grants]` of every signer.
pub(super) fn grants(state: &State) -> Result<Value> {
    Ok(json!({ "keys": [state.secret("grant")?], "bindings": bindings(state) }))
}

/// Makes the binding whose key [`key_file`] has, unless it is there.
pub(super) fn make(signer: &Path, state: &State) -> Result<()> {
    let file = file(state);
    if file.exists() && bindings(state).exists() {
        return Ok(());
    }
    let made = output(new(signer, state.folder()).args(["--kid", KEY_ID, "--json"])).context("making a binding")?;
    let key: Key = serde_json::from_str(&made)?;
    write_private(&file, &serde_json::to_vec(&key)?)
}

/// The file with the key for clients, where bindings are of use.
pub(super) fn key_file(state: &State, policy: BindingPolicy) -> Option<PathBuf> {
    (policy != BindingPolicy::Off).then(|| file(state))
}

/// Reads [`key_file`]'s.
pub(crate) fn read(file: &Path) -> Result<Key> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn file(state: &State) -> PathBuf {
    state.folder().join("external-account.json")
}

fn bindings(state: &State) -> PathBuf {
    state.folder().join("signers/1/bindings.json")
}

fn new(signer: &Path, folder: &Path) -> Command {
    let mut new = eab(signer, "new", folder);
    new.args(["--scope", SCOPE]);
    new
}

fn eab(signer: &Path, verb: &str, folder: &Path) -> Command {
    let mut eab = command(signer);
    eab.args(["eab", verb, "--config"]).arg(folder.join(FIRST));
    eab
}
