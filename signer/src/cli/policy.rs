//! `signer policy`, `signer stop`, `signer resume`: what would be signed, and what is not for now.

use std::{
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    arguments::{ConfigArgument, FormArgument},
    explain::AskedArguments,
};
use crate::{
    Tokens,
    ceremony::hex,
    exit::Final,
    settings::{self, Settings},
    stops::Stops,
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
    /// Each scope answers for itself: the first that gives everything is the one that would be used. Ends with 1 when none does. The order
    /// is of an account without a binding, unless a binding or an account is named. What is stopped counts; what is spent is in `signer
    /// journal stats`. A name by kubernetes-01 is supposed to come with a token that proves it.
    #[command(
        after_help = "Example:\n  signer policy explain --config signer.toml --profile server --method dns-01 db1.example.com '*.example.com'\n  signer policy explain --config signer.toml --profile server --binding team-a db1.example.com"
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

/// What to stop, or what goes on.
#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = true)]
pub(super) struct StopArguments {
    /// The configuration file.
    #[arg(long, required_unless_present = "state")]
    config: Option<PathBuf>,
    /// The state folder, in place of the one that the configuration names. The names are not compared with the configuration then.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    state: Option<PathBuf>,
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

impl StopArguments {
    /// Stops it, or lets it go on. Prints all that is stopped then.
    pub(super) fn run(self, tokens: Tokens, stop: bool) -> anyhow::Result<()> {
        let Self { config, state, edge, binding, scope, everything, form } = self;
        let state = match (state, config) {
            (Some(state), _) => existing(state)?,
            (None, Some(config)) => match Settings::load(&config, tokens) {
                Ok(settings) => {
                    for name in &scope {
                        let known = settings.policy.scopes().iter().any(|scope| scope.name() == name);
                        anyhow::ensure!(known || !stop, "the policy has no scope {name}: nothing was changed");
                    }
                    for name in &edge {
                        let known = settings.policy.knows_edge(name);
                        anyhow::ensure!(known || !stop, "the policy has no edge {name}: nothing was changed");
                    }
                    settings.state
                }
                Err(error) => state_of_a_broken(&config, &error)?,
            },
            (None, None) => anyhow::bail!("--config or --state is missing"),
        };
        let more = Stops {
            everything,
            edges: edge.into_iter().collect(),
            bindings: binding.into_iter().collect(),
            scopes: scope.into_iter().collect(),
        };
        super::print(&Stops::change(&state, &more, stop)?, form.json)
    }
}

/// Returns the state folder of a configuration that cannot be used, so that its daemon, which may still run by an earlier one, can be
/// stopped. Prints what is wrong.
fn state_of_a_broken(config: &Path, error: &anyhow::Error) -> anyhow::Result<PathBuf> {
    let found = settings::state_folder(config).and_then(existing);
    let state = found
        .with_context(|| {
            format!("the configuration cannot be used ({error:#}), and names no state folder: give --state")
        })
        .operator_must_act()?;
    let folder = state.display();
    writeln!(
        std::io::stderr(),
        "signer: the configuration cannot be used: {error:#}. The names are not compared with it; the state folder is {folder}."
    )?;
    Ok(state)
}

/// Returns this folder, which must be there: a stop in a folder of no daemon stops nothing.
fn existing(state: PathBuf) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(state.is_dir(), "there is no state folder {}: nothing was changed", state.display());
    Ok(state)
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy is good; scopes: {}; SHA-256 {}", self.scopes.join(", "), self.sha256)
    }
}
