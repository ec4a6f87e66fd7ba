//! Scopes: which identifiers an account may order, how it proves them, and where its probes may go. Accounts with an external
//! account binding that a scope lists have that scope; all others have the open one, which the rest of the configuration
//! describes. The signer has scopes of its own and trusts none of this.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use shared::identifier::Identifier;

use super::{
    challenge::ChallengeType,
    config::BadConfig,
    kubernetes::cluster::{ClusterConfig, Clusters},
    network::Networks,
    policy::{IdentifierRules, IdentifiersConfig},
    record::AccountRecord,
    validation::parse_networks,
};

/// A scope as an operator writes it. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeConfig {
    /// Key ids of the external account bindings whose accounts have this scope; no binding has two.
    pub bindings: BTreeSet<String>,
    /// Which identifiers orders may have.
    pub identifiers: IdentifiersConfig,
    /// In place of `validation.challenges`: the challenges that are offered, of those that fit the identifier.
    #[serde(default)]
    pub challenges: Option<BTreeSet<ChallengeType>>,
    /// In place of `validation.networks`.
    #[serde(default)]
    pub networks: Option<Vec<String>>,
    /// True: nothing needs to be proved. Authorizations of these identifiers are valid from the start.
    #[serde(default)]
    pub pre_approved: bool,
    /// In place of `kubernetes`: the clusters whose workloads may prove names by kubernetes-01.
    #[serde(default)]
    pub kubernetes: Option<BTreeMap<String, ClusterConfig>>,
    /// In place of `validation.caa`.
    #[serde(default)]
    pub caa: Option<bool>,
}

/// A checked scope.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Which one.
    pub name: ScopeName,
    /// Which identifiers orders may have.
    pub identifiers: IdentifierRules,
    /// See [`ScopeConfig::challenges`].
    pub challenges: BTreeSet<ChallengeType>,
    /// Where probes may go.
    pub networks: Networks,
    /// See [`ScopeConfig::pre_approved`].
    pub pre_approved: bool,
    /// CAA records must permit each certificate.
    pub caa: bool,
    /// The clusters whose workloads may prove names by kubernetes-01.
    pub kubernetes: Arc<Clusters>,
}

/// The name of a scope; empty for the open one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScopeName(String);

/// All scopes of a deployment.
#[derive(Clone, Debug)]
pub struct Scopes {
    /// That of accounts without a binding that a scope lists.
    pub open: Scope,
    named: BTreeMap<ScopeName, Scope>,
    by_binding: BTreeMap<String, ScopeName>,
}

impl Scopes {
    /// Checks what the operator wrote, under the names that the operator gave. `challenges` are those of the open scope, and of
    /// scopes that list none of their own. `addresses`: the platform names clients' addresses.
    ///
    /// # Errors
    /// [`BadConfig::Scope`] with the name of the scope, [`BadConfig::ScopeBinding`].
    pub fn new(
        identifiers: IdentifierRules,
        challenges: BTreeSet<ChallengeType>,
        networks: Networks,
        kubernetes: Clusters,
        caa: bool,
        addresses: bool,
        named: BTreeMap<String, ScopeConfig>,
    ) -> Result<Self, BadConfig> {
        let open = Scope {
            name: ScopeName::default(),
            identifiers,
            challenges,
            networks,
            pre_approved: false,
            caa,
            kubernetes: Arc::new(kubernetes),
        };
        let mut scopes = Self { open, named: BTreeMap::new(), by_binding: BTreeMap::new() };
        for (name, config) in named {
            scopes.add(&name, config, addresses).map_err(|error| BadConfig::Scope(name, Box::new(error)))?;
        }
        Ok(scopes)
    }

    fn add(&mut self, name: &str, config: ScopeConfig, addresses: bool) -> Result<(), BadConfig> {
        if name.is_empty() || config.bindings.is_empty() {
            return Err(BadConfig::ScopeNobody);
        }
        let name = ScopeName(name.to_owned());
        for binding in config.bindings {
            if self.by_binding.insert(binding.clone(), name.clone()).is_some() {
                return Err(BadConfig::ScopeBinding(binding));
            }
        }
        let networks = match config.networks {
            Some(listed) => Networks { listed: parse_networks("networks", listed)?, ..self.open.networks.clone() },
            None => self.open.networks.clone(),
        };
        let scope = Scope {
            name: name.clone(),
            identifiers: config.identifiers.try_into()?,
            challenges: config.challenges.unwrap_or_else(|| self.open.challenges.clone()),
            networks,
            pre_approved: config.pre_approved,
            caa: config.caa.unwrap_or(self.open.caa),
            kubernetes: match config.kubernetes {
                Some(clusters) => {
                    let clusters = Clusters::new(clusters, addresses, self.open.networks.loopback);
                    Arc::new(clusters.map_err(|(name, error)| BadConfig::Cluster(name, error))?)
                }
                None => Arc::clone(&self.open.kubernetes),
            },
        };
        if scope.challenges.is_empty() && !scope.pre_approved {
            return Err(BadConfig::ScopeChallenges);
        }
        self.named.insert(name, scope);
        Ok(())
    }

    /// Checks that dns-persist-01 is offered nowhere, because a CA without a name cannot be named by its records.
    ///
    /// # Errors
    /// [`BadConfig::PersistentIdentity`] with the key that lists it.
    pub fn check_without_identities(&self) -> Result<(), BadConfig> {
        let mut named = self.named.values();
        let offers = |scope: &Scope| scope.challenges.contains(&ChallengeType::DnsPersist01);
        match named.find(|scope| offers(scope)) {
            _ if offers(&self.open) => Err(BadConfig::PersistentIdentity("validation.challenges".to_owned())),
            Some(scope) => Err(BadConfig::PersistentIdentity(format!("scopes.{}.challenges", scope.name.0))),
            None => Ok(()),
        }
    }

    /// The names of all clusters with an API server, of all scopes. One name is one bearer token.
    pub fn clusters_with_api(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.open).chain(self.named.values()).flat_map(|scope| scope.kubernetes.with_api())
    }

    /// The scope of an account.
    #[must_use]
    pub fn of(&self, account: &AccountRecord) -> &Scope {
        let name = account.binding.as_ref().and_then(|binding| self.by_binding.get(&binding.key_id));
        name.map_or(&self.open, |name| self.named(name))
    }

    /// The scope of this name; the open one when there is none any more.
    #[must_use]
    pub fn named(&self, name: &ScopeName) -> &Scope {
        self.named.get(name).unwrap_or(&self.open)
    }
}

impl Scope {
    /// The challenges that can prove this identifier here.
    pub fn offered(&self, identifier: &Identifier, wildcard: bool) -> impl Iterator<Item = ChallengeType> {
        let by_cluster = self.kubernetes.could_name(identifier, wildcard);
        ChallengeType::offered(identifier, wildcard)
            .filter(move |kind| self.challenges.contains(kind) && (*kind != ChallengeType::Kubernetes01 || by_cluster))
    }
}
