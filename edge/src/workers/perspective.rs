//! The Perspective object: runs probes from where it is, for accounts that are elsewhere. Stores nothing and decides nothing:
//! a lost outcome is an outcome that proves nothing, and the account's alarm does the whole probe again.

use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join};
use worker::{DurableObject, Env, Method, Request, RequestInit, Response, State, console_error, durable_object};

use super::{environment::Environment, kubernetes, probe, timeout::within};
use crate::acme::{
    challenge::ChallengeType,
    network::Networks,
    perspective::{Perspective as Place, Seen, Sighting},
    probe::{Probe, ProbeFault, ProbeOutcome, Waiting},
    record::AuthorizationRecord,
    step::Event,
    validation::Validation,
};

/// The binding of the objects' namespace.
const BINDING: &str = "PERSPECTIVE";

/// Objects at each place: one alone would have too few connections (the platform allows six at a time) for many accounts.
const OBJECTS: usize = 16;

/// What the way there and back may take, beside the probe's own time.
const MARGIN: Duration = Duration::from_secs(2);

/// Runs a probe here, and from all perspectives at the same time.
pub(super) async fn run(env: &Env, environment: &Environment, probe: Probe) -> Event {
    let (validation, networks) = settings(environment, &probe);
    if probe.challenge == ChallengeType::Kubernetes01 {
        let limit = Duration::from_millis(u64::from(validation.timeout_ms));
        let outcome = within(limit, kubernetes::look(&probe, environment, env)).await;
        return Event::Probed(probe, outcome.unwrap_or(Err(ProbeFault::Timeout(Waiting::Cluster))));
    }
    let places = &validation.perspectives.others;
    let here = probe::run(&probe, validation, networks);
    if places.is_empty() {
        let outcome = here.await;
        return Event::Probed(probe, outcome);
    }
    let limit = Duration::from_millis(u64::from(validation.timeout_ms)).saturating_add(MARGIN);
    let mut all: LocalBoxFuture<'_, Vec<Sighting>> = Box::pin(async { vec![Sighting::at_home(here.await)] });
    for place in places {
        let there = within(limit, ask(env, environment, place, &probe));
        all = Box::pin(async move {
            let (mut sightings, outcome) = join(all, there).await;
            let outcome = outcome.unwrap_or_else(|| lost(place, "late"));
            sightings.push(Sighting { from: place.hint, outcome });
            sightings
        });
    }
    let sightings = all.await;
    Event::ProbedFrom(probe, sightings)
}

/// How this probe is to look, and where it may go.
fn settings<'a>(environment: &'a Environment, probe: &Probe) -> (&'a Validation, &'a Networks) {
    let config = &environment.config;
    (&config.validation, &config.scopes.named(&probe.scope).networks)
}

/// Asks the object at a place, in one hop. The place is in the URL, so that the object asks that place's own resolvers.
async fn ask(env: &Env, environment: &Environment, place: &Place, probe: &Probe) -> ProbeOutcome {
    let answer = async {
        let body = serde_json::to_string(probe)?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let object = probe.authorization.random_part().checked_rem(OBJECTS).unwrap_or(0);
        let name = format!("{}/{}/{object}", environment.config.deployment, place.hint);
        let stub = env.durable_object(BINDING)?.get_by_name_with_location_hint(&name, place.hint)?;
        let bytes = stub
            .fetch_with_request(Request::new_with_init(&format!("https://{}/", place.hint), &init)?)
            .await?
            .bytes()
            .await?;
        Ok::<ProbeOutcome, worker::Error>(serde_json::from_slice(&bytes)?)
    };
    answer.await.unwrap_or_else(|error| lost(place, error))
}

/// Writes which perspectives found no proof, and why, to the log of the operator.
pub(super) fn log(record: &AuthorizationRecord) {
    for Seen { from, problem } in &record.seen {
        if let Some(problem) = problem {
            console_error!("{} from {from}: {} {}", record.identifier, problem.kind, problem.detail);
        }
    }
}

/// The log gets what the client does not: why nobody looked from there.
fn lost(place: &Place, why: impl std::fmt::Display) -> ProbeOutcome {
    console_error!("perspective {}: {why}", place.hint);
    Err(ProbeFault::NoPerspective)
}

/// Looks from one place.
#[durable_object(fetch)]
#[derive(Debug)]
pub struct Perspective {
    env: Env,
}

impl DurableObject for Perspective {
    fn new(_state: State, env: Env) -> Self {
        Self { env }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let environment = Environment::of(&self.env).map_err(|error| worker::Error::RustError(error.to_string()))?;
        let probe: Probe = serde_json::from_slice(&request.bytes().await?)?;
        let url = request.inner().url();
        let from = url.trim_start_matches("https://").trim_end_matches('/');
        let (validation, networks) = settings(&environment, &probe);
        let outcome = match validation.perspectives.others.iter().find(|place| place.hint == from) {
            Some(place) => {
                let own = if place.resolvers.is_empty() { &validation.resolvers } else { &place.resolvers };
                let validation = Validation { resolvers: own.clone(), ..validation.clone() };
                probe::run(&probe, &validation, networks).await
            }
            None => Err(ProbeFault::NoPerspective),
        };
        Response::from_json(&outcome)
    }
}
