//! A taken-over edge: a raw client with a good certificate that tries each forbidden thing. Whatever it tries, it hears a refusal of
//! a type, the journal names the attempt or says why it does not, no token is asked for anything, and the next honest request is served.

mod connections;
mod flood;
mod grant;
mod identity;
mod key;
mod name;
mod order;
mod profile;
mod records;
mod request;
mod settle;
mod status;
mod strangers;
mod wire;

#[cfg(feature = "slow-token")]
pub(crate) use records::of_second;

use std::{fmt::Write, fs};

use serde::Serialize;
use serde_json::Value;
use shared::signing::{ISSUE_PATH, IssueRequest, Refusal, Refused};

use crate::{
    client::{Edge, simple},
    site::{Daemon, EDGE, Site},
};

/// Another edge of the same signer.
const SECOND: &str = "second.colophon.internal";

/// A daemon, and the edge that somebody has taken over.
struct Stage {
    site: Site,
    daemon: Daemon,
    edge: Edge,
}

/// One forbidden thing.
struct Attempt {
    name: &'static str,
    path: &'static str,
    body: Vec<u8>,
    /// What it is refused for.
    refusal: Refusal,
    trace: Trace,
}

/// What stays of an attempt.
enum Trace {
    /// A record that names the reason, the edge and this order; empty where there is none.
    Record { order: String },
    /// A line of the log, for this reason.
    Log(&'static str),
}

/// What must not change.
#[derive(Debug, PartialEq, Eq)]
struct Spent {
    /// By the tokens, since the start.
    signatures: u64,
    /// Records of the journal but those of refusals.
    records: usize,
}

impl Stage {
    /// A site of one issuer, `a1`, with scopes for names, addresses and bound accounts.
    fn new() -> Self {
        let site = Site::new(&["a1"]);
        policy(&site);
        Self::of(site)
    }

    /// The daemon of this site.
    fn of(site: Site) -> Self {
        let daemon = site.serve();
        Self { edge: Edge::new(&site), site, daemon }
    }

    fn spent(&self) -> Spent {
        self.look().0
    }

    /// What was spent, and the records of refusals.
    fn look(&self) -> (Spent, Vec<Value>) {
        let issuers = self.edge.status().unwrap().issuers;
        let signatures = issuers.iter().flat_map(|issuer| &issuer.tokens).map(|token| token.signatures).sum();
        let events = self.site.journal().into_iter().map(|mut record| record["event"].take());
        let (refused, others): (Vec<_>, Vec<_>) = events.partition(|event| event.get("refused").is_some());
        let refused = refused.into_iter().map(|mut event| event["refused"].take()).collect();
        (Spent { signatures, records: others.len() }, refused)
    }

    /// Tries each of these. All that is not as it should be is said at the end.
    fn try_each(&self, attempts: &[Attempt]) {
        let (mut faults, mut before) = (String::new(), self.look());
        for attempt in attempts {
            let answer = self.edge.post_to(attempt.path, &attempt.body).map_err(|error| error.to_string());
            let after = self.look();
            if let Err(fault) = answer.and_then(|answer| attempt.judge(&answer, &before, &after)) {
                writeln!(faults, "{}: {fault}", attempt.name).unwrap();
            }
            before = after;
        }
        assert!(faults.is_empty(), "\n{faults}\n{}", self.daemon.log());
        // Not because it refuses everything.
        self.edge.issued(&simple(900_000 + self.site.journal().len()));
    }
}

impl Attempt {
    /// Whether the answer, and what stays of it, are as they should be.
    fn judge(
        &self,
        (status, answer): &(u16, String),
        (before, earlier): &(Spent, Vec<Value>),
        (after, refusals): &(Spent, Vec<Value>),
    ) -> Result<(), String> {
        let read = serde_json::from_str::<Value>(answer)
            .ok()
            .and_then(|mut answer| serde_json::from_value::<Refused>(answer.get_mut("refused").map(Value::take)?).ok());
        let refused = read.ok_or_else(|| format!("not refused: {status} {answer}"))?;
        if (*status, refused.reason) != (self.refusal.http_status(), self.refusal) {
            return Err(format!("{:?} is expected, not {status} {refused:?}", self.refusal));
        }
        match (&self.trace, &refusals[earlier.len()..]) {
            (Trace::Log(_), []) => {}
            (Trace::Record { order }, [record]) => {
                let said = (&record["reason"], record["edge"].as_str(), record["order"].as_str());
                let reason = serde_json::to_value(self.refusal).unwrap();
                if said != (&reason, Some(EDGE), Some(order.as_str())) {
                    return Err(format!("the record says {record}"));
                }
            }
            (Trace::Log(why), records) => return Err(format!("{why}, and yet the journal says {records:?}")),
            (_, records) => return Err(format!("{} records: {records:?}", records.len())),
        }
        if after == before { Ok(()) } else { Err(format!("it has cost something: {before:?}, {after:?}")) }
    }

    /// A request for a certificate.
    fn issue(name: &'static str, refusal: Refusal, request: &IssueRequest) -> Self {
        let order = request.order.get(..request.order.floor_char_boundary(256)).unwrap().to_owned();
        Self { trace: Trace::Record { order }, ..Self::post(name, refusal, ISSUE_PATH, request) }
    }

    /// A request of any verb.
    fn post(name: &'static str, refusal: Refusal, path: &'static str, request: &impl Serialize) -> Self {
        Self::bytes(name, refusal, path, serde_json::to_vec(request).unwrap())
    }

    /// Bytes that may be a request.
    fn bytes(name: &'static str, refusal: Refusal, path: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { name, path, body: body.into(), refusal, trace: Trace::Record { order: String::new() } }
    }

    /// The same, and its record names this order.
    fn of_order(self, order: String) -> Self {
        Self { trace: Trace::Record { order }, ..self }
    }

    /// The same, and only the log says so.
    fn logged(self, why: &'static str) -> Self {
        Self { trace: Trace::Log(why), ..self }
    }
}

/// Changes the configuration.
fn rewrite(site: &Site, change: impl FnOnce(String) -> String) {
    let file = site.path("signer.toml");
    fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
}

/// Adds what these tests need to the policy.
fn policy(site: &Site) {
    let more = r#"
[[edge]]
name = "second.colophon.internal"
base_urls = ["https://second.test"]
[[profile]]
name = "client"
validity_seconds = 86400
backdate_seconds = 60
extended_key_usage = ["clientAuth"]
revocation = "none"
[[scope]]
name = "plain"
open = true
dns_suffixes = ["plain.example"]
wildcards = false
ip_networks = ["10.1.0.0/16", "fd00:1::/32"]
methods = ["http-01"]
profiles = ["server"]
keys = ["p256"]
proof_seconds = 600
"#;
    rewrite(site, |text| text + more);
}

/// What is tried of one daemon, one after the other.
const TABLES: [fn(&Stage) -> Vec<Attempt>; 11] = [
    order::unsigned,
    order::elsewhere,
    name::outside,
    name::no_names,
    name::differing,
    request::smuggled,
    key::weak,
    profile::beyond,
    profile::other_keys,
    records::garbled,
    wire::malformed_bodies,
];

#[test]
fn each_forbidden_thing_is_refused_by_its_type_journaled_and_costs_no_token_anything() {
    let stage = Stage::new();
    let attempts: Vec<_> = TABLES.iter().flat_map(|table| table(&stage)).collect();
    assert!(attempts.len() > 170, "{} attempts", attempts.len());
    stage.try_each(&attempts);
}
