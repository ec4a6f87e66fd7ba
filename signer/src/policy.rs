//! What this signer signs, whatever an edge says: which edges may call, which names a scope gives, which profiles there are.

mod cluster;
mod scope;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, ensure};
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    identifier::DnsName,
    profile::{BadProfile, Profile, ProfileConfig, ProfileName, Revocation},
    signing::{Refusal, Refused},
};

pub(crate) use self::{
    cluster::{ClusterConfig, Clusters, Proofs},
    scope::{Asking, Key, NotGiven, Scope},
};
use crate::{
    admit::refused,
    budget::Budget,
    config::{EdgeConfig, ScopeConfig},
    place::At,
    settings::GrantSettings,
};

/// Certificates that an edge may disown in a day, where the configuration does not say.
const DISOWNED_PER_DAY: u32 = 100;

/// SHA-256 of everything that a policy says.
pub(crate) type PolicyHash = [u8; 32];

/// The policy, checked.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// By the edge's identity.
    edges: BTreeMap<String, Edge>,
    profiles: BTreeMap<ProfileName, Profile>,
    scopes: Vec<Scope>,
    clusters: Clusters,
    hash: PolicyHash,
    /// Nothing when no account can be bound.
    grants: Option<GrantSettings>,
}

/// What one edge may do.
#[derive(Clone, Debug)]
struct Edge {
    /// Without a slash at the end.
    base_urls: Vec<String>,
    /// What it may disown; nothing at all without.
    disowns: Option<Budget>,
}

/// What is hashed: the configuration as it was read.
#[derive(Serialize)]
struct Whole<'a> {
    edge: &'a [EdgeConfig],
    profile: &'a [ProfileConfig],
    scope: &'a [ScopeConfig],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cluster: &'a [ClusterConfig],
}

impl Policy {
    /// Checks the policy's part of the configuration.
    pub(crate) fn check(
        edges: Vec<EdgeConfig>,
        profiles: Vec<ProfileConfig>,
        scopes: Vec<ScopeConfig>,
        clusters: Clusters,
    ) -> anyhow::Result<Self> {
        let whole =
            serde_json::to_vec(&Whole { edge: &edges, profile: &profiles, scope: &scopes, cluster: clusters.read() })?;
        let hash = Sha256::digest(whole).into();
        let mut policy = Self {
            edges: BTreeMap::new(),
            profiles: BTreeMap::new(),
            scopes: Vec::new(),
            clusters,
            hash,
            grants: None,
        };
        for (position, edge) in edges.into_iter().enumerate() {
            policy.add_edge(edge).at(position).at("edge")?;
        }
        for (position, config) in profiles.into_iter().enumerate() {
            policy.add_profile(config).at(position).at("profile")?;
        }
        let mut names = BTreeSet::new();
        for (position, config) in scopes.into_iter().enumerate() {
            let scope = if names.insert(config.name.clone()) {
                Scope::check(config, &policy)
            } else {
                Err(anyhow!("the scope {} stands twice", config.name)).at("name")
            };
            policy.scopes.push(scope.at(position).at("scope")?);
        }
        ensure!(!policy.edges.is_empty(), "there is no [[edge]]: nobody could call");
        ensure!(!policy.profiles.is_empty(), "there is no [[profile]]");
        ensure!(!policy.scopes.is_empty(), "there is no [[scope]]: no name could be certified");
        Ok(policy)
    }

    fn add_edge(&mut self, EdgeConfig { name, base_urls, disowned_per_day }: EdgeConfig) -> anyhow::Result<()> {
        let identity: DnsName = name.parse().map_err(|error| anyhow!("edge {name:?}: {error}")).at("name")?;
        if base_urls.is_empty() {
            return Err(anyhow!("edge {name}: base_urls is empty")).at("base_urls");
        }
        for (position, url) in base_urls.iter().enumerate() {
            let host = url.strip_prefix("https://").unwrap_or_default();
            if host.is_empty() || url.ends_with('/') {
                let mistake = "a base URL is https://… without a slash at its end";
                return Err(anyhow!("edge {name}: {mistake}, not {url:?}")).at(position).at("base_urls");
            }
        }
        let disowns = match disowned_per_day.unwrap_or(DISOWNED_PER_DAY) {
            0 => None,
            most => Some(Budget::per_day(most)),
        };
        let other = self.edges.insert(identity.to_string(), Edge { base_urls, disowns });
        if other.is_some() { Err(anyhow!("the edge {name} stands twice")).at("name") } else { Ok(()) }
    }

