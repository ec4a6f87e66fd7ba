//! Looks CAA records up: every name by itself, a few at a time. Which name is asked next, and what the records mean, is the
//! core's to say.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use shared::identifier::DnsName;

use super::{
    dns::{self, Asker},
    timeout::within,
};
use crate::acme::{
    caa_check::CaaFindings,
    caa_climb::{CaaFault, CaaOutcome, Climb, Climbed},
    dns::DnsFault,
    validation::Validation,
};

/// Names that are looked up at the same time: the platform opens six connections at most for one request.
const AT_ONCE: usize = 4;

/// Looks all names up. Each takes `timeout_ms` of the configuration at most.
pub(super) async fn look_up(names: &BTreeSet<DnsName>, validation: &Validation) -> CaaFindings {
    let mut findings = CaaFindings::new();
    let names: Vec<_> = names.iter().collect();
    for some in names.chunks(AT_ONCE) {
        let found = join_all(some.iter().map(|name| look_one_up(name, validation))).await;
        findings.extend(some.iter().map(|name| (*name).clone()).zip(found));
    }
    findings
}

async fn look_one_up(name: &DnsName, validation: &Validation) -> CaaOutcome {
    let limit = Duration::from_millis(u64::from(validation.timeout_ms));
    let late = || CaaFault::Lookup { asked: format!("CAA {name}"), fault: DnsFault::Timeout };
    within(limit, climb(name, validation)).await.unwrap_or_else(|| Err(late()))
}

async fn climb(name: &DnsName, validation: &Validation) -> CaaOutcome {
    let mut climb = Climb::new(name)?;
    let mut asker = Asker::new(&validation.resolvers, dns::share(validation));
    loop {
        let answer = asker.ask(climb.question()).await;
        match climb.take(answer) {
            Climbed::On(next) => climb = next,
            Climbed::Done(outcome) => return outcome,
        }
    }
}
