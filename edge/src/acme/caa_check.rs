//! When CAA records are looked at, for which names, and what follows: after a challenge was answered rightly, and again
//! before a signer is asked when that was too long ago (RFC 8659 §2: at the time of issuance).
//!
//! Each name of an order has a lookup of its own, and a name without one is refused: an authority that looked one name up
//! as often as its order had names issued three million certificates unchecked.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    identifier::{DnsName, Identifier},
    signing::{PRE_APPROVED, ProvenIdentifier},
};

use super::{
    caa::Issuance,
    caa_climb::{CaaFault, CaaOutcome},
    challenge::ChallengeType,
    object_id::ObjectId,
    problem::ProblemDocument,
    record::{AuthorizationRecord, Processing},
    route::Resource,
    step::Context,
};

/// Names whose records are to be looked up. Idempotent: a lost check is simply done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaCheck {
    /// What waits for it.
    pub subject: CaaSubject,
    /// Without wildcards, each once.
    pub names: BTreeSet<DnsName>,
}

/// What waits for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaaSubject {
    /// An authorization of which this challenge was answered rightly.
    Authorization(ObjectId, ChallengeType),
    /// An order that was finalized.
    Order(ObjectId),
}

/// What was found, by name.
pub type CaaFindings = BTreeMap<DnsName, CaaOutcome>;

/// Whether CAA records matter to this account's certificates.
const fn matters(context: &Context<'_>) -> bool {
    context.scope.caa
}

/// The check that an authorization needs before it is valid.
#[must_use]
pub fn of_authorization(
    id: ObjectId,
    record: &AuthorizationRecord,
    challenge: ChallengeType,
    context: &Context<'_>,
) -> Option<CaaCheck> {
    // An address has none.
    let Identifier::Dns(name) = &record.identifier else { return None };
    let subject = CaaSubject::Authorization(id, challenge);
    matters(context).then(|| CaaCheck { subject, names: BTreeSet::from([name.without_wildcard()]) })
}

/// Whether an order needs a check before a signer is asked: it has a name whose check was too long ago, or that never had
/// one.
#[must_use]
pub fn is_due(proven: &[ProvenIdentifier], context: &Context<'_>) -> bool {
    let recheck = context.config.validation.caa_recheck;
    let old = |proven: &ProvenIdentifier| {
        let has_records = matches!(proven.identifier, Identifier::Dns(_));
        has_records && (proven.method == PRE_APPROVED || context.now.since(proven.validated) >= recheck)
    };
    matters(context) && proven.iter().any(old)
}

/// The check of all names of an order.
#[must_use]
pub fn of_order(id: ObjectId, processing: &Processing) -> CaaCheck {
    let names = names(processing).map(|(name, _)| name.without_wildcard()).collect();
    CaaCheck { subject: CaaSubject::Order(id), names }
}

fn names(processing: &Processing) -> impl Iterator<Item = (&DnsName, &str)> {
    processing.proven.iter().filter_map(|proven| match &proven.identifier {
        Identifier::Dns(name) => Some((name, proven.method.as_str())),
        Identifier::Ip(_) => None,
    })
}

/// Judges what was found for an authorization.
///
/// # Errors
/// The problem to store with the challenge.
pub fn judge_authorization(
    record: &AuthorizationRecord,
    challenge: ChallengeType,
    findings: &CaaFindings,
    context: &Context<'_>,
) -> Result<(), Box<ProblemDocument>> {
    let Identifier::Dns(name) = &record.identifier else { return Ok(()) };
    judge(name, record.wildcard, challenge.name(), findings, context)
}

/// The most names whose problems are told at the top: many clients show no subproblems.
const MAX_DETAILS: usize = 10;

/// Judges what was found for an order: every name of it.
///
/// # Errors
/// The problem to store with the order; with several, each is a subproblem (RFC 8555 §6.7.1).
pub fn judge_order(
    processing: &Processing,
    findings: &CaaFindings,
    context: &Context<'_>,
) -> Result<(), Box<ProblemDocument>> {
    let judge = |(name, method): (&DnsName, &str)| judge(name, name.is_wildcard(), method, findings, context).err();
    let mut problems: Vec<_> = names(processing).filter_map(judge).map(|problem| *problem).collect();
    match problems.len() {
        0 => Ok(()),
        1 => problems.pop().map_or(Ok(()), |problem| Err(Box::new(problem))),
        _ => {
            problems.iter_mut().for_each(|problem| problem.status = None);
            let details: Vec<_> = problems.iter().take(MAX_DETAILS).map(|problem| problem.detail.as_str()).collect();
            let more = problems.len().saturating_sub(details.len());
            let more =
                if more == 0 { String::new() } else { format!(" The same of {more} more names; see the subproblems.") };
            let document = ProblemDocument::new("caa", Some(403), details.join(" ") + &more);
            Err(Box::new(ProblemDocument { subproblems: problems, ..document }))
        }
    }
}

fn judge(
    name: &DnsName,
    wildcard: bool,
    method: &str,
    findings: &CaaFindings,
    context: &Context<'_>,
) -> Result<(), Box<ProblemDocument>> {
    let refuse = |kind, detail: String| {
        let about = Identifier::Dns(name.clone());
        Err(Box::new(ProblemDocument::new(kind, Some(403), detail).about(about.into())))
    };
    let account_url = context.urls.resource(context.account, Resource::Account);
    let issuance = Issuance { issuers: &context.config.caa_identities, wildcard, account_url: &account_url, method };
    match findings.get(&name.without_wildcard()).unwrap_or(&Err(CaaFault::NotAsked)) {
        Ok(None) => Ok(()),
        Ok(Some(records)) => records.permit(&issuance).or_else(|why| {
            let at = &records.at;
            let ours: Vec<_> = context.config.caa_identities.iter().map(DnsName::as_str).collect();
            let ours = ours.join(" or ");
            refuse("caa", format!("The CAA records at {at} do not permit this certificate: {why}. This CA is {ours}."))
        }),
        Err(fault) => refuse("dns", format!("The CAA records of {} could not be looked up: {fault}.", name.base())),
    }
}
