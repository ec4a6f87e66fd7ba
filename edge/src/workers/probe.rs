//! Runs a [`Probe`]: fetches what its challenge asks for, within the configured time. Idempotent, and changes nothing: a
//! probe whose outcome was lost is run again.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::{dns, http, timeout::within, tls};
use crate::acme::{
    challenge::{self, ChallengeType},
    dns::{Question, Record},
    network::Networks,
    probe::{Evidence, Probe, ProbeFault, ProbeOutcome},
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
    let look = async move {
        match (probe.challenge, &probe.identifier) {
            (ChallengeType::Http01, identifier) => {
                http::look(HttpTarget::challenge(identifier, &probe.token), validation, networks).await
            }
            (ChallengeType::TlsAlpn01, identifier) => tls::look(identifier, validation, networks).await,
            (ChallengeType::Dns01 | ChallengeType::DnsAccount01 | ChallengeType::DnsPersist01, _) => {
                texts(&challenge::question(probe)?, validation).await
            }
            // A cluster is asked by the account's object, and by no other.
            (ChallengeType::Kubernetes01, _) => Err(ProbeFault::NoPerspective),
        }
    };
    // Behind a pointer: in place it would be in the module once for each caller.
    Box::pin(async move { within(limit, look).await.unwrap_or(Err(ProbeFault::Timeout)) })
}

/// Challenges by DNS (RFC 8555 §8.4).
async fn texts(question: &Question, validation: &Validation) -> ProbeOutcome {
    let records = dns::ask(&validation.resolvers, question, dns::share(validation)).await?;
    let text = |record| match record {
        Record::Text(text) => Some(text),
        Record::Address(_) | Record::Caa { .. } => None,
    };
    Ok(Evidence::Txt(records.into_iter().filter_map(text).collect()))
}
