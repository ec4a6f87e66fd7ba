//! Perspectives: the same probe run from several places, and what their outcomes say together. A resolver or a path that
//! lies to one of them must not be enough. Fetching is the platform's work.

use serde::{Deserialize, Serialize};
use shared::{jwk::Thumbprint, timestamp::Timestamp};

use super::{
    challenge::{self, ChallengeType},
    config::BadConfig,
    probe::{Probe, ProbeOutcome},
    problem::ProblemDocument,
    record::AuthorizationRecord,
    step::Context,
    validation::{Resolver, parse_resolvers},
};

/// The places that the platform can put an object near to.
pub const HINTS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

/// The name of the account's own object among the perspectives.
pub const HOME: &str = "home";

/// A perspective as an operator writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerspectiveConfig {
    /// One of [`HINTS`].
    pub hint: String,
    /// Asked in place of `validation.resolvers`, where it names any.
    #[serde(default)]
    pub resolvers: Vec<String>,
}

/// A checked [`PerspectiveConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perspective {
    /// One of [`HINTS`].
    pub hint: &'static str,
    /// Its own resolvers; when there are none, those of all probes.
    pub resolvers: Vec<Resolver>,
}

/// Where probes look from besides the account's object, and how many outcomes must prove a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perspectives {
    /// Each hint once.
    pub others: Vec<Perspective>,
    /// At least one, and at most one more than there are others.
    pub quorum: usize,
}

impl Perspectives {
    /// Checks them; without a quorum all must prove a challenge.
    ///
    /// # Errors
    /// [`BadConfig::Hint`], [`BadConfig::Quorum`], [`BadConfig::Resolver`].
    pub fn check(configs: Vec<PerspectiveConfig>, quorum: Option<usize>) -> Result<Self, BadConfig> {
        let mut others: Vec<Perspective> = Vec::new();
        for PerspectiveConfig { hint: text, resolvers } in configs {
            let hint = HINTS.into_iter().find(|hint| *hint == text);
            match hint.filter(|hint| others.iter().all(|other| other.hint != *hint)) {
                Some(hint) => others.push(Perspective { hint, resolvers: parse_resolvers(resolvers)? }),
                None => return Err(BadConfig::Hint(text)),
            }
        }
        let all = others.len().saturating_add(1);
        let quorum = quorum.unwrap_or(all);
        if (1..=all).contains(&quorum) { Ok(Self { others, quorum }) } else { Err(BadConfig::Quorum(all)) }
    }
}

/// What one perspective came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// [`HOME`] or a hint.
    pub from: &'static str,
    /// Not judged yet.
    pub outcome: ProbeOutcome,
}

impl Sighting {
    /// Of the account's own object.
    #[must_use]
    pub const fn at_home(outcome: ProbeOutcome) -> Self {
        Self { from: HOME, outcome }
    }
}

/// A judged sighting, as an authorization keeps it for its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// [`HOME`] or a hint.
    pub from: String,
    /// Why it does not prove the challenge; nothing when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemDocument>,
}

/// What the sightings say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Each by itself; empty when the account's object looked alone.
    pub seen: Vec<Seen>,
    /// The end of the proof, where one of them has an end: the first of those.
    pub until: Option<Timestamp>,
    /// Whether enough of them prove the challenge; else the problem to store with it.
    pub result: Result<(), Box<ProblemDocument>>,
}

/// Judges what the perspectives saw. A perspective that is missing proves nothing, so fewer sightings than the quorum never
/// suffice.
#[must_use]
pub fn judge(
    record: &AuthorizationRecord,
    probe: &Probe,
    account_key: Thumbprint,
    sightings: &[Sighting],
    context: &Context<'_>,
) -> Verdict {
    // A cluster is asked about its workloads by the account's object alone: elsewhere the answer would be the same.
    let by_cluster = probe.challenge == ChallengeType::Kubernetes01;
    let quorum = if by_cluster { 1 } else { context.config.validation.perspectives.quorum };
    let mut until: Option<Timestamp> = None;
    let mut judged = Vec::new();
    for Sighting { from, outcome } in sightings {
        let problem = match challenge::judge(record, probe, account_key, outcome, context) {
            Ok(ends) => {
                until = [until, ends].into_iter().flatten().min();
                None
            }
            Err(problem) => Some(problem),
        };
        judged.push((*from, problem));
    }
    let proved = judged.iter().filter(|(_, problem)| problem.is_none()).count();
    let alone = judged.len() == 1;
    let first = judged.iter().find_map(|(_, problem)| problem.clone());
    let result = match first {
        _ if proved >= quorum && proved > 0 => Ok(()),
        Some(problem) if alone => Err(problem),
        first => Err(Box::new(disagreement(record, first, &judged, quorum))),
    };
    let keep = |(from, problem): (&str, Option<Box<ProblemDocument>>)| Seen {
        from: from.to_owned(),
        problem: problem.map(|problem| ProblemDocument::bare(*problem)),
    };
    Verdict { seen: if alone { Vec::new() } else { judged.into_iter().map(keep).collect() }, until, result }
}

/// The first problem, and who else did not find the proof.
fn disagreement(
    record: &AuthorizationRecord,
    first: Option<Box<ProblemDocument>>,
    judged: &[(&'static str, Option<Box<ProblemDocument>>)],
    quorum: usize,
) -> ProblemDocument {
    let against: Vec<_> = judged.iter().filter(|(_, problem)| problem.is_some()).map(|(from, _)| *from).collect();
    let (all, proved) = (judged.len(), judged.len().saturating_sub(against.len()));
    let words = format!("The challenge was looked at from {all} places; {proved} found the proof and {quorum} must.");
    let problem = first.map_or_else(
        || ProblemDocument::new("serverInternal", Some(403), "").about(record.identifier.clone().into()),
        |problem| *problem,
    );
    let detail = if against.is_empty() {
        words
    } else {
        format!("{} {words} Not found from: {}.", problem.detail, against.join(", "))
    };
    ProblemDocument { detail, ..problem }
}
