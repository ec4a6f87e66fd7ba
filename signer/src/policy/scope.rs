//! A scope: who may have which names, proven how, under which profiles and keys, and how many in what time.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use shared::{
    identifier::{DnsName, Identifier},
    network::Network,
    profile::ProfileName,
    public_key::KeyKind,
    signing::{PRE_APPROVED, ProvenIdentifier},
    timestamp::Timestamp,
};

use super::{
    Policy,
    cluster::{KUBERNETES, NoProof, Proofs},
};
use crate::{budget::Budget, config::ScopeConfig, grant::Rights, place::At};

/// What may count as proof: challenge types (RFC 8555 §9.7.8), and that the edge's own scope demands none.
const METHODS: [&str; 7] =
    ["http-01", "dns-01", "tls-alpn-01", "dns-account-01", "dns-persist-01", KUBERNETES, PRE_APPROVED];
/// Those that never prove a wildcard: who holds a host does not hold the names beside it (RFC 8555 §7.1.3, RFC 8737 §3).
const NO_WILDCARDS: [&str; 2] = ["http-01", "tls-alpn-01"];
/// Those that prove an address: never by DNS (RFC 8738 §7).
const ADDRESS_METHODS: [&str; 3] = ["http-01", "tls-alpn-01", PRE_APPROVED];
/// Seconds that a proof counts where the operator says nothing.
const PROOF_SECONDS: u64 = 30 * 86_400;
/// Seconds that the clock of an edge may be ahead of ours.
const AHEAD_SECONDS: u64 = 300;

/// A kind of key that a scope may be limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Key {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of any size that is taken at all.
    Rsa,
}

/// Which names accounts may have.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    name: String,
    open: bool,
    dns_suffixes: Vec<DnsName>,
    wildcards: bool,
    single_labels: bool,
    ip_networks: Vec<Network>,
    methods: BTreeSet<String>,
    profiles: BTreeSet<ProfileName>,
    proof_seconds: u64,
    /// None: all.
    keys: Option<BTreeSet<Key>>,
    /// Clusters whose tokens prove names here; nothing when the edge's word is taken.
    clusters: Option<BTreeSet<String>>,
    /// None: all.
    edges: Option<BTreeSet<String>>,
    budget: Budget,
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) edge: &'a str,
    pub(crate) rights: &'a Rights,
    pub(crate) names: &'a [ProvenIdentifier],
    pub(crate) profile: &'a ProfileName,
    pub(crate) key: KeyKind,
    /// Nothing for what was decided on before: its proofs were judged then.
    pub(crate) now: Option<Timestamp>,
    /// What proves those of the names that have the method kubernetes-01.
    pub(crate) proofs: &'a Proofs,
}

/// Why a scope does not give it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotGiven {
    /// For other accounts.
    #[error("it is not open to accounts without an external account binding")]
    Account,
    /// For other edges.
    #[error("the edge {0} may not ask for it")]
    Edge(String),
    /// Without this profile.
    #[error("it does not have the profile {0}")]
    Profile(ProfileName),
    /// For other keys.
    #[error("it does not have keys of this kind")]
    Key,
    /// This does not prove anything here.
    #[error("{0} does not count as proof of {1}")]
    Method(String, String),
    /// No token proves it.
    #[error("{0} is not proved by kubernetes-01: {1}")]
    Proof(String, NoProof),
    /// Other names.
    #[error("it does not have the name {0}")]
    Name(String),
    /// Of another time.
    #[error("the proof of {0} is too old, or not of the past")]
    Age(String),
}

