//! The directory: where every client begins (RFC 8555 §7.1.1).

use std::collections::BTreeMap;

use serde::Serialize;
use shared::identifier::DnsName;

use super::{
    config::Config,
    dns_persist,
    external_account::BindingPolicy,
    problem::Problem,
    renewal_info,
    route::{Route, Urls},
};

/// A directory object. Only what works is advertised.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory<'a> {
    new_nonce: String,
    new_account: String,
    new_order: String,
    new_authz: String,
    revoke_cert: String,
    key_change: String,
    /// RFC 9773 §3.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewal_info: Option<String>,
    meta: Meta<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    caa_identities: Vec<&'a str>,
    /// draft-ietf-acme-dns-persist-02 §3.2: the same names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuer_domain_names: Vec<&'a str>,
    /// draft-ietf-acme-dns-persist-02 §3.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_hash_prefix: Option<String>,
    external_account_required: bool,
    /// draft-ietf-acme-profiles §3.
    profiles: BTreeMap<&'a str, &'a str>,
}

impl<'a> Directory<'a> {
    /// The directory as JSON over several lines: people read it, and scripts that search it line by line.
    ///
    /// # Errors
    /// Never: a directory can be serialized.
    pub fn to_json(&self) -> Result<String, Problem> {
        serde_json::to_string_pretty(self).map_err(|_| Problem::Internal("the directory cannot be serialized"))
    }

    /// The deployment's directory.
    #[must_use]
    pub fn new(config: &'a Config, urls: &Urls) -> Self {
        let identities: Vec<_> = config.caa_identities.iter().map(DnsName::as_str).collect();
        Self {
            new_nonce: urls.of(Route::NewNonce),
            new_account: urls.of(Route::NewAccount),
            new_order: urls.of(Route::NewOrder),
            new_authz: urls.of(Route::NewAuthorization),
            revoke_cert: urls.of(Route::RevokeCertificate),
            key_change: urls.of(Route::KeyChange),
            renewal_info: config.renewal.offered.then(|| urls.absolute(renewal_info::PATH)),
            meta: Meta {
                terms_of_service: config.terms_of_service.as_deref(),
                website: config.website.as_deref(),
                caa_identities: identities.clone(),
                issuer_domain_names: identities,
                account_hash_prefix: (!config.caa_identities.is_empty()).then(|| dns_persist::hash_prefix(config)),
                external_account_required: config.external_account_binding == BindingPolicy::Required,
                profiles: config
                    .profiles
                    .iter()
                    .map(|(name, profile)| (name.as_str(), profile.description.as_str()))
                    .collect(),
            },
        }
    }
}
