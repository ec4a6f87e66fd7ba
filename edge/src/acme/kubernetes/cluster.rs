//! Clusters: the configuration under `kubernetes`, read as [`ClusterConfig`], checked once into [`Cluster`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shared::identifier::Identifier;

use super::{
    keys::KeySet,
    template::{BadTemplate, NameTemplate, is_label},
    workload::{ServiceAccountPattern, Workload},
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
    /// See [`ClusterConfig::audience`].
    pub audience: String,
    /// See [`ClusterConfig::allow_unbound_audience`].
    pub allow_unbound_audience: bool,
    /// Its keys.
    pub keys: Option<Keys>,
    /// Its API server.
    pub api: Option<Endpoint>,
    /// See [`ClusterConfig::token_review`].
    pub token_review: bool,
    /// See [`ClusterConfig::max_token_seconds`].
    pub max_token_seconds: u64,
    issuer: String,
    pod_address: bool,
    names: Vec<NameTemplate>,
    service_accounts: Option<Vec<ServiceAccountPattern>>,
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
    /// Not a DNS label: `{cluster}` stands for it.
    #[error("a cluster's name is a DNS label in lower case")]
    Name,
    /// `issuer` or `audience` is empty.
    #[error("{0}: must not be empty")]
    Empty(&'static str),
    /// Another cluster has this issuer.
    #[error("issuer: another cluster has it already")]
    Issuer,
    /// Another cluster knows workloads by their addresses.
    #[error("pod_address: true for one cluster at most, with client_address_header in rate_limits")]
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
    /// One of `names`.
    #[error("names: {0:?}: {1}")]
    Template(String, BadTemplate),
    /// No `names`.
    #[error("names: at least one template")]
    NoNames,
    /// One of `service_accounts`.
    #[error("service_accounts: {0:?} is not NAMESPACE/NAME, with * for any")]
    ServiceAccount(String),
    /// `max_token_seconds`.
    #[error("max_token_seconds: 1 to 86400")]
    MaxTokenSeconds,
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
        self.0.iter().find(|cluster| cluster.issuer == issuer)
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
        let name = full_name(identifier, wildcard);
        self.0.iter().flat_map(|cluster| &cluster.names).any(|template| template.could_be(&name))
    }
}

impl Cluster {
    fn new(name: &str, config: ClusterConfig, loopback: bool) -> Result<Self, BadCluster> {
        if !is_label(name) {
            return Err(BadCluster::Name);
        }
        for (key, text) in [("issuer", &config.issuer), ("audience", &config.audience)] {
            if text.is_empty() {
                return Err(BadCluster::Empty(key));
            }
        }
        if !(1..=86_400).contains(&config.max_token_seconds) {
            return Err(BadCluster::MaxTokenSeconds);
        }
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
        let pattern = |text: String| ServiceAccountPattern::parse(&text).ok_or(BadCluster::ServiceAccount(text));
        let patterns = config.service_accounts.map(|texts| texts.into_iter().map(pattern).collect());
        let service_accounts: Option<Vec<_>> = patterns.transpose()?;
        let by_namespace =
            service_accounts.as_ref().is_some_and(|all| all.iter().all(ServiceAccountPattern::names_a_namespace));
        let template = |text: String| match NameTemplate::parse(&text, name) {
            Ok(template) if template.has_namespace() || by_namespace => Ok(template),
            Ok(_) => Err(BadCluster::Template(text, BadTemplate::AnyNamespace)),
            Err(error) => Err(BadCluster::Template(text, error)),
        };
        let names = config.names.into_iter().map(template).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(BadCluster::NoNames);
        }
        Ok(Self {
            name: name.to_owned(),
            audience: config.audience,
            allow_unbound_audience: config.allow_unbound_audience,
            keys,
            api: config.api,
            token_review: config.token_review,
            max_token_seconds: config.max_token_seconds,
            issuer: config.issuer,
            pod_address: config.pod_address,
            names,
            service_accounts,
        })
    }

    /// True when the service account is one of those that may have names.
    #[must_use]
    pub fn admits(&self, workload: &Workload) -> bool {
        self.service_accounts.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| pattern.admits(workload)))
    }

    /// True when a template gives the workload this name.
    #[must_use]
    pub fn names(&self, workload: &Workload, identifier: &Identifier, wildcard: bool) -> bool {
        let name = full_name(identifier, wildcard);
        self.names.iter().filter_map(|template| template.name_of(workload)).any(|given| given.as_str() == name)
    }
}

const fn an_hour() -> u64 {
    3600
}

/// The identifier as an order has it; addresses are no names, and no template is like one.
fn full_name(identifier: &Identifier, wildcard: bool) -> String {
    match identifier {
        Identifier::Dns(name) if wildcard => format!("*.{name}"),
        Identifier::Dns(name) => name.to_string(),
        Identifier::Ip(_) => String::new(),
    }
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
