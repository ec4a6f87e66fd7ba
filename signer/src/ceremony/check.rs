//! `signer check`: everything about a configuration that can be found out without a PIN and without listening.

use std::path::Path;

use anyhow::ensure;
use serde::Serialize;
use shared::timestamp::Timestamp;

use crate::{
    Tokens, clock,
    settings::{IssuerSettings, Settings},
    tls,
    token::{
        choice::{Others, TokenId},
        driver::EACH_TIME,
        frame::Login,
        pin,
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

/// Looks at everything. An error is a configuration that cannot be read at all.
pub(crate) fn run(config: &Path, tokens: Tokens) -> anyhow::Result<Vec<Finding>> {
    let settings = Settings::load(config, tokens)?;
    let mut findings = vec![Finding::good("configuration", "is well formed".into())];
    findings.push(match tls::server_config(&settings.listen) {
        Ok(_) => Finding::good("listen", "certificate, key and client roots fit together".into()),
        Err(error) => Finding::bad("listen", format!("{error:#}")),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for issuer in &settings.issuers {
        findings.push(dates(issuer, clock::now()));
        findings.extend(runtime.block_on(tokens_of(issuer)));
    }
    Ok(findings)
}

/// An error when something is bad.
pub(crate) fn verdict(findings: &[Finding]) -> anyhow::Result<()> {
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    ensure!(bad == 0, "{bad} of {} findings are bad", findings.len());
    Ok(())
}

fn dates(issuer: &IssuerSettings, now: Timestamp) -> Finding {
    let subject = format!("issuer {}", issuer.name);
    let certificate = issuer.chain.issuer();
    let until = certificate.not_after();
    if let Err(error) = certificate.check_time(now) {
        Finding::bad(&subject, format!("{error}: from {} until {until}", certificate.not_before()))
    } else if until.since(now) < SOON_SECONDS {
        Finding { subject, level: Level::Warning, says: format!("ends soon: {until}") }
    } else {
        Finding::good(&subject, format!("{} is valid until {until}", certificate.subject()))
    }
}

async fn tokens_of(issuer: &IssuerSettings) -> Vec<Finding> {
    let (mut findings, mut found) = (Vec::new(), Vec::<(&Path, TokenId)>::new());
    for (position, token) in issuer.tokens.iter().enumerate() {
        let subject = format!("token {}-{position}", issuer.name);
        // In a process of its own, with the environment that the daemon will give it.
        let of_module = found.iter().filter(|(module, _)| *module == token.module);
        let held = of_module.map(|(_, id)| id.clone()).collect();
        let others = Others { held, named: issuer.named_by_others(token), ..Others::default() };
        match WorkerProcess::start(token, issuer.chain.issuer().der(), others, Login::No, &subject).await {
            Ok((worker, there)) => {
                worker.stop().await;
                findings.push(Finding::good(&subject, format!("the issuer's key is in {}", there.name)));
                if there.each_time {
                    findings.push(Finding { subject: subject.clone(), level: Level::Warning, says: EACH_TIME.into() });
                }
                found.push((&token.module, there.id));
            }
            Err(failed) => findings.push(Finding::bad(&subject, failed.to_string())),
        }
        findings.push(match pin::read(&token.pin_file) {
            Ok(_) => Finding::good(&subject, "the PIN file is as it should be; the PIN was not tried".into()),
            Err(error) => Finding::bad(&subject, format!("{error:#}")),
        });
    }
    findings
}

impl Finding {
    fn good(subject: &str, says: String) -> Self {
        Self { subject: subject.to_owned(), level: Level::Good, says }
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
