//! What of a cluster's tokens is accepted, and which names its workloads have by them.

use super::{
    refusal::BadToken,
    template::{BadTemplate, NameTemplate, is_label},
    token::{Terms, Unverified},
    workload::{ServiceAccountPattern, Workload},
};
use crate::{identifier::Identifier, timestamp::Timestamp};

/// A cluster as an operator describes it.
#[derive(Clone, Debug)]
pub struct RulesConfig {
    /// `iss` of its tokens.
    pub issuer: String,
    /// What the audience of its tokens for us begins with.
    pub audience: String,
    /// True: the audience alone is enough, without the digest that binds a token to an account and a challenge.
    pub allow_unbound_audience: bool,
    /// Templates of the names that its workloads may have.
    pub names: Vec<String>,
    /// `NAMESPACE/NAME`, `*` for any: who may have names; nothing for all.
    pub service_accounts: Option<Vec<String>>,
    /// The longest time from a token's `iat` to its `exp`, in seconds.
    pub max_token_seconds: u64,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub struct Rules {
    issuer: String,
    audience: String,
    allow_unbound_audience: bool,
    max_token_seconds: u64,
    names: Vec<NameTemplate>,
    service_accounts: Option<Vec<ServiceAccountPattern>>,
}

/// What is wrong with the description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// Not a DNS label: `{cluster}` stands for it.
    #[error("a cluster's name is a DNS label in lower case")]
    Name,
    /// `issuer` or `audience` is empty.
    #[error("{0}: must not be empty")]
    Empty(&'static str),
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

impl Rules {
    /// Checks the description of the cluster of this name.
    ///
    /// # Errors
    /// [`BadRules`].
    pub fn new(name: &str, config: RulesConfig) -> Result<Self, BadRules> {
        if !is_label(name) {
            return Err(BadRules::Name);
        }
        for (key, text) in [("issuer", &config.issuer), ("audience", &config.audience)] {
            if text.is_empty() {
                return Err(BadRules::Empty(key));
            }
        }
        if !(1..=86_400).contains(&config.max_token_seconds) {
            return Err(BadRules::MaxTokenSeconds);
        }
        let pattern = |text: String| ServiceAccountPattern::parse(&text).ok_or(BadRules::ServiceAccount(text));
        let patterns = config.service_accounts.map(|texts| texts.into_iter().map(pattern).collect());
        let service_accounts: Option<Vec<_>> = patterns.transpose()?;
        let by_namespace =
            service_accounts.as_ref().is_some_and(|all| all.iter().all(ServiceAccountPattern::names_a_namespace));
        let template = |text: String| match NameTemplate::parse(&text, name) {
            Ok(template) if template.has_namespace() || by_namespace => Ok(template),
            Ok(_) => Err(BadRules::Template(text, BadTemplate::AnyNamespace)),
            Err(error) => Err(BadRules::Template(text, error)),
        };
        let names = config.names.into_iter().map(template).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(BadRules::NoNames);
        }
        Ok(Self {
            issuer: config.issuer,
            audience: config.audience,
            allow_unbound_audience: config.allow_unbound_audience,
            max_token_seconds: config.max_token_seconds,
            names,
            service_accounts,
        })
    }

    /// `iss` of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Checks all of a token but its signature, at this time. `digest` is what a bound audience ends in. Gives the audience.
    ///
    /// # Errors
    /// [`BadToken`] of [`Unverified::check`].
    pub fn check(&self, token: &Unverified<'_>, digest: &str, at: Timestamp) -> Result<String, BadToken> {
        let terms = Terms {
            bound: &format!("{}/{digest}", self.audience),
            unbound: self.allow_unbound_audience.then_some(self.audience.as_str()),
            max_seconds: self.max_token_seconds,
            now: at,
        };
        token.check(&terms)?;
        token.audience(&terms).map(str::to_owned)
    }

    /// Whether the workload has this name: an identifier as an order writes it, or one without its wildcard.
    ///
    /// # Errors
    /// [`BadToken::ServiceAccount`], [`BadToken::Name`].
    pub fn give(&self, workload: &Workload, identifier: &Identifier, wildcard: bool) -> Result<(), BadToken> {
        let admits = |patterns: &Vec<ServiceAccountPattern>| patterns.iter().any(|pattern| pattern.admits(workload));
        if !self.service_accounts.as_ref().is_none_or(admits) {
            return Err(BadToken::ServiceAccount);
        }
        let name = full_name(identifier, wildcard);
        let mut given = self.names.iter().filter_map(|template| template.name_of(workload));
        if given.any(|given| given.as_str() == name) { Ok(()) } else { Err(BadToken::Name) }
    }

    /// True when some workload could have this name.
    #[must_use]
    pub fn could_name(&self, identifier: &Identifier, wildcard: bool) -> bool {
        let name = full_name(identifier, wildcard);
        self.names.iter().any(|template| template.could_be(&name))
    }
}

/// The identifier as an order has it; addresses are no names, and no template is like one.
fn full_name(identifier: &Identifier, wildcard: bool) -> String {
    match identifier {
        Identifier::Dns(name) if wildcard => format!("*.{name}"),
        Identifier::Dns(name) => name.to_string(),
        Identifier::Ip(_) => String::new(),
    }
}
