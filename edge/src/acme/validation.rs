//! How names are proved: the configuration of probes.

use std::{collections::BTreeSet, net::SocketAddr};

use serde::Deserialize;
use shared::network::Network;

use super::{
    challenge::ChallengeType,
    config::BadConfig,
    http_way::HttpWay,
    network::Networks,
    own_hosts::OwnHosts,
    perspective::{PerspectiveConfig, Perspectives},
    probe_redirect::Ports,
};

/// How names are proved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// `https://host/dns-query` (RFC 8484) or `tcp://IP:PORT`; asked in this order.
    pub resolvers: Vec<String>,
    /// The challenges that are offered, of those that fit the identifier, where a scope does not list its own. See
    /// [`ChallengeType::DEFAULT`].
    #[serde(default = "challenges")]
    pub challenges: BTreeSet<ChallengeType>,
    /// Where http-01 connects: 80, but for tests (RFC 8555 §8.3).
    pub http_port: u16,
    /// Where tls-alpn-01 connects: 443, but for tests (RFC 8737 §3).
    pub tls_alpn_port: u16,
    /// Where redirects of http-01 to https URLs lead: 443, but for tests.
    #[serde(default = "https_port")]
    pub https_port: u16,
    /// Probes may go to addresses in one of these too, and not only to globally reachable ones: see [`Networks::permit`].
    #[serde(default)]
    pub networks: Vec<String>,
    /// Probes never go to addresses in one of these, whatever else is listed: those of signers, say.
    #[serde(default)]
    pub refused_networks: Vec<String>,
    /// Where probes are run besides the account's object; see [`Perspectives`].
    #[serde(default)]
    pub perspectives: Vec<PerspectiveConfig>,
    /// How many of their outcomes, counting that of the account's object, must prove a challenge; all when it is left out.
    #[serde(default)]
    pub quorum: Option<usize>,
    /// How http-01 reaches names. Where networks are listed, here or in a scope, it is a socket.
    #[serde(default)]
    pub http: HttpWay,
    /// True for throwaway stacks only: probes may go to loopback addresses.
    pub allow_loopback: bool,
    /// Milliseconds for one probe, from its first query to its last byte.
    pub timeout_ms: u32,
    /// True: CAA records must permit each certificate (RFC 8659), where a scope says nothing else. `caa_identities` says which issuers in them are this CA.
    #[serde(default)]
    pub caa: bool,
    /// Seconds: a name whose CAA records were looked up longer ago is looked up again before its certificate is made.
    #[serde(default = "caa_recheck")]
    pub caa_recheck: u64,
}

/// An hour: well below the eight that public authorities may take.
const fn caa_recheck() -> u64 {
    3600
}

/// Checked [`ValidationConfig`].
#[derive(Clone, Debug)]
pub struct Validation {
    /// Asked in this order.
    pub resolvers: Vec<Resolver>,
    /// Where http-01 connects, also by redirects.
    pub ports: Ports,
    /// Where tls-alpn-01 connects.
    pub tls_alpn_port: u16,
    /// Where probes look from.
    pub perspectives: Perspectives,
    /// How http-01 reaches names.
    pub http: HttpWay,
    /// Milliseconds for one probe.
    pub timeout_ms: u32,
    /// See [`ValidationConfig::caa_recheck`].
    pub caa_recheck: u64,
}

/// A resolver that probes ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// DNS over HTTPS, wire format, by POST (RFC 8484).
    Https(String),
    /// DNS over TCP (RFC 7766) at this IP address and port.
    Tcp(SocketAddr),
}

impl ValidationConfig {
    /// With the networks that probes may go to where a scope says nothing else.
    ///
    /// # Errors
    /// [`BadConfig::Resolver`], [`BadConfig::Network`], [`BadConfig::HttpWay`], and those of [`Perspectives::check`].
    pub fn check(self) -> Result<(Validation, Networks), BadConfig> {
        let resolvers = parse_resolvers(self.resolvers)?;
        if resolvers.is_empty() {
            return Err(BadConfig::Resolver(String::new()));
        }
        if self.http.fetches() && !self.networks.is_empty() {
            return Err(BadConfig::HttpWay);
        }
        let networks = Networks {
            loopback: self.allow_loopback,
            listed: parse_networks("validation.networks", self.networks)?,
            own: OwnHosts::new(parse_networks("validation.refused_networks", self.refused_networks)?),
        };
        let validation = Validation {
            resolvers,
            ports: Ports { http: self.http_port, https: self.https_port },
            tls_alpn_port: self.tls_alpn_port,
            perspectives: Perspectives::check(self.perspectives, self.quorum)?,
            http: self.http,
            timeout_ms: self.timeout_ms,
            caa_recheck: self.caa_recheck,
        };
        Ok((validation, networks))
    }
}

fn challenges() -> BTreeSet<ChallengeType> {
    ChallengeType::DEFAULT.into()
}

const fn https_port() -> u16 {
    443
}

/// Resolvers, in their order.
///
/// # Errors
/// [`BadConfig::Resolver`] for the first that is none.
pub fn parse_resolvers(texts: Vec<String>) -> Result<Vec<Resolver>, BadConfig> {
    let parse = |text: String| {
        let tcp = text.strip_prefix("tcp://").and_then(|address| address.parse().ok()).map(Resolver::Tcp);
        match tcp {
            Some(resolver) => Ok(resolver),
            None if text.starts_with("https://") => Ok(Resolver::Https(text)),
            None => Err(BadConfig::Resolver(text)),
        }
    };
    texts.into_iter().map(parse).collect()
}

/// Networks under this key of the configuration.
///
/// # Errors
/// [`BadConfig::Network`] for the first that is none.
pub fn parse_networks(key: &'static str, texts: Vec<String>) -> Result<Vec<Network>, BadConfig> {
    let parse = |text: String| text.parse().map_err(|error| BadConfig::Network(key, text, error));
    texts.into_iter().map(parse).collect()
}
