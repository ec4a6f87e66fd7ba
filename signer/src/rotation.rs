//! Hitless rotation: the listener's certificate, key and client roots, the edges, profiles, scopes, clusters and the keys of grants are read again at SIGHUP and when
//! a file has changed. Everything is parsed before anything is replaced; what is wrong changes nothing. Connections that are open
//! keep their request and their answer; what they ask next, they ask under the new policy, and the next time over a new connection.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    Tokens, client_roots, clock, expiry,
    metrics::Metrics,
    policy::Policy,
    settings::{ListenSettings, Settings},
};

/// How often files are looked at. They are small, and nobody waits.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is said what expires.
const DAY: Duration = Duration::from_secs(86_400);

/// What is in the files, as far as it can be told apart.
type Seen = [u8; 32];

/// What follows a rotation: the present value, and that there is another one.
#[derive(Clone, Debug)]
pub(crate) struct Present {
    pub(crate) tls: watch::Receiver<Arc<ServerConfig>>,
    pub(crate) policy: watch::Receiver<Arc<Policy>>,
}

/// Replaces what can be replaced while the daemon runs.
#[derive(Debug)]
pub(crate) struct Rotation {
    file: PathBuf,
    tokens: Tokens,
    listen: ListenSettings,
    /// The parts of the configuration that need a start, as they were at this one.
    fixed: Option<toml::Table>,
    tls: watch::Sender<Arc<ServerConfig>>,
    policy: watch::Sender<Arc<Policy>>,
    metrics: Arc<Metrics>,
    hangup: Signal,
}

impl Rotation {
    /// For the daemon that was started with these settings of this file.
    ///
    /// # Errors
    /// When signals cannot be had.
    pub(crate) fn new(
        file: PathBuf,
        tokens: Tokens,
        settings: &Settings,
        tls: Arc<ServerConfig>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<(Self, Present)> {
        let hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
        let (tls, next_tls) = watch::channel(tls);
        let (policy, next_policy) = watch::channel(Arc::new(settings.policy.clone()));
        let (listen, fixed) = (settings.listen.clone(), fixed(&file));
        let present = Present { tls: next_tls, policy: next_policy };
        Ok((Self { file, tokens, listen, fixed, tls, policy, metrics, hangup }, present))
    }

    /// Follows the files for ever.
    pub(crate) async fn run(mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut day = interval(DAY);
        day.tick().await;
        let mut tried = self.seen();
        let mut last = tried;
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    (tried, last) = (self.seen(), self.seen());
                    self.rotate("SIGHUP");
                }
                _ = look.tick() => {
                    // Not before two looks see the same: a certificate is written before its key, or the key before it.
                    let now = self.seen();
                    if now == last && now != tried {
                        tried = now;
                        self.rotate("a file has changed");
                    }
                    last = now;
                }
                _ = day.tick() => {
                    if let Ok(settings) = Settings::load(&self.file, self.tokens) {
                        self.metrics.expires(&expiry::warn(&settings, clock::now()));
                    }
                }
            }
        }
    }

    /// Reads everything again, and replaces what was read if all of it is right.
    fn rotate(&mut self, cause: &str) {
        let read = Settings::load(&self.file, self.tokens)
            .and_then(|settings| client_roots::server_config(&settings).map(|tls| (settings, tls)));
        let (settings, tls) = match read {
            Ok(read) => read,
            Err(error) => {
                self.metrics.rotated(false);
                return tracing::error!(cause, error = format!("{error:#}"), "rotation refused: nothing has changed");
            }
        };
        let needs_start = match (&self.fixed, fixed(&self.file)) {
            (Some(old), Some(new)) => differing(old, &new),
            _ => String::new(),
        };
        if !needs_start.is_empty() {
            tracing::warn!(parts = needs_start, "these parts of the configuration take effect at the next start");
        }
        self.metrics.expires(&expiry::warn(&settings, clock::now()));
        self.metrics.rotated(true);
        self.listen = settings.listen;
        self.policy.send_replace(Arc::new(settings.policy));
        self.tls.send_replace(tls);
        tracing::info!(cause, "rotated");
    }

    fn seen(&self) -> Seen {
        let ListenSettings { certificate, key, client_roots, .. } = &self.listen;
        let mut hash = Sha256::new();
        let policy = self.policy.borrow().clone();
        let keys = policy.grants().map(|grants| grants.files.as_slice()).unwrap_or_default();
        for file in [&self.file, certificate, key, client_roots]
            .into_iter()
            .chain(keys)
            .map(PathBuf::as_path)
            .chain(policy.clusters().files())
        {
            // What cannot be read is read as nothing; why, is said when it is needed.
            hash.update(Sha256::digest(std::fs::read(file).unwrap_or_default()));
        }
        hash.finalize().into()
    }
}

/// What a running daemon keeps: its folder, address, limits, issuers and their chains.
fn fixed(file: &Path) -> Option<toml::Table> {
    let mut table: toml::Table = std::fs::read_to_string(file).ok()?.parse().ok()?;
    for rotated in ["cluster", "edge", "grants", "profile", "scope"] {
        table.remove(rotated);
    }
    if let Some(toml::Value::Table(listen)) = table.get_mut("listen") {
        listen.retain(|key, _| key == "address");
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(toml::Value::Array(issuers)) = table.get_mut("issuer") {
        for issuer in issuers.iter_mut().filter_map(toml::Value::as_table_mut) {
            let chain = issuer.get("chain").and_then(toml::Value::as_str).unwrap_or_default();
            let content = std::fs::read_to_string(folder.join(chain)).unwrap_or_default();
            issuer.insert("chain".to_owned(), content.into());
        }
    }
    Some(table)
}

/// The names of the parts that are not the same.
fn differing(old: &toml::Table, new: &toml::Table) -> String {
    let mut names: Vec<_> = old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
