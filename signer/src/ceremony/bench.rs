//! `signer bench` and `signer sign-test`: what tokens really give. What they sign is a text of ours with randomness in it, never
//! something that a verifier of certificates, CRLs or OCSP responses could read.
//!
//! Each token is measured by a process of its own, as the daemon drives it: some modules hold one lock for all of theirs. The processes
//! open their tokens one after the other, because a module that looks for tokens may miss one that is being logged in to. Then all
//! measure at the same time. A token whose PIN is marked is left alone, and a rejected PIN is marked, as everywhere.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use shared::base64url::Base64Url;

use crate::{
    Tokens, clock,
    files::Folder,
    random,
    settings::{IssuerSettings, Settings, TokenSettings},
    token::{
        choice::Others,
        frame::{Init, Login},
        worker,
    },
};

/// The line of a process that has opened its token.
const OPENED: &str = "opened";

/// How long a measurement goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// So long. Chips that count events slow down after tens of signatures: minutes tell, seconds do not.
    For(Duration),
    /// So many signatures. Keys that want their PIN for each one fail at the second, not at the first.
    Signatures(usize),
}

/// What one token gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    /// The issuer's name and the token's position.
    pub(crate) token: String,
    /// Verified ones.
    pub(crate) signatures: usize,
    /// Signatures a second.
    pub(crate) rate: f64,
    /// The same of the first and of the last third.
    pub(crate) first_rate: f64,
    pub(crate) last_rate: f64,
    /// Milliseconds.
    pub(crate) median_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Measures all tokens of a configuration at the same time, or the one of this name.
pub(crate) fn run(config: &Path, tokens: Tokens, name: Option<&str>, extent: Extent) -> anyhow::Result<Vec<Measured>> {
    let settings = Settings::load(config, tokens)?;
    let mut measuring = Vec::new();
    for (of, _, token) in all(&settings).filter(|(of, ..)| name.is_none_or(|name| name == of)) {
        let (flag, value) = match extent {
            Extent::For(duration) => ("--seconds", duration.as_secs().to_string()),
            Extent::Signatures(number) => ("--signatures", number.to_string()),
        };
        let mut command = Command::new("/proc/self/exe");
        command.arg0("signer").args(["measure", "--token", &of, flag, &value]).arg("--config");
        command.arg(std::path::absolute(config)?).env_clear().envs(&token.environment);
        // Where credentials are is no secret; they are.
        let credentials: Option<OsString> = std::env::var_os("CREDENTIALS_DIRECTORY");
        command.envs(credentials.map(|folder| ("CREDENTIALS_DIRECTORY", folder)));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        measuring.push((of, Opened::wait_for(child.context("cannot start the process of a token")?)?));
    }
    ensure!(!measuring.is_empty(), "there is no such token");
    // The end of its input lets each process begin.
    measuring.iter_mut().for_each(|(_, opened)| drop(opened.process.stdin.take()));
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    for (of, opened) in measuring {
        match opened.finish()? {
            Some(one) => measured.push(one),
            None => failed.push(of),
        }
    }
    // The processes have printed the reasons.
    if failed.is_empty() { Ok(measured) } else { bail!("{} did not sign", failed.join(", ")) }
}

/// The process of a token that has opened it, or has ended.
struct Opened {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Opened {
    /// Waits until the process has opened its token, or has ended.
    fn wait_for(mut process: Child) -> anyhow::Result<Self> {
        let output = process.stdout.take().context("the process of a token has no output")?;
        let mut output = BufReader::new(output);
        output.read_line(&mut String::new())?;
        Ok(Self { process, output })
    }

    /// Waits for the end of the process. Returns what it measured, or nothing when it failed.
    fn finish(mut self) -> anyhow::Result<Option<Measured>> {
        let mut output = Vec::new();
        self.output.read_to_end(&mut output)?;
        let ended = self.process.wait()?;
        Ok(serde_json::from_slice(&output).ok().filter(|_| ended.success()))
    }
}

/// In the process of one token: opens it, writes a line, and measures when its input has ended.
pub(crate) fn measure(config: &Path, tokens: Tokens, name: &str, extent: Extent) -> anyhow::Result<Measured> {
    let settings = Settings::load(config, tokens)?;
    let (name, issuer, token) =
        all(&settings).find(|(of, ..)| of == name).with_context(|| format!("there is no token {name:?}"))?;
    Folder::make(&settings.state).with_context(|| format!("cannot make {}", settings.state.display()))?;
    token.prepare()?;
    let key = worker::open(Init {
        module: token.module.clone(),
        uri: token.uri.clone(),
        // Those that look alike are measured at the same time, each by its place.
        others: Others {
            named: issuer.named_by_others(token),
            skip: issuer
                .tokens
                .iter()
                .take_while(|other| !std::ptr::eq(*other, token))
                .filter(|other| other.looks_like(token))
                .count(),
            ..Others::default()
        },
        issuer: Base64Url(issuer.chain.issuer().der().to_vec()),
        login: Login::Yes { pin_file: token.pin_file.clone(), state: settings.state.clone(), mark: name.clone() },
        #[cfg(feature = "slow-token")]
        latency_ms: token.latency_ms,
    })?;
    writeln!(std::io::stdout(), "{OPENED}").context("cannot write to stdout")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let mut durations = Vec::new();
    let started = clock::instant();
    while match extent {
        Extent::For(limit) => started.elapsed() < limit,
        Extent::Signatures(number) => durations.len() < number,
    } {
        let mut message = b"Colophon measures this token: ".to_vec();
        message.extend(random::bytes::<32>()?);
        let began = clock::instant();
        key.sign(&message)?;
        durations.push(began.elapsed());
    }
    Ok(Measured::of(name, &durations))
}

fn all(settings: &Settings) -> impl Iterator<Item = (String, &IssuerSettings, &TokenSettings)> {
    settings.issuers.iter().flat_map(|issuer| {
        issuer
            .tokens
            .iter()
            .enumerate()
            .map(move |(position, token)| (format!("{}-{position}", issuer.name), issuer, token))
    })
}

impl Measured {
    fn of(token: String, durations: &[Duration]) -> Self {
        let third = durations.len().div_ceil(3);
        let rate = |part: &[Duration]| {
            let seconds: f64 = part.iter().map(Duration::as_secs_f64).sum();
            if seconds > 0.0 { count(part.len()) / seconds } else { 0.0 }
        };
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let quantile = |percent: usize| {
            let last = sorted.len().saturating_sub(1);
            let duration = sorted.get(last.saturating_mul(percent).div_ceil(100));
            duration.map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
        };
        Self {
            token,
            signatures: durations.len(),
            rate: rate(durations),
            first_rate: rate(durations.get(..third).unwrap_or_default()),
            last_rate: rate(durations.get(durations.len().saturating_sub(third)..).unwrap_or_default()),
            median_ms: quantile(50),
            p95_ms: quantile(95),
            p99_ms: quantile(99),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of signatures are small")]
fn count(number: usize) -> f64 {
    number as f64
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { token, signatures, rate, first_rate, last_rate, median_ms, p95_ms, p99_ms } = self;
        write!(
            f,
            "{token}: {signatures} signatures, {rate:.2} a second ({first_rate:.2} at first, {last_rate:.2} at last); \
             median {median_ms:.1} ms, 95 % within {p95_ms:.1} ms, 99 % within {p99_ms:.1} ms"
        )
    }
}
