//! `signer journal`: what an operator asks a journal. Nothing here changes it, and all of it works while the daemon runs.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use shared::timestamp::Timestamp;

use super::{ConfigArgument, say};
use crate::{Tokens, clock, journal, journal::search::Query};

#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// Verify the whole chain of records; name the first bad one.
    ///
    /// Verifies too that the journal continues the checkpoint in the state's folder. Ends with 78 when anything is wrong. The daemon
    /// may run.
    Verify {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// A checkpoint that was kept elsewhere, by a peer (state/peers/NAME.json) or by you ({"length":…,"head":"…"}): the journal
        /// must continue it.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
    },
    /// Verify and print the records, one JSON object a line, as they are in the files.
    Export {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Find records; print them, one JSON object a line.
    ///
    /// A certificate is found with everything that happened to it: its intent, its signature, its revocation, and refusals for its
    /// order. Several conditions must all hold. The chain is verified on the way.
    #[command(
        after_help = "Examples:\n  signer journal search --config signer.toml --name db1.example.com --since 2026-11-01T00:00:00Z\n  signer journal search --config signer.toml --serial 0A:1B:…\n  signer journal search --config signer.toml --kind refused | jq .event.refused.detail\n  signer journal search --config signer.toml --kind revoked | jq '.event.revoked | {serial, right, edge}'"
    )]
    Search {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        query: QueryArguments,
    },
    /// Sum up: records by kind and day, certificates that are valid now by issuer and profile, signatures by issuer, bytes, the first
    /// and the last time.
    Stats {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct QueryArguments {
    /// A certificate's serial number in hexadecimal, with or without colons.
    #[arg(long)]
    serial: Option<String>,
    /// An order's URL.
    #[arg(long)]
    order: Option<String>,
    /// A name or address that certificates are for, whole: a wildcard is found as "*.example.com".
    #[arg(long)]
    name: Option<String>,
    /// The thumbprint of an account's key (RFC 7638) in base64url, as "account" in an intent.
    #[arg(long)]
    account: Option<String>,
    /// Not before this time, RFC 3339 in UTC: 2026-11-21T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only this kind: intent, signed, revoked, refused, and others that docs/journal.md names.
    #[arg(long)]
    kind: Option<String>,
}

impl Journal {
    pub(super) fn run(self, tokens: Tokens) -> anyhow::Result<()> {
        match self {
            Self::Verify { config, json, checkpoint } => {
                let kept = checkpoint.map(|file| {
                    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                    serde_json::from_slice(&text).with_context(|| format!("{} is not a checkpoint", file.display()))
                });
                let summary = journal::verify(&config.state(tokens)?, kept.transpose()?.as_ref())?;
                say(&if json { serde_json::to_string_pretty(&summary)? } else { summary.to_string() })
            }
            Self::Export { config } => journal::export(&config.state(tokens)?, &mut std::io::stdout().lock()),
            Self::Search { config, query } => {
                let mut out = std::io::BufWriter::new(std::io::stdout().lock());
                journal::search(&config.state(tokens)?, query.into(), &mut out)?;
                out.flush().context("cannot write to stdout")
            }
            Self::Stats { config, json } => {
                let stats = journal::stats(&config.state(tokens)?, clock::now())?;
                say(&if json { serde_json::to_string_pretty(&stats)? } else { stats.to_string() })
            }
        }
    }
}

impl From<QueryArguments> for Query {
    fn from(arguments: QueryArguments) -> Self {
        let QueryArguments { serial, order, name, account, since, until, kind } = arguments;
        Self { serial, order, name, account, since, until, kind }
    }
}
