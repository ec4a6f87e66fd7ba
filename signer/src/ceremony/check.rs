//! `signer check`: everything about a configuration that can be found out without a PIN and without listening.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Serialize;
use shared::{chain::Issuer, timestamp::Timestamp};

use super::check_dates;
use crate::{
    Tokens,
    bound::Bound,
    client_roots, clock,
    expiry::{self, Expiry},
    settings::{IssuerSettings, Settings},
    stops::Stops,
    token::{
        choice::{Others, TokenId},
        driver::EACH_TIME,
        frame::Login,
        pin::{self, PinLengths},
        worker_process::WorkerProcess,
    },
};

/// An issuer with less time than this is worth a warning.
const SOON_SECONDS: u64 = 30 * 86_400;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What it is about.
    subject: String,
    level: Level,
    /// A sentence.
    says: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    Warning,
    Bad,
}

/// Looks at everything that the daemon judges when it starts, and at the tokens.
///
/// # Errors
/// When the processes that look at tokens cannot be run.
pub(crate) fn run(config: &Path, tokens: Tokens) -> anyhow::Result<Vec<Finding>> {
    let settings = match Settings::load(config, tokens) {
        Ok(settings) => settings,
        Err(error) => return Ok(vec![Finding::bad("configuration", format!("{error:#}"))]),
    };
    let mut findings = vec![Finding::good("configuration", "is well formed".into())];
    let judged = |subject: &str, says: &str, result: anyhow::Result<()>| match result {
        Ok(()) => Finding::good(subject, says.to_owned()),
        Err(error) => Finding::bad(subject, format!("{error:#}")),
    };
    let listen = client_roots::server_config(&settings).map(drop);
    findings.push(judged("listen", "certificate, key and client roots fit together", listen));
    findings.extend(listener_dates(&settings, clock::now()));
    for peer in &settings.peers {
        let files = peer.client().map(drop);
        findings.push(judged(&format!("peer {}", peer.name), "certificate, key and roots fit together", files));
    }
    let partly = settings.mismatches().into_iter();
    findings.extend(partly.map(|mismatch| Finding::warning("policy", mismatch.to_string())));
    if settings.policy.grants().is_ok() {
        let bindings = Bound::default().load(&settings.policy);
        findings.push(judged("grants", "the file of bindings can be read", bindings));
    }
    let stops = Stops::load(&settings.state);
    findings.push(match stops {
        Ok(stops) if stops == Stops::default() => Finding::good("stops", stops.to_string()),
        Ok(stops) => Finding::warning("stops", stops.to_string()),
        Err(error) => Finding::bad("stops", format!("{error:#}: everything is stopped until it can be read")),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for issuer in &settings.issuers {
        findings.extend(dates(issuer, clock::now()));
        findings.extend(runtime.block_on(tokens_of(issuer)));
    }
    Ok(findings)
}

/// Gives the verdict.
///
/// # Errors
/// Names everything that is bad.
pub(crate) fn verdict(findings: &[Finding]) -> anyhow::Result<()> {
    let bad: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Bad).collect();
    let texts: Vec<_> = bad.iter().map(|finding| format!("{}: {}", finding.subject, finding.says)).collect();
    ensure!(bad.is_empty(), "{} of {} findings are bad: {}", bad.len(), findings.len(), texts.join("; "));
    Ok(())
}

/// The dates of the listener's certificate and of the roots of clients.
fn listener_dates(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let listener = expiry::all(settings).into_iter().filter(|expiry| expiry.of_listener);
    let finding = |expiry: Expiry| {
        let Expiry { what, not_before, not_after, .. } = &expiry;
        let dates = format!("{what} is valid from {not_before} to {not_after}; the clock of this machine says {now}");
        if now < *not_before || *not_after < now {
            Some(Finding::bad("listen", dates))
        } else {
            expiry.is_near(now).then(|| Finding::warning("listen", dates))
        }
    };
    listener.filter_map(finding).collect()
}

fn dates(issuer: &IssuerSettings, now: Timestamp) -> Vec<Finding> {
    let subject = format!("issuer {}", issuer.name);
    let of = |certificate: &Issuer| {
        let until = certificate.not_after();
        match check_dates(certificate, now) {
            Err(error) => Finding::bad(&subject, error.to_string()),
            Ok(()) if until.since(now) < SOON_SECONDS => {
                Finding::warning(&subject, format!("{} ends soon: {until}", certificate.subject()))
            }
            Ok(()) => Finding::good(&subject, format!("{} is valid until {until}", certificate.subject())),
        }
    };
    let mut findings: Vec<_> = issuer.chain.all().map(of).collect();
    if issuer.responder.is_some()
        && let Some(ca) = issuer.limits.without_ocsp_signing()
    {
        let says =
            format!("{ca} has extended key usages without OCSPSigning: some clients refuse its delegated responder");
        findings.push(Finding::warning(&subject, says));
    }
    findings
}

async fn tokens_of(issuer: &IssuerSettings) -> Vec<Finding> {
    let (mut findings, mut found) = (Vec::new(), Vec::<(&Path, TokenId)>::new());
    for (position, token) in issuer.tokens.iter().enumerate() {
        let subject = format!("token {}-{position}", issuer.name);
        // In a process of its own, with the environment that the daemon will give it.
        let of_module = found.iter().filter(|(module, _)| *module == token.module);
        let held = of_module.map(|(_, id)| id.clone()).collect();
        let others = Others { held, named: issuer.named_by_others(token), ..Others::default() };
        let mut lengths = None;
        match WorkerProcess::start(token, issuer.chain.issuer().der(), others, Login::No, &subject).await {
            Ok((worker, there)) => {
                worker.stop().await;
                findings.push(Finding::good(&subject, format!("the issuer's key is in {}", there.name)));
                if there.each_time {
                    findings.push(Finding::warning(&subject, EACH_TIME.into()));
                }
                lengths = there.pin_lengths;
                found.push((&token.module, there.id));
            }
            Err(failed) => findings.push(Finding::bad(&subject, failed.to_string())),
        }
        let pin = pin::read(&token.pin_file).and_then(|pin| {
            let fits = lengths.map_or(Ok(()), |lengths: PinLengths| lengths.admit(&pin));
            fits.with_context(|| token.pin_file.display().to_string())
        });
        findings.push(match pin {
            Ok(()) => Finding::good(&subject, "the PIN file is as it should be; the PIN was not tried".into()),
            Err(error) => Finding::bad(&subject, format!("{error:#}")),
        });
    }
    findings
}

impl Finding {
    fn good(subject: &str, says: String) -> Self {
        Self { subject: subject.to_owned(), level: Level::Good, says }
    }

    fn warning(subject: &str, says: String) -> Self {
        Self { subject: subject.to_owned(), level: Level::Warning, says }
    }

    fn bad(subject: &str, says: String) -> Self {
        Self { subject: subject.to_owned(), level: Level::Bad, says }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.level {
            Level::Good => "good   ",
            Level::Warning => "warning",
            Level::Bad => "BAD    ",
        };
        write!(f, "{mark} {}: {}", self.subject, self.says)
    }
}
