//! One signer of the stack: its folder, its `signer.toml`, and how it is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::edges::{self, EdgePlace};
use super::external_account::{self, SCOPE};
use super::issuing::{Ceremony, KEY_LABEL, Token, write_softhsm_configuration};
use super::pki::{Authority, Purpose};
use super::resolver::{LOOPBACK, SUFFIXES};
use super::setting::Setting;
use super::state::State;
use super::supervisor::{Ready, Service};

/// Below this name is what other projects' tests order (RFC 2606 §3).
const OTHERS_SUFFIX: &str = "example.com";

/// What all signers have in common.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    /// The signer's binary.
    pub(crate) binary: &'a Path,
    /// Makes the tokens.
    pub(crate) ceremony: &'a Ceremony,
    /// Signs the servers' certificates.
    pub(crate) infrastructure: &'a Authority,
    /// The edges that may call. The first one tells the status of certificates.
    pub(crate) places: &'a [EdgePlace],
    /// Tokens of each signer.
    pub(crate) tokens: u16,
    /// True: names only for accounts with an external account binding.
    pub(crate) bound: bool,
    /// How slow the tokens are, in milliseconds.
    pub(crate) latency: Option<u64>,
    /// What a test has changed in the edges' configuration.
    pub(crate) settings: &'a [Setting],
    /// Whose ServiceAccount tokens prove names: the array `cluster`.
    pub(crate) clusters: &'a Value,
}

/// One signer, as the edge needs to know it.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    /// From 1.
    pub(crate) number: u16,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Signer {
    /// The name that its certificate is for.
    pub(crate) fn host(&self) -> String {
        format!("signer-{}.colophon.internal", self.number)
    }

    /// The edge's binding for it.
    pub(crate) fn binding(&self) -> String {
        format!("SIGNER_{}", self.number)
    }
}

impl Fleet<'_> {
    /// Prepares the signer of that number (from 1), and says how to start it.
    pub(crate) fn prepare(&self, state: &mut State, number: u16) -> Result<(Signer, Service)> {
        let role = format!("signer-{number}");
        let folder = state.subfolder(&format!("signers/{number}"))?;
        let signer = Signer { number, address: state.address(&role, SocketAddr::from(([127, 0, 0, 1], 0)))? };
        let names = (1..=self.tokens).map(|token| issuer_name(number, token));
        let tokens = names.map(|name| self.ceremony.token(&folder, &name)).collect::<Result<Vec<_>>>()?;
        write_softhsm_configuration(&folder.join("softhsm2.conf"), &folder.join("tokens"))?;
        let file = folder.join("signer.toml");
        let grants = external_account::grants(state)?;
        let configuration = self.configuration(&folder, &signer, &tokens, &grants)?;
        let text = format!("# Written by `cargo xtask up` at each start.\n{}", toml::to_string(&configuration)?);
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let service = Service {
            role: role.clone(),
            program: self.binary.to_path_buf(),
            arguments: vec!["serve".into(), "--config".into(), file.into()],
            folder,
            log: state.subfolder("logs")?.join(format!("{role}.log")),
            ready: Ready::Line("ready"),
        };
        Ok((signer, service))
    }

    fn configuration(&self, folder: &Path, signer: &Signer, tokens: &[Token], grants: &Value) -> Result<Value> {
        let host = signer.host();
        let tls = self.infrastructure.leaf(&format!("signer-{}", signer.number), &[&host], Purpose::Server)?;
        let issuers: Vec<Value> = tokens.iter().map(|token| self.issuer(folder, token)).collect();
        let clusters = self.clusters.as_array().into_iter().flatten().filter_map(|cluster| cluster.get("name"));
        let clusters: Vec<_> = clusters.collect();
        // A profile that a test gives the edge is one of the signers too.
        let added = self.settings.iter().filter_map(Setting::profile).map(|(name, profile)| {
            json!({
                "name": name,
                "validity_seconds": profile["validity_seconds"],
                "backdate_seconds": 60,
                "extended_key_usage": profile["extended_key_usage"],
                "revocation": "none",
            })
        });
        let own = [
            profile("both", &["serverAuth", "clientAuth"]),
            profile("client", &["clientAuth"]),
            monthly(),
            profile("server", &["serverAuth"]),
        ];
        let profiles: Vec<Value> = own.into_iter().chain(added).collect();
        // Permissive, and throwaway: no other configuration lets strangers have every name.
        let scope = json!({
            "name": SCOPE,
            "open": !self.bound,
            "dns_suffixes": SUFFIXES.iter().chain(&[OTHERS_SUFFIX]).collect::<Vec<_>>(),
            "wildcards": true,
            "single_labels": true,
            "ip_networks": LOOPBACK,
            "methods": [
                "http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01", "kubernetes-01", "pre-approved",
            ],
            "profiles": profiles.iter().map(|profile| &profile["name"]).collect::<Vec<_>>(),
            "clusters": clusters,
            "kubernetes_trusts_edge": clusters.is_empty(),
        });
        let status = self.places.first().map(|place| json!({ "host": place.front.status_url() }));
        Ok(json!({
            "state": folder.join("state"),
            "listen": {
                "address": signer.address,
                "certificate": tls.certificate,
                "key": tls.key,
                "client_roots": self.infrastructure.certificate(),
            },
            "limits": { "request_bytes": 65536, "connections": 256, "queue": 1000 },
            "edge": self.places.iter().map(|place| place.caller()).collect::<Vec<_>>(),
            "grants": grants,
            "issuer": issuers,
            "status": status,
            "profile": profiles,
            "scope": edges::scopes(self.places, &scope),
            "cluster": self.clusters,
        }))
    }

    fn issuer(&self, folder: &Path, token: &Token) -> Value {
        let configuration: PathBuf = folder.join("softhsm2.conf");
        let mut entry = json!({
            "module": self.ceremony.module(),
            "uri": format!("pkcs11:token={};object={KEY_LABEL}", token.label),
            "pin_file": token.pin_file,
            "deadline_ms": 10_000 + self.latency.unwrap_or(0),
            "environment": { "SOFTHSM2_CONF": configuration },
        });
        if let (Some(latency), Value::Object(entry)) = (self.latency, &mut entry) {
            entry.insert("latency_ms".to_owned(), latency.into());
        }
        json!({ "name": token.name, "chain": token.chain, "token": [entry] })
    }
}

/// Signer `a`, `b`, …; token 1, 2, …: `a1`.
fn issuer_name(signer: u16, token: u16) -> String {
    let mut letters = String::new();
    let mut rest = signer;
    while rest > 0 {
        rest -= 1;
        letters.insert(0, char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    format!("{letters}{token}")
}

/// A profile of the throwaway policy: 24 hours, as `wrangler.toml` promises.
fn profile(name: &str, usages: &[&str]) -> Value {
    json!({
        "name": name,
        "validity_seconds": 86400,
        "backdate_seconds": 60,
        "extended_key_usage": usages,
        "revocation": "none",
    })
}

/// A profile whose certificates live long enough that their status is told.
fn monthly() -> Value {
    json!({
        "name": "monthly",
        "validity_seconds": 30 * 86400,
        "backdate_seconds": 60,
        "extended_key_usage": ["serverAuth", "clientAuth"],
        "revocation": "both",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_named_by_signer_and_token() {
        assert_eq!(issuer_name(1, 1), "a1");
        assert_eq!(issuer_name(26, 3), "z3");
        assert_eq!(issuer_name(27, 2), "aa2");
    }
}