    fn add_profile(&mut self, config: ProfileConfig) -> anyhow::Result<()> {
        let profile = Profile::try_from(config).or_else(|error| {
            let key = match error {
                BadProfile::Validity(_) => "validity_seconds",
                BadProfile::Backdate(_) => "backdate_seconds",
                BadProfile::ExtendedKeyUsage(_) => "extended_key_usage",
                _ => "name",
            };
            Err(error).at(key)
        })?;
        let name = profile.name().clone();
        let other = self.profiles.insert(name.clone(), profile);
        if other.is_some() { Err(anyhow!("the profile {name} stands twice")).at("name") } else { Ok(()) }
    }

    /// True when a client certificate with this DNS name is one of the edges.
    pub(crate) fn knows_edge(&self, identity: &str) -> bool {
        self.edges.contains_key(identity)
    }

    /// The identities of all edges.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &str> {
        self.edges.keys().map(String::as_str)
    }

    /// The base URL of this edge under which `url` lies.
    pub(crate) fn base_url(&self, edge: &str, url: &str) -> Option<&str> {
        let is_below = |base: &&String| url.strip_prefix(base.as_str()).is_some_and(|rest| rest.starts_with('/'));
        self.edges.get(edge)?.base_urls.iter().find(is_below).map(String::as_str)
    }

    /// How many certificates this edge may disown; nothing when it may disown none.
    pub(crate) fn disowns(&self, edge: &str) -> Option<&Budget> {
        self.edges.get(edge)?.disowns.as_ref()
    }

    /// The profile of this name.
    pub(crate) fn profile(&self, name: &ProfileName) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All profiles.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// True when the status of some certificates is told.
    pub(crate) fn has_status(&self) -> bool {
        self.profiles.values().any(|profile| profile.revocation() != Revocation::None)
    }

    /// True when some certificates are on CRLs once they are revoked.
    pub(crate) fn has_crl(&self) -> bool {
        self.profiles.values().any(|profile| profile.revocation().has_crl())
    }

    /// All scopes, in the order of the configuration.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The clusters whose tokens prove names.
    pub(crate) const fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// The same policy for accounts that can be bound.
    pub(crate) fn with_grants(self, grants: Option<GrantSettings>) -> Self {
        Self { grants, ..self }
    }

    /// What makes and verifies grants.
    ///
    /// # Errors
    /// [`Refusal::BadGrant`] when no account can be bound.
    pub(crate) fn grants(&self) -> Result<&GrantSettings, Refused> {
        self.grants.as_ref().ok_or_else(|| refused(Refusal::BadGrant, "this signer has no [grants]"))
    }

    /// True when there is a scope of this name.
    pub(crate) fn has_scope(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.name() == name)
    }

    /// The base URLs of all edges.
    pub(crate) fn base_urls(&self) -> impl Iterator<Item = &str> {
        self.edges.values().flat_map(|edge| &edge.base_urls).map(String::as_str)
    }

    /// SHA-256 of everything that it says.
    pub(crate) const fn hash(&self) -> PolicyHash {
        self.hash
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::grant::{GrantKeys, Rights};
    use shared::{identifier::Identifier, public_key::KeyKind, signing::ProvenIdentifier, timestamp::Timestamp};

    /// The same, with these keys of grants and no bindings.
    pub(crate) fn bound_policy(keys: GrantKeys) -> Policy {
        let grants = GrantSettings { keys, lifetime: 100, bindings: "bindings.json".into(), files: Vec::new() };
        policy().with_grants(Some(grants))
    }

    /// The policy of the configuration that `cargo xtask up` writes, but for the suffixes.
    pub(crate) fn policy() -> Policy {
        let toml = r#"
            [[edge]]
            name = "edge.colophon.internal"
            base_urls = ["https://ca.test"]
            [[profile]]
            name = "server"
            validity_seconds = 86400
            backdate_seconds = 60
            extended_key_usage = ["serverAuth"]
            revocation = "none"
            [[scope]]
            name = "open"
            open = true
            dns_suffixes = ["a.test"]
            wildcards = true
            methods = ["http-01", "dns-01"]
            profiles = ["server"]
            [[scope]]
            name = "plain"
            open = true
            dns_suffixes = ["b.test", "lan"]
            wildcards = false
            methods = ["dns-01"]
            profiles = ["server"]
            [[scope]]
            name = "estate"
            open = true
            dns_suffixes = []
            wildcards = true
            single_labels = true
            ip_networks = ["10.0.0.0/8", "fd00::/8"]
            methods = ["http-01", "dns-01"]
            profiles = ["server"]
            [[scope]]
            name = "closed"
            open = false
            dns_suffixes = ["c.test"]
            wildcards = true
            methods = ["dns-01"]
            profiles = ["server"]
        "#;
        #[derive(serde::Deserialize)]
        struct Part {
            edge: Vec<EdgeConfig>,
            profile: Vec<ProfileConfig>,
            scope: Vec<ScopeConfig>,
        }
        let Part { edge, profile, scope } = toml::from_str(toml).unwrap();
        Policy::check(edge, profile, scope, Clusters::default()).unwrap()
    }

    fn permits(names: &[(&str, &str)]) -> bool {
        let identifier =
            |text: &str| text.parse().map_or_else(|_| Identifier::Dns(text.parse().unwrap()), Identifier::Ip);
        let proven = |(name, method): &(&str, &str)| ProvenIdentifier {
            identifier: identifier(name),
            method: (*method).to_owned(),
            validated: Timestamp::from_seconds(0),
            evidence: None,
        };
        let names: Vec<_> = names.iter().map(proven).collect();
        let (policy, profile) = (policy(), "server".parse().unwrap());
        let asking = Asking {
            edge: "edge.colophon.internal",
            rights: &Rights::Open,
            names: &names,
            profile: &profile,
            key: KeyKind::P256,
            now: Some(Timestamp::from_seconds(0)),
            proofs: &Proofs::Supposed,
        };
        policy.scopes().iter().any(|scope| scope.gives(&asking).is_ok())
    }

    #[test]
    fn a_scope_gives_names_under_its_suffixes_by_its_methods() {
        assert!(permits(&[("x.a.test", "http-01"), ("a.test", "dns-01")]));
        assert!(!permits(&[("xa.test", "http-01")]));
        assert!(!permits(&[("x.a.test", "tls-alpn-01")]));
        assert!(!permits(&[("x.b.test", "http-01")]));
    }

    #[test]
    fn wildcards_need_a_scope_that_has_them_and_no_proof_by_a_host() {
        assert!(permits(&[("*.a.test", "dns-01")]));
        assert!(!permits(&[("*.a.test", "http-01")]));
        assert!(!permits(&[("*.b.test", "dns-01")]));
    }

    #[test]
    fn one_scope_must_give_all_names() {
        assert!(permits(&[("x.b.test", "dns-01")]));
        assert!(!permits(&[("x.a.test", "dns-01"), ("x.b.test", "dns-01")]));
    }

    #[test]
    fn a_closed_scope_gives_nothing_to_accounts_without_a_binding() {
        assert!(!permits(&[("x.c.test", "dns-01")]));
    }

    #[test]
    fn addresses_are_given_by_networks_and_proved_at_the_address() {
        assert!(permits(&[("10.1.2.3", "http-01"), ("fd00::1", "http-01"), ("db1", "http-01")]));
        assert!(!permits(&[("10.1.2.3", "dns-01")]));
        assert!(!permits(&[("192.0.2.1", "http-01")]));
        assert!(!permits(&[("fe80::1", "http-01")]));
        assert!(!permits(&[("10.1.2.3", "http-01"), ("x.a.test", "http-01")]), "no scope has both");
    }

    #[test]
    fn names_of_one_label_need_a_scope_that_has_them() {
        assert!(permits(&[("db1", "http-01")]) && permits(&[("lan", "http-01")]));
        assert!(!permits(&[("lan", "dns-01"), ("x.lan", "dns-01")]), "the suffix itself is one label");
        assert!(permits(&[("x.lan", "dns-01")]));
        assert!(!permits(&[("*.db1", "dns-01")]), "a wildcard has two");
    }

    #[test]
    fn a_scope_with_a_network_that_is_none_is_refused() {
        let scope = |network: &str| {
            let toml = format!(
                "name = \"s\"\nopen = true\ndns_suffixes = []\nwildcards = false\nip_networks = [{network:?}]\n\
                 methods = [\"http-01\"]\nprofiles = []"
            );
            Scope::check(toml::from_str(&toml).unwrap(), &policy())
        };
        assert!(scope("10.0.0.0/8").is_ok());
        let error = format!("{:#}", scope("10.0.0.1/8").unwrap_err());
        assert!(error.starts_with("scope s: \"10.0.0.1/8\": a network is"), "{error}");
    }

    #[test]
    fn an_edge_speaks_for_urls_below_its_base_alone() {
        let policy = policy();
        let edge = "edge.colophon.internal";
        assert_eq!(policy.base_url(edge, "https://ca.test/acme/order/a/b"), Some("https://ca.test"));
        assert_eq!(policy.base_url(edge, "https://ca.test.evil.test/acme/order/a/b"), None);
        assert_eq!(policy.base_url(edge, "https://ca.test"), None);
        assert_eq!(policy.base_url("other", "https://ca.test/acme/order/a/b"), None);
    }
}
