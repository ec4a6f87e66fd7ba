//! `signer policy`, `signer stop`, `signer resume`: what would be signed, and what is not for now.

use std::{fmt, path::PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use shared::{identifier::Identifier, profile::ProfileName, public_key::KeyKind, signing::ProvenIdentifier};

use super::arguments::{ConfigArgument, FormArgument};
use crate::{
    Tokens,
    ceremony::hex,
    clock,
    exit::Final,
    grant::Rights,
    policy::{Asking, Proofs, Scope},
    settings::Settings,
    stops::{Stops, Subject},
};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Read the policy of a configuration, and say what it comes to.
    ///
    /// Says every mistake with its place and ends with 78; no PIN, no token, and the daemon may run. The hash is what `status` and the
    /// journal's records name: two signers with one hash sign the same.
    #[command(after_help = "Example:\n  signer policy check --config signer.toml")]
    Check {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        form: FormArgument,
    },
    /// Say what would happen to an order of these names, and why.
    ///
    /// Each scope answers for itself: the first that gives everything is the one that would be used. Ends with 1 when none does. What is
    /// stopped counts; what is spent is in `signer journal stats`.
    #[command(
        after_help = "Example:\n  signer policy explain --config signer.toml --profile server --method dns-01 db1.example.com '*.example.com'"
    )]
    Explain {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        asked: AskedArguments,
        #[command(flatten)]
        form: FormArgument,
    },
}

#[derive(Debug, Args)]
pub(super) struct AskedArguments {
    /// The edge that asks; the first of the configuration unless it is said.
    #[arg(long)]
    edge: Option<String>,
    /// The profile.
    #[arg(long)]
    profile: ProfileName,
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

/// What to stop, or what goes on.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub(super) struct StopArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// An edge, by the name in its client certificate: it gets no answer to anything.
    #[arg(long, value_name = "NAME", group = "what")]
    edge: Vec<String>,
    /// An external account binding, by its key id.
    #[arg(long, value_name = "KID", group = "what")]
    binding: Vec<String>,
    /// A scope of the policy.
    #[arg(long, value_name = "NAME", group = "what")]
    scope: Vec<String>,
    /// All certificates. Status is still told, and revocations are still taken.
    #[arg(long, group = "what")]
    everything: bool,
    #[command(flatten)]
    form: FormArgument,
}

/// What `policy check` says.
#[derive(Debug, Serialize)]
struct Checked {
    sha256: String,
    scopes: Vec<String>,
}

/// What one scope says.
#[derive(Debug, Serialize)]
struct Explained {
    scope: String,
    gives: bool,
    /// Why not; empty when it does.
    reason: String,
}

impl Policy {
    pub(super) fn run(self, tokens: Tokens) -> anyhow::Result<()> {
        match self {
            Self::Check { config, form } => {
                let policy = Settings::load(&config.config, tokens).operator_must_act()?.policy;
                let scopes = policy.scopes().iter().map(|scope| scope.name().to_owned()).collect();
                super::print(&Checked { sha256: hex(&policy.hash()), scopes }, form.json)
            }
            Self::Explain { config, asked, form } => {
                let explained = asked.explain(config.config, tokens)?;
                super::print_all(&explained, form.json)?;
                anyhow::ensure!(explained.iter().any(|scope| scope.gives), "no scope gives it");
                Ok(())
            }
        }
    }
}

impl AskedArguments {
    fn explain(self, config: PathBuf, tokens: Tokens) -> anyhow::Result<Vec<Explained>> {
        let Self { edge, profile, method, key, names } = self;
        let settings = Settings::load(&config, tokens).operator_must_act()?;
        let (policy, stops) = (&settings.policy, Stops::load(&settings.state)?);
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
        let proofs = Proofs::Supposed;
        let asking = Asking {
            edge: &edge,
            rights: &Rights::Open,
            names: &names,
            profile: &profile,
            key,
            now: Some(clock::now()),
            proofs: &proofs,
        };
        let explain = |scope: &Scope| {
            let subject = Subject { edge: edge.clone(), binding: None, scope: scope.name().to_owned() };
            let reason = match scope.gives(&asking) {
                Err(reason) => reason.to_string(),
                Ok(()) => stops.reason(&subject).unwrap_or_default().to_owned(),
            };
            Explained { scope: scope.name().to_owned(), gives: reason.is_empty(), reason }
        };
        Ok(policy.scopes().iter().map(explain).collect())
    }
}

impl StopArguments {
    /// Stops it, or lets it go on. Prints all that is stopped then.
    pub(super) fn run(self, tokens: Tokens, stop: bool) -> anyhow::Result<()> {
        let Self { config, edge, binding, scope, everything, form } = self;
        let settings = Settings::load(&config.config, tokens).operator_must_act()?;
        for name in &scope {
            let known = settings.policy.scopes().iter().any(|scope| scope.name() == name);
            anyhow::ensure!(known || !stop, "the policy has no scope {name}: nothing was changed");
        }
        for name in &edge {
            let known = settings.policy.knows_edge(name);
            anyhow::ensure!(known || !stop, "the policy has no edge {name}: nothing was changed");
        }
        let more = Stops {
            everything,
            edges: edge.into_iter().collect(),
            bindings: binding.into_iter().collect(),
            scopes: scope.into_iter().collect(),
        };
        super::print(&Stops::change(&settings.state, &more, stop)?, form.json)
    }
}

fn identifier(text: &str) -> Result<Identifier, String> {
    match text.parse() {
        Ok(address) => Ok(Identifier::Ip(address)),
        Err(_) => text.parse().map(Identifier::Dns).map_err(|error| format!("{error}")),
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy is good; scopes: {}; SHA-256 {}", self.scopes.join(", "), self.sha256)
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
