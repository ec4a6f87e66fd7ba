//! The deployment's configuration: read as [`ConfigObject`] (the variable `COLOPHON`), checked once into [`Config`].

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use shared::{
    alternate_chain::AlternateChain,
    chain::{BadChain, Issuer},
    identifier::{DnsName, NotAnIdentifier},
    network::NotANetwork,
    profile::{BadProfile, ProfileName, Usage},
};

use super::{
    external_account::BindingPolicy,
    kubernetes::cluster::{BadCluster, ClusterConfig, Clusters},
    lifetimes::LifetimesConfig,
    policy::IdentifiersConfig,
    pool::config::{self as pool_config, BadSigners, SignerConfig},
    rate_limit::RateLimits,
    scope::{ScopeConfig, Scopes},
    validation::{Validation, ValidationConfig},
};
use crate::status::{
    config::{BadStatus, StatusConfig},
    document::Document,
    reconciliation_config::ReconciliationConfig,
    renewal_config::RenewalConfig,
};

/// The configuration as an operator writes it. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigObject {
    /// Tag in the names of all objects: one platform account can hold several deployments.
    pub deployment: String,
    /// What every ACME URL starts with: `https://host[:port]`, no trailing slash.
    pub base_url: String,
    /// The heading of the page for people.
    pub title: String,
    /// The root that every issuer must chain to, PEM.
    pub root_certificate: String,
    /// PEM, each a cross certificate of one of the issuers and those above it, for clients that ask for another way up
    /// (RFC 8555 §7.4.2). Their URLs carry their numbers: append, and do not reorder.
    #[serde(default)]
    pub alternate_chains: Vec<String>,
    /// True: answers carry `Colophon-Hops`, the number of object calls they took.
    pub diagnostics: bool,
    /// URL of the terms of service (RFC 8555 §7.1.1).
    #[serde(default)]
    pub terms_of_service: Option<String>,
    /// The version of those terms that is in force; another one must be agreed to anew (RFC 8555 §7.3.3).
    #[serde(default)]
    pub terms_of_service_version: Option<String>,
    /// URL of a page about the CA (RFC 8555 §7.1.1).
    #[serde(default)]
    pub website: Option<String>,
    /// The domain names of this CA in CAA records and in records of dns-persist-01 (RFC 8555 §7.1.1); without any, no scope may
    /// list that challenge.
    #[serde(default)]
    pub caa_identities: Vec<String>,
    /// Whether accounts need an external account binding (RFC 8555 §7.3.4). The signers hold their keys.
    #[serde(default)]
    pub external_account_binding: BindingPolicy,
    /// The signers; at least one.
    pub signers: Vec<SignerConfig>,
    /// By their names.
    pub profiles: BTreeMap<String, ProfileSummary>,
    /// The profile of orders that name none and whose CSR asks for no extended key usage.
    pub default_profile: String,
    /// Which names orders may have: those of accounts without a scope of their own.
    pub identifiers: IdentifiersConfig,
    /// How names are proved.
    pub validation: ValidationConfig,
    /// By their names: what accounts with certain external account bindings may order, in place of `identifiers`.
    #[serde(default)]
    pub scopes: BTreeMap<String, ScopeConfig>,
    /// By their names: clusters whose workloads prove names by kubernetes-01.
    #[serde(default)]
    pub kubernetes: BTreeMap<String, ClusterConfig>,
    /// How long things live, in seconds.
    pub lifetimes: LifetimesConfig,
    /// Sizes and counts.
    pub limits: LimitsConfig,
    /// How often; nothing is limited that is not named.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// How the status of certificates is told.
    #[serde(default)]
    pub status: StatusConfig,
    /// When clients are told to renew.
    #[serde(default)]
    pub renewal: RenewalConfig,
    /// What becomes of certificates that nobody has.
    #[serde(default)]
    pub reconciliation: ReconciliationConfig,
}

/// What the edge knows of a profile. The signer has the profile itself; this must not promise more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSummary {
    /// What it is for: shown in the directory (draft-ietf-acme-profiles §3).
    pub description: String,
    /// The longest time from notBefore to notAfter, in seconds.
    pub validity_seconds: u64,
    /// What its certificates may be used for.
    pub extended_key_usage: BTreeSet<Usage>,
    /// Whether who asks again for what it has just got, with the same key, gets that (see [`super::absorb`]).
    #[serde(default = "yes")]
    pub absorb: bool,
}

