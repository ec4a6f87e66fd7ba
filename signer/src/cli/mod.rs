//! The command line.

mod arguments;
mod attest;
mod eab;
mod explain;
mod help;
mod journal;
mod policy;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use self::arguments::{Cli, ConfigArgument, LogForm, RecordArguments, Root, Verb};
use crate::{
    Tokens,
    ceremony::{
        self, KeyPlace,
        bench::Extent,
        made::Made,
        root::{CreatePlan, CrlPlan, Plan, SignPlan},
        transcript::{self, Transcript},
    },
    exit::{self, Final},
    serve,
    settings::Settings,
    token::worker,
};

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
    // Without colours on a terminal too: they are not compiled in.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false);
    // A worker's lines are put into the parent's log, which has its own times.
    match form {
        _ if plain => log.without_time().with_level(false).init(),
        LogForm::Text => log.init(),
        LogForm::Json => log.json().flatten_event(true).init(),
    }
}

impl Verb {
    fn run(self, tokens: Tokens) -> anyhow::Result<()> {
        match self {
            Self::Init { module, label, pin_file, so_pin_file, transcript, form } => {
                let module = module.module;
                let asked = serde_json::json!({ "module": module, "label": label });
                let init = |transcript: Option<&mut _>| {
                    ceremony::init::run(&module, &label, pin_file.as_deref(), so_pin_file.as_deref(), transcript)
                };
                let made = match transcript {
                    Some(path) => transcript::with("init", &asked, &path, |transcript| init(Some(transcript))),
                    None => init(None),
                };
                print(&made?, form.json)
            }
            Self::Keygen { key, out, record } => {
                let place = KeyPlace::from(key);
                record.of("keygen", &place, &out, |transcript| ceremony::keygen::run(&place, &out, transcript))
            }
            Self::Csr { key, subject, out, record } => {
                let place = KeyPlace::from(key);
                let asked = serde_json::json!({ "key": place, "subject": subject, "out": out });
                record.of("csr", &asked, &out, |transcript| ceremony::csr::run(&place, &subject, &out, transcript))
            }
            Self::Root(root) => root.run(),
            Self::ImportChain { key, chain, root, config, out, record } => {
                let place = KeyPlace::from(key);
                let asked =
                    serde_json::json!({ "key": place, "chain": chain, "root": root, "config": config, "out": out });
                record.of("import-chain", &asked, &out, |transcript| {
                    ceremony::import_chain::run(&place, &chain, &root, config.as_deref(), &out, transcript)
                })
            }
            Self::Attest(arguments) => {
                let (evidence, wanted) = arguments.meaning().context("the key and its certificates are not named")?;
                let (above, root) = (arguments.intermediates.as_deref(), &arguments.root);
                print(&ceremony::attest::run(&evidence, above, root, &wanted)?, arguments.form.json)
            }
            Self::List { module, form } => print_all(&ceremony::list::run(&module.module)?, form.json),
            Self::Check { config, form } => {
                let findings = ceremony::check::run(&config.config, tokens)?;
                print_all(&findings, form.json)?;
                ceremony::check::verdict(&findings)
            }
            Self::Bench { config, seconds, token, form } => {
                let extent = Extent::For(Duration::from_secs(seconds));
                print_all(&ceremony::bench::run(&config.config, tokens, token.as_deref(), extent)?, form.json)
            }
            Self::SignTest { config, token, form } => {
                let extent = Extent::Signatures(3);
                print_all(&ceremony::bench::run(&config.config, tokens, token.as_deref(), extent)?, form.json)
            }
            Self::Measure { config, token, seconds, signatures } => {
                let for_seconds = seconds.map(|seconds| Extent::For(Duration::from_secs(seconds)));
                let extent = for_seconds.unwrap_or(Extent::Signatures(signatures));
                say(&serde_json::to_string(&ceremony::bench::measure(&config.config, tokens, &token, extent)?)?)
            }
            Self::PinOk { config, token, form } => {
                let says = ceremony::pin_ok::run(&config.config, tokens, &token)?;
                say(&if form.json { serde_json::json!({ "token": token, "says": says }).to_string() } else { says })
            }
            Self::Eab(eab) => eab.run(tokens),
            Self::Journal(journal) => journal.run(tokens),
            Self::Policy(policy) => policy.run(tokens),
            Self::Stop(stop) => stop.run(tokens, true),
            Self::Resume(stop) => stop.run(tokens, false),
            Self::Serve { config } => serve::run(&config.config, tokens),
            Self::Manual { out: Some(folder), .. } => manuals(&folder),
            Self::Manual { verb, out: None } => manual(&verb),
            Self::Worker => worker::run(std::io::stdin().lock(), std::io::stdout().lock()),
        }
    }
}

