//! The command line.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    Tokens,
    ceremony::{self, bench::Extent, import_chain::KeyPlace, root::RootFiles},
    exit::{self, Final},
    journal, serve,
    settings::Settings,
    token::worker,
};

/// Signs certificates with keys in PKCS#11 tokens.
#[derive(Debug, Parser)]
#[command(name = "signer", version)]
struct Cli {
    /// The form of the log on stderr; what it says is chosen with SIGNER_LOG (for example "debug").
    #[arg(long, value_enum, default_value = "text", global = true)]
    log: LogForm,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogForm {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Initialise a SoftHSM token. Hardware tokens: use their maker's tool.
    Init {
        #[command(flatten)]
        module: ModuleArgument,
        /// The new token's label.
        #[arg(long)]
        label: String,
        /// A file with the new PIN.
        #[arg(long)]
        pin_file: PathBuf,
        /// A file with the security officer's PIN.
        #[arg(long)]
        so_pin_file: PathBuf,
    },
    /// Make a P-256 key inside a token.
    Keygen {
        #[command(flatten)]
        key: KeyArguments,
        /// Where the public key goes, PEM.
        #[arg(long)]
        out: PathBuf,
    },
    /// Make a certification request for a key in a token.
    Csr {
        #[command(flatten)]
        key: KeyArguments,
        /// The new issuer's name, for example "CN=Example Issuing 1".
        #[arg(long)]
        subject: String,
        /// Where the request goes, PEM.
        #[arg(long)]
        out: PathBuf,
    },
    /// The offline root.
    #[command(subcommand)]
    Root(Root),
    /// Check what came back from the root and make it an issuer's chain file.
    ImportChain {
        #[command(flatten)]
        key: KeyArguments,
        /// PEM: the issuer's certificate, then those above it.
        #[arg(long)]
        chain: PathBuf,
        /// PEM: the root.
        #[arg(long)]
        root: PathBuf,
        /// Where the chain goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// List the tokens of a module and the keys that they show. No PIN.
    List {
        #[command(flatten)]
        module: ModuleArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong with a configuration, its chains, dates and tokens. No PIN.
    Check {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Measure what the tokens of a configuration sign, all at the same time. Measure for minutes: some chips slow down.
    Bench {
        #[command(flatten)]
        config: ConfigArgument,
        /// For how long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// Only this one, as in the log: a1-0.
        #[arg(long)]
        token: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let each token sign three times and verify it: keys that want their PIN each time fail at the second.
    SignTest {
        #[command(flatten)]
        config: ConfigArgument,
        /// Only this one, as in the log: a1-0.
        #[arg(long)]
        token: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The process of one token; started by `bench` and `sign-test`.
    #[command(hide = true)]
    Measure {
        #[command(flatten)]
        config: ConfigArgument,
        #[arg(long)]
        token: String,
        #[arg(long, conflicts_with = "signatures")]
        seconds: Option<u64>,
        #[arg(long, default_value_t = 3)]
        signatures: usize,
    },
    /// Say that the PIN in a token's file is right, after the token or a crash has spoken against it. It is tried once more.
    PinOk {
        #[command(flatten)]
        config: ConfigArgument,
        /// The issuer's name and the token's position, as in the log: a1-0.
        #[arg(long)]
        token: String,
    },
    /// The journal of a daemon.
    #[command(subcommand)]
    Journal(Journal),
    /// Run the daemon. Prints "ready" when it listens.
    Serve {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// The process of one token; started by `serve`.
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Subcommand)]
enum Root {
    /// Make a root key and its certificate.
    Create {
        /// The root's name, for example "CN=Example Root".
        #[arg(long)]
        subject: String,
        /// How long it is valid.
        #[arg(long)]
        days: u32,
        #[command(flatten)]
        files: RootArguments,
    },
    /// Sign an issuer's request.
    Sign {
        #[command(flatten)]
        files: RootArguments,
        /// PEM: the request.
        #[arg(long)]
        csr: PathBuf,
        /// How long the issuer is valid.
        #[arg(long)]
        days: u32,
        /// Where the issuer's certificate goes, PEM.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Journal {
    /// Verify the whole chain of records; name the first bad one.
    Verify {
        #[command(flatten)]
        config: ConfigArgument,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Verify and print the records, one JSON object a line.
    Export {
        #[command(flatten)]
        config: ConfigArgument,
    },
}

#[derive(Debug, Args)]
struct ModuleArgument {
    /// The PKCS#11 module, for example /usr/lib/softhsm/libsofthsm2.so.
    #[arg(long)]
    module: PathBuf,
}

#[derive(Debug, Args)]
struct KeyArguments {
    #[command(flatten)]
    module: ModuleArgument,
    /// The token's label.
    #[arg(long)]
    token: String,
    /// A file with the PIN.
    #[arg(long)]
    pin_file: PathBuf,
    /// The key's label.
    #[arg(long)]
    label: String,
}

#[derive(Debug, Args)]
struct RootArguments {
    /// The root's private key, PKCS#8 in PEM.
    #[arg(long)]
    key: PathBuf,
    /// The root's certificate, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// A file with the passphrase that the key is encrypted with.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ConfigArgument {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// Runs the program: reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn run(tokens: Tokens) -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log, matches!(cli.verb, Verb::Worker));
    let result = cli.verb.run(tokens);
    if let Err(error) = &result {
        // The last words must arrive even where the log is filtered.
        let _ = writeln!(std::io::stderr(), "signer: {error:#}");
    }
    exit::code(&result)
}

fn start_log(form: LogForm, plain: bool) {
    let filter = EnvFilter::try_from_env("SIGNER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A worker's lines are put into the parent's log, which has its own times and colours.
    match form {
        _ if plain => log.without_time().with_level(false).with_ansi(false).init(),
        LogForm::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogForm::Json => log.json().flatten_event(true).init(),
    }
}

impl Verb {
    fn run(self, tokens: Tokens) -> anyhow::Result<()> {
        match self {
            Self::Init { module, label, pin_file, so_pin_file } => {
                say(&ceremony::init::run(&module.module, &label, &pin_file, &so_pin_file)?)
            }
            Self::Keygen { key, out } => {
                say(&ceremony::keygen::run(&key.module.module, &key.token, &key.pin_file, &key.label, &out)?)
            }
            Self::Csr { key, subject, out } => {
                let KeyArguments { module, token, pin_file, label } = key;
                say(&ceremony::csr::run(&module.module, &token, &pin_file, &label, &subject, &out)?)
            }
            Self::Root(Root::Create { subject, days, files }) => {
                say(&ceremony::root::create(&subject, days, &files.as_files())?)
            }
            Self::Root(Root::Sign { files, csr, days, out }) => {
                say(&ceremony::root::sign(&files.as_files(), &csr, days, &out)?)
            }
            Self::ImportChain { key, chain, root, out } => {
                let KeyArguments { module, token, pin_file, label } = &key;
                let place = KeyPlace { module: &module.module, token, pin_file, label };
                say(&ceremony::import_chain::run(&place, &chain, &root, &out)?)
            }
            Self::List { module, json } => print_all(&ceremony::list::run(&module.module)?, json),
            Self::Check { config, json } => {
                let findings = ceremony::check::run(&config.config, tokens).operator_must_act()?;
                print_all(&findings, json)?;
                ceremony::check::verdict(&findings).operator_must_act()
            }
            Self::Bench { config, seconds, token, json } => {
                let extent = Extent::For(Duration::from_secs(seconds));
                print_all(&ceremony::bench::run(&config.config, tokens, token.as_deref(), extent)?, json)
            }
            Self::SignTest { config, token, json } => {
                let extent = Extent::Signatures(3);
                print_all(&ceremony::bench::run(&config.config, tokens, token.as_deref(), extent)?, json)
            }
            Self::Measure { config, token, seconds, signatures } => {
                let for_seconds = seconds.map(|seconds| Extent::For(Duration::from_secs(seconds)));
                let extent = for_seconds.unwrap_or(Extent::Signatures(signatures));
                say(&serde_json::to_string(&ceremony::bench::measure(&config.config, tokens, &token, extent)?)?)
            }
            Self::PinOk { config, token } => say(&ceremony::pin_ok::run(&config.config, tokens, &token)?),
            Self::Journal(Journal::Verify { config, json }) => {
                let summary = journal::verify(&config.state(tokens)?)?;
                say(&if json { serde_json::to_string_pretty(&summary)? } else { summary.to_string() })
            }
            Self::Journal(Journal::Export { config }) => {
                journal::export(&config.state(tokens)?, &mut std::io::stdout().lock())
            }
            Self::Serve { config } => serve::run(&config.config, tokens),
            Self::Worker => worker::run(std::io::stdin().lock(), std::io::stdout().lock()),
        }
    }
}

impl RootArguments {
    fn as_files(&self) -> RootFiles<'_> {
        RootFiles { key: &self.key, certificate: &self.certificate, passphrase: self.passphrase_file.as_deref() }
    }
}

impl ConfigArgument {
    fn state(&self, tokens: Tokens) -> anyhow::Result<PathBuf> {
        Settings::load(&self.config, tokens).map(|settings| Path::to_owned(&settings.state)).operator_must_act()
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}

fn print_all<T: Serialize + std::fmt::Display>(values: &[T], json: bool) -> anyhow::Result<()> {
    if json {
        return say(&serde_json::to_string_pretty(values)?);
    }
    values.iter().try_for_each(|value| say(&value.to_string()))
}