/// Sizes and counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The most URLs in one page of an orders list.
    pub orders_page: usize,
    /// Number of objects that remember spent nonces of newNonce, 1 to 256.
    pub nonce_shards: u16,
}

/// A checked configuration: nothing after this validates.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`ConfigObject::deployment`].
    pub deployment: String,
    /// See [`ConfigObject::base_url`].
    pub base_url: String,
    /// See [`ConfigObject::title`].
    pub title: String,
    /// The root certificate.
    pub root: Issuer,
    /// The root certificate as the operator gave it.
    pub root_pem: String,
    /// See [`ConfigObject::alternate_chains`].
    pub alternate_chains: Vec<AlternateChain>,
    /// See [`ConfigObject::diagnostics`].
    pub diagnostics: bool,
    /// See [`ConfigObject::terms_of_service`].
    pub terms_of_service: Option<String>,
    /// See [`ConfigObject::terms_of_service_version`].
    pub terms_of_service_version: Option<String>,
    /// See [`ConfigObject::website`].
    pub website: Option<String>,
    /// See [`ConfigObject::caa_identities`].
    pub caa_identities: Vec<DnsName>,
    /// See [`ConfigObject::external_account_binding`].
    pub external_account_binding: BindingPolicy,
    /// The signers; at least one.
    pub signers: Vec<SignerConfig>,
    /// At least one.
    pub profiles: BTreeMap<ProfileName, ProfileSummary>,
    /// One of [`Self::profiles`].
    pub default_profile: ProfileName,
    /// What accounts may order.
    pub scopes: Scopes,
    /// How names are proved.
    pub validation: Validation,
    /// How long things live.
    pub lifetimes: LifetimesConfig,
    /// Sizes and counts.
    pub limits: LimitsConfig,
    /// How often.
    pub rate_limits: RateLimits,
    /// How the status of certificates is told.
    pub status: StatusConfig,
    /// When clients are told to renew.
    pub renewal: RenewalConfig,
    /// What becomes of certificates that nobody has.
    pub reconciliation: ReconciliationConfig,
    /// The root's CRL, which may have expired since.
    pub root_crl: Option<Document>,
}

