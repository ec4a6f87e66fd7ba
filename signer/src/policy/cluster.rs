//! Clusters: whose ServiceAccount tokens prove names by kubernetes-01. The signer checks each token itself, under its own copy of
//! the cluster's keys and by its own templates, whatever an edge says of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use shared::{
    identifier::Identifier,
    jwk::Thumbprint,
    kubernetes::{
        keys::KeySet,
        refusal::BadToken,
        rules::{BadRules, Rules, RulesConfig},
        token::Unverified,
    },
    signing::ProvenIdentifier,
    timestamp::Timestamp,
};

use crate::place::At;

/// The method that these clusters are for.
pub(crate) const KUBERNETES: &str = "kubernetes-01";
/// Seconds that an edge's clock may be ahead of ours.
const SKEW: u64 = 30;

/// A cluster as an operator writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterConfig {
    /// What scopes call it, and `{cluster}` in templates.
    pub(crate) name: String,
    /// `iss` of its tokens; no two clusters have the same.
    pub(crate) issuer: String,
    /// What the audience of its tokens for this CA begins with.
    pub(crate) audience: String,
    /// True: the audience alone is enough, without the digest that binds a token to an account and a challenge.
    #[serde(default)]
    pub(crate) allow_unbound_audience: bool,
    /// One of these two: its key set (RFC 7517 §5), or a file with it. A file is read again when it has changed.
    #[serde(default)]
    pub(crate) keys: Option<String>,
    #[serde(default)]
    pub(crate) keys_file: Option<PathBuf>,
    /// Templates of the names that its workloads may have.
    pub(crate) names: Vec<String>,
    /// `NAMESPACE/NAME`, `*` for any: who may have names; all when it is left out.
    #[serde(default)]
    pub(crate) service_accounts: Option<Vec<String>>,
    /// The longest time from a token's `iat` to its `exp`.
    #[serde(default = "an_hour")]
    pub(crate) max_token_seconds: u64,
    /// How long ago a token may have been presented.
    #[serde(default = "an_hour")]
    pub(crate) max_proof_age_seconds: u64,
}

/// All clusters, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    clusters: Vec<Cluster>,
    /// What they were read from, for the policy's hash: descriptions with the keys in them.
    read: Vec<ClusterConfig>,
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
struct Cluster {
    name: String,
    rules: Rules,
    keys: KeySet,
    max_proof_age: u64,
}

/// What the tokens of a request's names prove.
#[derive(Clone, Debug)]
pub(crate) enum Proofs {
    /// All that they could: nobody has presented any yet.
    Supposed,
    /// By the name: the cluster whose token proves it, or why nothing does.
    Checked(BTreeMap<Identifier, Result<String, NoProof>>),
}

/// Why a name is not proved by a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoProof {
    /// The scope trusts no cluster.
    #[error("the scope names no clusters whose tokens prove names")]
    NoClusters,
    /// The edge sent none.
    #[error("no token came with it")]
    Missing,
    /// It is said to have been presented in the future, or too long ago.
    #[error("its token was not presented lately")]
    Time,
    /// The token itself.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The scope does not trust the token's cluster.
    #[error("its token is of the cluster {0}, which the scope does not name")]
    Cluster(String),
}

impl Clusters {
    /// Checks what the operator wrote, and reads the key files below this folder.
    pub(crate) fn check(configs: Vec<ClusterConfig>, folder: &Path) -> anyhow::Result<Self> {
        let (mut all, mut names, mut issuers) = (Self::default(), BTreeSet::new(), BTreeSet::new());
        for (position, config) in configs.into_iter().enumerate() {
            let name = config.name.clone();
            let checked = if !names.insert(name.clone()) {
                Err(anyhow!("it stands twice")).at("name")
            } else if !issuers.insert(config.issuer.clone()) {
                Err(anyhow!("another has its issuer")).at("issuer")
            } else {
                all.add(config, folder)
            };
            checked.with_context(|| format!("cluster {name}")).at(position).at("cluster")?;
        }
        Ok(all)
    }

