//! `signer policy explain`: what each scope says of an order that nobody has made.

use std::{fmt, path::PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use shared::{
    base64url, identifier::Identifier, jwk::Thumbprint, profile::ProfileName, public_key::KeyKind,
    signing::ProvenIdentifier,
};

use crate::{
    Tokens,
    bindings::Bindings,
    clock,
    exit::Final,
    grant::Rights,
    journal,
    policy::{Asking, Proofs, Scope},
    settings::Settings,
    stops::{Stops, Subject},
};

#[derive(Debug, Args)]
pub(super) struct AskedArguments {
    /// The edge that asks; the first of the configuration unless it is said.
    #[arg(long)]
    edge: Option<String>,
    /// The profile.
    #[arg(long)]
    profile: ProfileName,
    /// The binding of the account that asks, by its key id.
    #[arg(long, value_name = "KID", conflicts_with = "account")]
    binding: Option<String>,
    /// The account that asks, by the thumbprint of its key (RFC 7638, base64url): with the binding that the journal says it has.
    #[arg(long, value_name = "THUMBPRINT")]
    account: Option<String>,
    /// How all names were proved.
    #[arg(long, default_value = "dns-01")]
    method: String,
    /// The kind of the certificate's key.
    #[arg(long, default_value = "p256", value_parser = ["p256", "p384", "rsa"])]
    key: String,
    /// Names and addresses.
    #[arg(required = true, value_parser = identifier)]
    names: Vec<Identifier>,
}

/// What one scope says.
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    scope: String,
    pub(super) gives: bool,
    /// Why not; empty when it does.
    reason: String,
}

impl AskedArguments {
    pub(super) fn explain(self, config: PathBuf, tokens: Tokens) -> anyhow::Result<Vec<Explained>> {
        let settings = Settings::load(&config, tokens).operator_must_act()?;
        let (policy, stops) = (&settings.policy, Stops::load(&settings.state)?);
        let (rights, ended) = self.rights(&settings)?;
        let Self { edge, profile, method, key, names, .. } = self;
        let edge = edge.or_else(|| policy.edges().next().map(str::to_owned)).unwrap_or_default();
        let proven = |identifier| ProvenIdentifier {
            identifier,
            method: method.clone(),
            validated: clock::now(),
            evidence: None,
        };
        let names: Vec<_> = names.into_iter().map(proven).collect();
        let key = match key.as_str() {
            "p256" => KeyKind::P256,
            "p384" => KeyKind::P384,
            _ => KeyKind::Rsa(2048),
        };
        let asking = Asking {
            edge: &edge,
            rights: &rights,
            names: &names,
            profile: &profile,
            key,
            now: Some(clock::now()),
            proofs: &Proofs::Supposed,
        };
        let explain = |scope: &Scope| {
            let subject = Subject {
                edge: edge.clone(),
                binding: rights.binding().map(str::to_owned),
                scope: scope.name().to_owned(),
            };
            let reason = match scope.gives(&asking) {
                Err(reason) => reason.to_string(),
                Ok(()) if !ended.is_empty() => ended.clone(),
                Ok(()) => stops.reason(&subject).unwrap_or_default().to_owned(),
            };
            Explained { scope: scope.name().to_owned(), gives: reason.is_empty(), reason }
        };
        Ok(policy.scopes().iter().map(explain).collect())
    }

    /// By what right is asked, and why that gives nothing now; nothing when it does.
    fn rights(&self, settings: &Settings) -> anyhow::Result<(Rights, String)> {
        let of_account = |text: &String| -> anyhow::Result<String> {
            let key = base64url::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let key = key.with_context(|| format!("{text:?} is no thumbprint of a key"))?;
            journal::binding_of(&settings.state, Thumbprint(key))?
                .with_context(|| format!("the journal binds no account whose key is {text}"))
        };
        let kid = match (&self.binding, &self.account) {
            (None, None) => return Ok((Rights::Open, String::new())),
            (Some(kid), _) => kid.clone(),
            (None, Some(account)) => of_account(account)?,
        };
        let file = &settings.policy.grants().map_err(|refused| anyhow::anyhow!(refused.detail))?.bindings;
        let bindings = Bindings::read(file)?;
        let binding = bindings.iter().find(|binding| binding.kid == kid);
        let scope = binding.with_context(|| format!("there is no binding {kid:?}"))?.scope.clone();
        let ended = bindings.live(&kid, clock::now()).err().map(|refused| refused.detail).unwrap_or_default();
        Ok((Rights::Bound { binding: kid, scope }, ended))
    }
}

fn identifier(text: &str) -> Result<Identifier, String> {
    match text.parse() {
        Ok(address) => Ok(Identifier::Ip(address)),
        Err(_) => text.parse().map(Identifier::Dns).map_err(|error| format!("{error}")),
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, gives, reason } = self;
        if *gives {
            write!(f, "scope {scope}: gives it")
        } else {
            write!(f, "scope {scope}: does not give it: {reason}")
        }
    }
}
