//! Clusters: the configuration under `kubernetes`, read as [`ClusterConfig`], checked once into [`Cluster`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shared::{
    identifier::Identifier,
    kubernetes::{
        keys::KeySet,
        rules::{BadRules, Rules, RulesConfig},
    },
};

/// A cluster as an operator writes it. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// `iss` of its tokens; no two clusters have the same.
    pub issuer: String,
    /// What the audience of its tokens for us begins with.
    pub audience: String,
    /// True: the audience alone is enough, without the digest that binds a token to an account and a challenge.
    #[serde(default)]
    pub allow_unbound_audience: bool,
    /// Its key set, or where that is.
    #[serde(default)]
    pub keys: Option<KeysConfig>,
    /// Its API server. Its bearer token is in the secret `KUBERNETES_TOKENS`.
    #[serde(default)]
    pub api: Option<Endpoint>,
    /// True: the API server must authenticate each token too.
    #[serde(default)]
    pub token_review: bool,
    /// True: a client without a token is the pod that has its address. At most one cluster.
    #[serde(default)]
    pub pod_address: bool,
    /// Templates of the names that its workloads may have.
    pub names: Vec<String>,
    /// `NAMESPACE/NAME`, `*` for any: who may have names; all when it is left out.
    #[serde(default)]
    pub service_accounts: Option<Vec<String>>,
    /// The longest time from a token's `iat` to its `exp`, in seconds.
    #[serde(default = "an_hour")]
    pub max_token_seconds: u64,
}

/// Where a cluster's keys are.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum KeysConfig {
    /// The key set itself, JSON (RFC 7517 §5).
    Inline(String),
    /// Where it is fetched.
    At(Endpoint),
}

/// Where something is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `https://…`; of an API server without path and trailing slash.
    pub url: String,
    /// The service binding to fetch it by, where the platform cannot reach it or does not trust its certificate.
    #[serde(default)]
    pub binding: Option<String>,
}

/// A checked cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// Which of its tokens are accepted, and which names they give.
    pub rules: Rules,
    /// Its keys.
    pub keys: Option<Keys>,
    /// Its API server.
    pub api: Option<Endpoint>,
    /// See [`ClusterConfig::token_review`].
    pub token_review: bool,
    pod_address: bool,
}

/// Where a cluster's keys are.
#[derive(Clone, Debug)]
pub enum Keys {
    /// Here.
    Inline(KeySet),
    /// There.
    At(Endpoint),
}

/// All clusters of a deployment.
#[derive(Clone, Debug, Default)]
pub struct Clusters(Vec<Cluster>);

/// What is wrong with a cluster's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCluster {
    /// Its rules.
    #[error(transparent)]
    Rules(#[from] BadRules),
    /// Another cluster has this issuer.
    #[error("issuer: another cluster has it already")]
    Issuer,
    /// Another cluster knows workloads by their addresses.
    #[error(
        "pod_address: true for one cluster at most, with client_address_header and client_address_set_by_proxy in \
         rate_limits"
    )]
    PodAddress,
    /// Nothing checks tokens.
    #[error("keys, or token_review with api, is needed")]
    NoProof,
    /// `token_review` or `pod_address` without an API server to ask.
    #[error("api: needed for token_review and pod_address")]
    NoApi,
    /// The key set in `keys`.
    #[error("keys: not a usable JWK set")]
    Keys,
    /// A URL that is not one of HTTPS.
    #[error("{0}: https://host[:port], an API server without path")]
    Url(&'static str),
}

impl Clusters {
    /// Checks what the operator wrote. `addresses` says whether clients' addresses are known, `loopback` whether plain HTTP to
    /// 127.0.0.1 is allowed, for throwaway stacks.
    ///
    /// # Errors
    /// The name of the cluster and what is wrong with it.
    pub fn new(
        configs: BTreeMap<String, ClusterConfig>,
        addresses: bool,
        loopback: bool,
    ) -> Result<Self, (String, BadCluster)> {
        let (mut clusters, mut issuers) = (Vec::new(), BTreeSet::new());
        for (name, config) in configs {
            let fresh = issuers.insert(config.issuer.clone());
            let cluster = Cluster::new(&name, config, loopback).and_then(|cluster| {
                let rival = clusters.iter().any(|other: &Cluster| other.pod_address);
                match cluster {
                    _ if !fresh => Err(BadCluster::Issuer),
                    cluster if cluster.pod_address && (rival || !addresses) => Err(BadCluster::PodAddress),
                    cluster => Ok(cluster),
                }
            });
            clusters.push(cluster.map_err(|error| (name, error))?);
        }
        Ok(Self(clusters))
    }

    /// The cluster that makes tokens with this issuer.
    #[must_use]
    pub fn of_issuer(&self, issuer: &str) -> Option<&Cluster> {
        self.0.iter().find(|cluster| cluster.rules.issuer() == issuer)
    }

    /// The cluster that knows workloads by their addresses.
    #[must_use]
    pub fn by_address(&self) -> Option<&Cluster> {
        self.0.iter().find(|cluster| cluster.pod_address)
    }

    /// The names of the clusters with an API server.
    pub fn with_api(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|cluster| cluster.api.is_some()).map(|cluster| cluster.name.as_str())
    }

    /// True when some workload of some cluster could have this name.
    #[must_use]
    pub fn could_name(&self, identifier: &Identifier, wildcard: bool) -> bool {
        self.0.iter().any(|cluster| cluster.rules.could_name(identifier, wildcard))
    }
}

impl Cluster {
    fn new(name: &str, config: ClusterConfig, loopback: bool) -> Result<Self, BadCluster> {
        let rules = RulesConfig {
            issuer: config.issuer,
            audience: config.audience,
            allow_unbound_audience: config.allow_unbound_audience,
            names: config.names,
            service_accounts: config.service_accounts,
            max_token_seconds: config.max_token_seconds,
        };
        let rules = Rules::new(name, rules)?;
        if config.keys.is_none() && !config.token_review {
            return Err(BadCluster::NoProof);
        }
        if config.api.is_none() && (config.token_review || config.pod_address) {
            return Err(BadCluster::NoApi);
        }
        if let Some(api) = &config.api {
            let path = api.url.split_once("://").is_none_or(|(_, host)| host.contains('/'));
            if path || !is_url(&api.url, loopback) {
                return Err(BadCluster::Url("api.url"));
            }
        }
        let keys = match config.keys {
            None => None,
            Some(KeysConfig::Inline(text)) => {
                Some(Keys::Inline(KeySet::parse(text.as_bytes()).map_err(|_| BadCluster::Keys)?))
            }
            Some(KeysConfig::At(endpoint)) if is_url(&endpoint.url, loopback) => Some(Keys::At(endpoint)),
            Some(KeysConfig::At(_)) => return Err(BadCluster::Url("keys.url")),
        };
        Ok(Self {
            name: name.to_owned(),
            rules,
            keys,
            api: config.api,
            token_review: config.token_review,
            pod_address: config.pod_address,
        })
    }
}

const fn an_hour() -> u64 {
    3600
}

fn is_url(url: &str, loopback: bool) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'@' | b'"' | b'\\');
    let host = match url.strip_prefix("https://") {
        Some(host) => host,
        None if loopback && url.starts_with("http://127.0.0.1:") => url,
        None => return false,
    };
    !host.is_empty() && !host.starts_with('/') && host.bytes().all(allowed)
}