    fn add(&mut self, config: ClusterConfig, folder: &Path) -> anyhow::Result<()> {
        if !(1..=86_400).contains(&config.max_proof_age_seconds) {
            return Err(anyhow!("max_proof_age_seconds: 1 to 86400")).at("max_proof_age_seconds");
        }
        let text = match (&config.keys, &config.keys_file) {
            (Some(text), None) => text.clone(),
            (None, Some(file)) => {
                let file = folder.join(file);
                let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()));
                let text = text.at("keys_file")?;
                self.files.push(file);
                text
            }
            _ => bail!("a cluster has either keys or keys_file"),
        };
        let keys = KeySet::parse(text.as_bytes()).context("keys: not a usable JWK set");
        let keys = keys.at(if config.keys.is_some() { "keys" } else { "keys_file" })?;
        let read = ClusterConfig { keys: Some(text), keys_file: None, ..config.clone() };
        let rules = RulesConfig {
            issuer: config.issuer,
            audience: config.audience,
            allow_unbound_audience: config.allow_unbound_audience,
            names: config.names,
            service_accounts: config.service_accounts,
            max_token_seconds: config.max_token_seconds,
        };
        let rules = Rules::new(&config.name, rules).or_else(|error| {
            let key = key_of(&error);
            Err(error).at(key)
        })?;
        self.read.push(read);
        self.clusters.push(Cluster { name: config.name, rules, keys, max_proof_age: config.max_proof_age_seconds });
        Ok(())
    }

    /// True when there is a cluster of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.clusters.iter().any(|cluster| cluster.name == name)
    }

    /// The descriptions, with their keys.
    pub(super) fn read(&self) -> &[ClusterConfig] {
        &self.read
    }

    /// The files that keys were read from.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Checks the tokens of those names that have some. What an earlier intent has decided on may have been proved at any time.
    pub(crate) fn prove(
        &self,
        names: &[ProvenIdentifier],
        account: Thumbprint,
        now: Timestamp,
        is_decided: bool,
    ) -> Proofs {
        let tokens = names.iter().filter(|proven| proven.method == KUBERNETES);
        let prove =
            |proven: &ProvenIdentifier| (proven.identifier.clone(), self.prove_one(proven, account, now, is_decided));
        Proofs::Checked(tokens.map(prove).collect())
    }

    fn prove_one(
        &self,
        proven: &ProvenIdentifier,
        account: Thumbprint,
        now: Timestamp,
        is_decided: bool,
    ) -> Result<String, NoProof> {
        let evidence = proven.evidence.as_ref().ok_or(NoProof::Missing)?;
        let token = Unverified::parse(evidence.token.expose())?;
        let mut clusters = self.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.rules.issuer() == token.issuer()).ok_or(BadToken::Issuer)?;
        // The edge says when it was presented; our clock bounds what it can say.
        let at = proven.validated;
        let is_late = !is_decided && now.since(at) > cluster.max_proof_age;
        if at > now.plus(SKEW) || is_late {
            return Err(NoProof::Time);
        }
        cluster.rules.check(&token, &evidence.digest(account), at)?;
        token.verify(&cluster.keys)?;
        cluster.rules.give(&token.workload(), &proven.identifier, false)?;
        Ok(cluster.name.clone())
    }
}

impl Proofs {
    /// Whether one of these clusters proves this name.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(&self, identifier: &Identifier, clusters: &BTreeSet<String>) -> Result<(), NoProof> {
        if clusters.is_empty() {
            return Err(NoProof::NoClusters);
        }
        let Self::Checked(proofs) = self else { return Ok(()) };
        match proofs.get(identifier) {
            Some(Ok(cluster)) if clusters.contains(cluster) => Ok(()),
            Some(Ok(cluster)) => Err(NoProof::Cluster(cluster.clone())),
            Some(Err(why)) => Err(why.clone()),
            None => Err(NoProof::Missing),
        }
    }
}

/// The key whose value is wrong.
const fn key_of(error: &BadRules) -> &'static str {
    match error {
        BadRules::Name => "name",
        BadRules::Empty(key) => key,
        BadRules::Template(..) | BadRules::NoNames => "names",
        BadRules::ServiceAccount(_) => "service_accounts",
        BadRules::MaxTokenSeconds => "max_token_seconds",
    }
}

const fn an_hour() -> u64 {
    3600
}

#[cfg(test)]
mod tests;