impl Root {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create { ceremony, quick, record } => {
                let plan: CreatePlan = plan(ceremony.ceremony.as_deref(), quick)?;
                record.of("root create", &plan, &plan.root.certificate, |transcript| {
                    ceremony::root::create(&plan, transcript)
                })
            }
            Self::Sign { ceremony, quick, record } => {
                let plan: SignPlan = plan(ceremony.ceremony.as_deref(), quick)?;
                record.of("root sign", &plan, &plan.out, |transcript| ceremony::root::sign(&plan, transcript))
            }
            Self::Crl { ceremony, record } => {
                let plan = CrlPlan::load(&ceremony)?;
                record.of("root crl", &plan, &plan.out, |transcript| ceremony::root::sign_crl(&plan, transcript))
            }
        }
    }
}

impl RecordArguments {
    /// Holds a ceremony that makes `out`, with its transcript, and prints what was made.
    fn of<T: Serialize>(
        self,
        verb: &str,
        asked: &T,
        out: &Path,
        ceremony: impl FnOnce(&mut Transcript) -> anyhow::Result<Made>,
    ) -> anyhow::Result<()> {
        let path = self.transcript.unwrap_or_else(|| transcript::beside(out));
        print(&transcript::with(verb, asked, &path, ceremony)?, self.form.json)
    }
}

impl ConfigArgument {
    fn state(&self, tokens: Tokens) -> anyhow::Result<PathBuf> {
        Settings::load(&self.config, tokens).map(|settings| Path::to_owned(&settings.state)).operator_must_act()
    }
}

/// A plan from its file, or from the command line.
fn plan<P: Plan, Q: Into<P>>(file: Option<&Path>, quick: Option<Q>) -> anyhow::Result<P> {
    match (file, quick) {
        (Some(file), _) => P::load(file),
        (None, Some(quick)) => Ok(quick.into()),
        (None, None) => anyhow::bail!("--ceremony is missing"),
    }
}

/// The page of a verb, named by its words.
fn manual(verb: &[String]) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    for word in verb {
        let found = command.find_subcommand(word).with_context(|| format!("there is no verb {word:?}"))?;
        command = found.clone();
    }
    clap_mangen::Man::new(command).render(&mut std::io::stdout()).context("cannot write to stdout")
}

/// The pages of all verbs, in a folder that is not there yet.
fn manuals(folder: &Path) -> anyhow::Result<()> {
    let describe = || format!("cannot write to {}", folder.display());
    std::fs::create_dir(folder).with_context(describe)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(describe)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}

fn print<T: Serialize + std::fmt::Display>(value: &T, json: bool) -> anyhow::Result<()> {
    say(&if json { serde_json::to_string_pretty(value)? } else { value.to_string() })
}

fn print_all<T: Serialize + std::fmt::Display>(values: &[T], json: bool) -> anyhow::Result<()> {
    if json {
        return say(&serde_json::to_string_pretty(values)?);
    }
    values.iter().try_for_each(|value| say(&value.to_string()))
}
