//! Runs a [`Probe`]: fetches what its challenge asks for, within the configured time. Idempotent, and changes nothing: a
//! probe whose outcome was lost is run again.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{dns, http, progress::Progress, timeout::within, tls};
use crate::acme::{
    challenge::{self, ChallengeType},
    dns::{DnsFault, Record},
    network::Networks,
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome, Waiting},
    probe_redirect::HttpTarget,
    validation::Validation,
};

/// Looks at what the client has prepared. Takes `timeout_ms` of the configuration at most.
pub(super) fn run<'a>(
    probe: &'a Probe,
    validation: &'a Validation,
    networks: &'a Networks,
) -> LocalBoxFuture<'a, ProbeOutcome> {
    let limit = Duration::from_millis(u64::from(validation.timeout_ms));
    Box::pin(async move {
        let progress = Progress::new(Waiting::Resolver(probe.identifier.to_string()));
        let look = async {
            match (probe.challenge, &probe.identifier) {
                (ChallengeType::Http01, identifier) => {
                    let target = HttpTarget::challenge(identifier, &probe.token);
                    http::look(target, validation, networks, &progress).await
                }
                (ChallengeType::TlsAlpn01, identifier) => tls::look(identifier, validation, networks, &progress).await,
                (ChallengeType::Dns01 | ChallengeType::DnsAccount01 | ChallengeType::DnsPersist01, _) => {
                    texts(probe, validation).await
                }
                // A cluster is asked by the account's object, and by no other.
                (ChallengeType::Kubernetes01, _) => Err(ProbeFault::NoPerspective),
            }
        };
        // Behind a pointer: in place it would be in the module once for each caller.
        within(limit, look).await.unwrap_or_else(|| Err(ProbeFault::Timeout(progress.last())))
    })
}

/// Challenges by DNS (RFC 8555 §8.4).
async fn texts(probe: &Probe, validation: &Validation) -> ProbeOutcome {
    let failed = |asked: String| move |fault: DnsFault| ProbeFault::Lookup { asked, fault };
    let question = challenge::question(probe).map_err(failed(format!("TXT {}", probe.identifier)))?;
    let records = dns::ask(&validation.resolvers, &question, dns::share(validation)).await;
    let text = |record| match record {
        Record::Text(text) => Some(text),
        Record::Address(_) | Record::Caa { .. } => None,
    };
    Ok(Evidence::Txt(records.map_err(failed(question.to_string()))?.into_iter().filter_map(text).collect()))
}
