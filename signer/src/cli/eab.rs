//! `signer eab`: external account bindings (RFC 8555 §7.3.4), handed out, listed and ended. The daemon may run.

use clap::Subcommand;

use super::{
    arguments::{ConfigArgument, FormArgument},
    print, print_all, say,
};
use crate::{
    Tokens,
    ceremony::eab::{self, NewBinding},
};

#[derive(Debug, Subcommand)]
pub(super) enum Eab {
    /// Make a binding and print what its client needs. Its key is shown this once.
    #[command(
        after_help = "Examples:\n  signer eab new --config signer.toml --scope databases --kid team-a --uses 20 --expires 365\n  signer eab new --config signer.toml --scope databases --json"
    )]
    New {
        #[command(flatten)]
        config: ConfigArgument,
        /// The scope of the configuration that its accounts may use.
        #[arg(long)]
        scope: String,
        /// Its key id, where an edge's scope names it; a random one when it is left out.
        #[arg(long)]
        kid: Option<String>,
        /// How many accounts may have it; any number when it is left out.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        uses: Option<u64>,
        /// When it ends, and its accounts' rights with it: a number of days, 2027-01-31 or 2027-01-31T12:00:00Z.
        #[arg(long)]
        expires: Option<String>,
        /// The URL of the ACME directory; those of all edges when it is left out.
        #[arg(long)]
        directory: Option<String>,
        #[command(flatten)]
        form: FormArgument,
    },
    /// List the bindings, without their keys.
    List {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        form: FormArgument,
    },
    /// End a binding: within seconds its accounts get no certificate any more.
    Revoke {
        #[command(flatten)]
        config: ConfigArgument,
        /// Its key id.
        kid: String,
        #[command(flatten)]
        form: FormArgument,
    },
}

impl Eab {
    pub(super) fn run(self, tokens: Tokens) -> anyhow::Result<()> {
        match self {
            Self::New { config, scope, kid, uses, expires, directory, form } => {
                let wanted = NewBinding { scope, kid, uses, expires, directory };
                print(&eab::new(&config.config, tokens, wanted)?, form.json)
            }
            Self::List { config, form } => print_all(&eab::list(&config.config, tokens)?, form.json),
            Self::Revoke { config, kid, form } => {
                let says = eab::revoke(&config.config, tokens, &kid)?;
                say(&if form.json { serde_json::json!({ "kid": kid, "says": says }).to_string() } else { says })
            }
        }
    }
}