impl Scope {
    pub(super) fn check(config: ScopeConfig, policy: &Policy) -> anyhow::Result<Self> {
        let ScopeConfig {
            name,
            open,
            dns_suffixes,
            wildcards,
            single_labels,
            ip_networks,
            methods,
            profiles: allowed,
            proof_seconds,
            keys,
            edges,
            clusters,
            kubernetes_trusts_edge,
            budget,
        } = config;
        let known = |method: &String| METHODS.contains(&method.as_str());
        each("methods", &methods, known, |method| {
            anyhow!("scope {name}: the method {method:?} is unknown; known are {METHODS:?}")
        })?;
        let known = |profile: &ProfileName| policy.profile(profile).is_some();
        each("profiles", &allowed, known, |profile| anyhow!("scope {name}: there is no profile {profile}"))?;
        let known = |edge: &String| policy.knows_edge(edge);
        each("edges", edges.as_deref().unwrap_or_default(), known, |edge| {
            anyhow!("scope {name}: there is no edge {edge}")
        })?;
        let known = |cluster: &String| policy.clusters.has(cluster);
        each("clusters", &clusters, known, |cluster| anyhow!("scope {name}: there is no cluster {cluster}"))?;
        if kubernetes_trusts_edge && !clusters.is_empty() {
            let mistake = anyhow!("scope {name}: clusters and kubernetes_trusts_edge exclude each other");
            return Err(mistake).at("kubernetes_trusts_edge");
        }
        let suffix = |(position, text): (usize, String)| match text.parse::<DnsName>() {
            Ok(suffix) if !suffix.is_wildcard() && suffix.as_str() == text => Ok(suffix),
            _ => Err(anyhow!("scope {name}: {text:?} is not a DNS suffix in lower case without a leading dot"))
                .at(position)
                .at("dns_suffixes"),
        };
        let dns_suffixes = dns_suffixes.into_iter().enumerate().map(suffix).collect::<anyhow::Result<_>>()?;
        let network = |(position, text): (usize, String)| {
            text.parse().with_context(|| format!("scope {name}: {text:?}")).at(position).at("ip_networks")
        };
        let ip_networks = ip_networks.into_iter().enumerate().map(network).collect::<anyhow::Result<_>>()?;
        let budget = budget.check().at("budget").with_context(|| format!("scope {name}"))?;
        Ok(Self {
            name,
            open,
            dns_suffixes,
            wildcards,
            single_labels,
            ip_networks,
            methods: methods.into_iter().collect(),
            profiles: allowed.into_iter().collect(),
            proof_seconds: proof_seconds.unwrap_or(PROOF_SECONDS),
            keys: keys.map(BTreeSet::from_iter),
            clusters: (!kubernetes_trusts_edge).then(|| clusters.into_iter().collect()),
            edges: edges.map(BTreeSet::from_iter),
            budget,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The suffixes of the names that it gives.
    pub(crate) fn dns_suffixes(&self) -> &[DnsName] {
        &self.dns_suffixes
    }

    /// The networks of the addresses that it gives.
    pub(crate) fn ip_networks(&self) -> &[Network] {
        &self.ip_networks
    }

    /// How many certificates it may have.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether it gives all that is asked for.
    ///
    /// # Errors
    /// The first thing that it does not give.
    pub(crate) fn gives(&self, asking: &Asking<'_>) -> Result<(), NotGiven> {
        let is_theirs = match asking.rights {
            Rights::Open => self.open,
            Rights::Bound { scope, .. } => self.name == *scope,
        };
        if !is_theirs {
            return Err(NotGiven::Account);
        }
        if self.edges.as_ref().is_some_and(|edges| !edges.contains(asking.edge)) {
            return Err(NotGiven::Edge(asking.edge.to_owned()));
        }
        if !self.profiles.contains(asking.profile) {
            return Err(NotGiven::Profile(asking.profile.clone()));
        }
        if self.keys.as_ref().is_some_and(|keys| !keys.contains(&Key::of(asking.key))) {
            return Err(NotGiven::Key);
        }
        asking.names.iter().try_for_each(|name| self.gives_identifier(name, asking.proofs))?;
        let Some(now) = asking.now else { return Ok(()) };
        let is_old = |name: &&ProvenIdentifier| {
            name.validated.plus(self.proof_seconds) < now || name.validated > now.plus(AHEAD_SECONDS)
        };
        let old = asking.names.iter().find(is_old);
        old.map_or(Ok(()), |name| Err(NotGiven::Age(name.identifier.to_string())))
    }

    fn gives_identifier(&self, proven: &ProvenIdentifier, proofs: &Proofs) -> Result<(), NotGiven> {
        let (method, identifier) = (proven.method.as_str(), &proven.identifier);
        let method_fits = self.methods.contains(method)
            && match identifier {
                Identifier::Dns(name) => !name.is_wildcard() || !NO_WILDCARDS.contains(&method),
                Identifier::Ip(_) => ADDRESS_METHODS.contains(&method),
            };
        if !method_fits {
            return Err(NotGiven::Method(method.to_owned(), identifier.to_string()));
        }
        let has = match identifier {
            Identifier::Dns(name) => self.has_name(name),
            Identifier::Ip(address) => self.ip_networks.iter().any(|network| network.contains(*address)),
        };
        if !has {
            return Err(NotGiven::Name(identifier.to_string()));
        }
        match &self.clusters {
            Some(clusters) if method == KUBERNETES => {
                proofs.admit(identifier, clusters).map_err(|why| NotGiven::Proof(identifier.to_string(), why))
            }
            _ => Ok(()),
        }
    }

    fn has_name(&self, name: &DnsName) -> bool {
        let within = || self.dns_suffixes.iter().any(|suffix| name.is_within(suffix.as_str()));
        (!name.is_wildcard() || self.wildcards) && if name.is_single_label() { self.single_labels } else { within() }
    }
}

/// Whether all values of a key are known.
///
/// # Errors
/// What is wrong with the first that is not.
fn each<T>(
    key: &'static str,
    values: &[T],
    known: impl Fn(&T) -> bool,
    mistake: impl Fn(&T) -> anyhow::Error,
) -> anyhow::Result<()> {
    let unknown = values.iter().enumerate().find(|(_, value)| !known(value));
    unknown.map_or(Ok(()), |(position, value)| Err(mistake(value)).at(position).at(key))
}

impl Key {
    const fn of(kind: KeyKind) -> Self {
        match kind {
            KeyKind::P256 => Self::P256,
            KeyKind::P384 => Self::P384,
            KeyKind::Rsa(_) => Self::Rsa,
        }
    }
}