/// Why a configuration is refused at start. Each names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// `deployment` is empty or has other characters.
    #[error("deployment: 1 to 32 letters, digits and hyphens")]
    Deployment,
    /// `base_url` or a signer's `url`.
    #[error("{0}: https://host[:port] without a trailing slash")]
    Url(&'static str),
    /// `root_certificate`.
    #[error("root_certificate: {0}")]
    Root(BadChain),
    /// One of `alternate_chains`, counted from 1.
    #[error("alternate_chains: number {0}: {1}")]
    AlternateChain(usize, BadChain),
    /// `signers`.
    #[error("signers: {0}")]
    Signers(#[from] BadSigners),
    /// `profiles` has a bad name.
    #[error("profiles: {0}")]
    Profiles(BadProfile),
    /// `default_profile` is none of `profiles`.
    #[error("default_profile: must be one of profiles")]
    DefaultProfile,
    /// `identifiers.dns_suffixes`.
    #[error("identifiers.dns_suffixes: {0:?}: {1}")]
    Suffix(String, NotAnIdentifier),
    /// `identifiers.ip_networks` or `validation.networks`.
    #[error("{0}: {1:?}: {2}")]
    Network(&'static str, String, NotANetwork),
    /// `identifiers.per_order`.
    #[error("identifiers.per_order: 1 to 100")]
    PerOrder,
    /// `validation.resolvers`.
    #[error("validation: resolver {0:?} is neither https://host/path nor tcp://IP:PORT; at least one is needed")]
    Resolver(String),
    /// One of `scopes`, and what is wrong with it.
    #[error("scopes.{0}: {1}")]
    Scope(String, Box<BadConfig>),
    /// A scope without a name or without bindings.
    #[error("bindings: at least one key id, under a name that is not empty")]
    ScopeNobody,
    /// A binding of two scopes.
    #[error("bindings: {0:?} has another scope already")]
    ScopeBinding(String),
    /// `validation.challenges` is empty.
    #[error("validation.challenges: at least one, such as \"http-01\"")]
    Challenges,
    /// dns-persist-01 under this key, without `caa_identities`.
    #[error("{0}: dns-persist-01 needs caa_identities, the domain names that its records call this CA by")]
    PersistentIdentity(String),
    /// A scope that nothing can be proved in.
    #[error("challenges: at least one, unless pre_approved is true")]
    ScopeChallenges,
    /// One of `kubernetes`, and what is wrong with it.
    #[error("kubernetes.{0}: {1}")]
    Cluster(String, BadCluster),
    /// Scopes where no account can have a binding.
    #[error("scopes: external_account_binding must be \"optional\" or \"required\"")]
    ScopesWithoutBindings,
    /// `validation.perspectives` names a place that the platform does not know, or one twice.
    #[error("validation.perspectives: {0:?}: each once, of wnam, enam, sam, weur, eeur, apac, oc, afr, me")]
    Hint(String),
    /// `validation.quorum`, with the number of outcomes.
    #[error("validation.quorum: 1 to {0}, the perspectives and the account's object")]
    Quorum(usize),
    /// `validation.http` beside `validation.networks`.
    #[error("validation.http: \"socket\" where networks are listed: the platform's fetch cannot be held to addresses")]
    HttpWay,
    /// `caa_identities`.
    #[error("caa_identities: at most 10 domain names, not {0:?}; at least one where validation.caa is true")]
    CaaIdentities(Vec<String>),
    /// `limits.nonce_shards`.
    #[error("limits.nonce_shards: 1 to 256")]
    NonceShards,
    /// `rate_limits.accounts_per_address` without a header to take addresses from.
    #[error(
        "rate_limits.client_address_header: needed for accounts_per_address; \"CF-Connecting-IP\" on Cloudflare, which \
         sets it"
    )]
    AddressHeader,
    /// One of `rate_limits.client_address_header` and `rate_limits.client_address_set_by_proxy` without the other.
    #[error(
        "rate_limits.client_address_set_by_proxy: true, with client_address_header, where every request passes a \
         proxy that sets that header itself; else leave out both: a client could write any address into the header"
    )]
    AddressTrust,
    /// `rate_limits.ipv6_prefix`.
    #[error("rate_limits.ipv6_prefix: 1 to 128 bits")]
    Ipv6Prefix,
    /// One of `status`.
    #[error("status.{0}")]
    Status(#[from] BadStatus),
    /// One of the keys of `renewal`.
    #[error("renewal.{0}")]
    Renewal(&'static str),
    /// One of the keys of `reconciliation`.
    #[error("reconciliation.{0}")]
    Reconciliation(&'static str),
    /// A lifetime or a limit that is zero.
    #[error("{0}: must not be zero")]
    Zero(&'static str),
}

impl TryFrom<ConfigObject> for Config {
    type Error = BadConfig;

    fn try_from(object: ConfigObject) -> Result<Self, BadConfig> {
        let tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=32).contains(&object.deployment.len()) || !object.deployment.bytes().all(tag) {
            return Err(BadConfig::Deployment);
        }
        check_url("base_url", &object.base_url)?;
        object.signers.iter().try_for_each(|signer| check_url("signers.url", &signer.url))?;
        let profiles = object.profiles.into_iter().map(|(name, summary)| name.parse().map(|name| (name, summary)));
        let profiles: BTreeMap<ProfileName, _> = profiles.collect::<Result<_, _>>().map_err(BadConfig::Profiles)?;
        let default_profile = object.default_profile.parse().map_err(|_| BadConfig::DefaultProfile)?;
        if !profiles.contains_key(&default_profile) {
            return Err(BadConfig::DefaultProfile);
        }
        pool_config::check(&object.signers, profiles.keys())?;
        if !(1..=256).contains(&object.limits.nonce_shards) {
            return Err(BadConfig::NonceShards);
        }
        check_not_zero(&object.lifetimes, &object.limits)?;
        object.renewal.fault().map_or(Ok(()), |fault| Err(BadConfig::Renewal(fault)))?;
        object.reconciliation.fault().map_or(Ok(()), |fault| Err(BadConfig::Reconciliation(fault)))?;
        let mut alternate_chains = Vec::new();
        for pem in &object.alternate_chains {
            let number = alternate_chains.len().saturating_add(1);
            let chain = AlternateChain::from_pem(pem).map_err(|error| BadConfig::AlternateChain(number, error))?;
            alternate_chains.push(chain);
        }
        object.rate_limits.check()?;
        let caa = object.validation.caa;
        let challenges = object.validation.challenges.clone();
        if challenges.is_empty() {
            return Err(BadConfig::Challenges);
        }
        let (validation, mut networks) = object.validation.check()?;
        object.status.check(networks.loopback)?;
        networks.own.add_url(&object.base_url);
        object.signers.iter().for_each(|signer| networks.own.add_url(&signer.url));
        if object.external_account_binding == BindingPolicy::Off && !object.scopes.is_empty() {
            return Err(BadConfig::ScopesWithoutBindings);
        }
        let addresses = object.rate_limits.trusted_address_header().is_some();
        let clusters = Clusters::new(object.kubernetes, addresses, networks.loopback)
            .map_err(|(name, error)| BadConfig::Cluster(name, error))?;
        let caa_identities = check_identities(
            object.caa_identities,
            caa || object.scopes.values().any(|scope| scope.caa == Some(true)),
        )?;
        let identifiers = object.identifiers.try_into()?;
        let scopes = Scopes::new(identifiers, challenges, networks, clusters, caa, addresses, object.scopes)?;
        if caa_identities.is_empty() {
            scopes.check_without_identities()?;
        }
        let root = Issuer::from_pem(&object.root_certificate).map_err(BadConfig::Root)?;
        Ok(Self {
            root_crl: object.status.check_root_crl(&root)?,
            deployment: object.deployment,
            base_url: object.base_url,
            title: object.title,
            root,
            root_pem: object.root_certificate,
            alternate_chains,
            diagnostics: object.diagnostics,
            terms_of_service: object.terms_of_service,
            terms_of_service_version: object.terms_of_service_version,
            website: object.website,
            caa_identities,
            external_account_binding: object.external_account_binding,
            signers: object.signers,
            profiles,
            default_profile,
            scopes,
            validation,
            lifetimes: object.lifetimes,
            limits: object.limits,
            rate_limits: object.rate_limits,
            status: object.status,
            renewal: object.renewal,
            reconciliation: object.reconciliation,
        })
    }
}

/// Few enough that a challenge object can list them all (draft-ietf-acme-dns-persist-02 §3.1).
fn check_identities(texts: Vec<String>, needed: bool) -> Result<Vec<DnsName>, BadConfig> {
    let parse = |text: &String| text.parse().ok().filter(|name: &DnsName| !name.is_wildcard());
    let names: Option<Vec<_>> = texts.iter().map(parse).collect();
    match names {
        Some(names) if names.len() <= 10 && !(needed && names.is_empty()) => Ok(names),
        _ => Err(BadConfig::CaaIdentities(texts)),
    }
}

fn check_url(key: &'static str, url: &str) -> Result<(), BadConfig> {
    let host = url.strip_prefix("https://").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'"' | b'\\');
    if host.is_empty() || !host.bytes().all(allowed) { Err(BadConfig::Url(key)) } else { Ok(()) }
}

const fn yes() -> bool {
    true
}

fn check_not_zero(lifetimes: &LifetimesConfig, limits: &LimitsConfig) -> Result<(), BadConfig> {
    let values = [
        ("lifetimes.order", lifetimes.order),
        ("lifetimes.authorization", lifetimes.authorization),
        ("lifetimes.edge_nonce", lifetimes.edge_nonce),
        ("lifetimes.idle_account", lifetimes.idle_account),
        ("lifetimes.retention", lifetimes.retention),
        ("lifetimes.redrive", lifetimes.redrive),
        ("lifetimes.lease", lifetimes.lease),
        ("limits.orders_page", u64::try_from(limits.orders_page).unwrap_or(u64::MAX)),
        ("limits.body_bytes", u64::try_from(limits.body_bytes).unwrap_or(u64::MAX)),
    ];
    values.iter().find(|(_, value)| *value == 0).map_or(Ok(()), |(key, _)| Err(BadConfig::Zero(key)))
}
