//! Authorizations and their challenges: read, answered, probed, ended (RFC 8555 §7.1.4, §7.5).

use serde::Deserialize;
use shared::{
    base64url,
    identifier::{Identifier, IdentifierObject},
    jws::Verified,
    timestamp::Timestamp,
};

use super::{
    authorization_object::{challenge_reply, reply, status},
    caa_check::{self, CaaFindings},
    challenge::{self, ChallengeType},
    identifier_refusal::IdentifierRefusal,
    kubernetes::presented,
    object_id::ObjectId,
    perspective::{self, Sighting},
    policy,
    probe::Probe,
    problem::{Problem, ProblemDocument},
    rate_limit,
    record::{
        AccountRecord, AccountStatus, AuthorizationRecord, AuthorizationState, Probing, Proved, Record, ReusableRecord,
    },
    route::{Resource, Route},
    step::{Context, Effect, Reply, Settled, Step, payload},
    storage::{Change, Key, Rows, StorageFault},
    view::AuthorizationStatus,
};

/// Probes that are started for one answer of a client before the challenge fails: a probe whose outcome never came back
/// (the object was restarted) is done again by alarm, each time after twice as long.
const MAX_PROBES: u32 = 5;

/// newAuthz: an authorization before any order (RFC 8555 §7.4.1).
///
/// # Errors
/// `malformed`, `rejectedIdentifier`, `unsupportedIdentifier`, `rateLimited`.
pub fn create(rows: &dyn Rows, request: &Verified, context: &Context<'_>) -> Result<Step, Problem> {
    let asked: NewAuthorization = payload(request, "a newAuthz object with \"identifier\"")?;
    let object = asked.identifier;
    let refuse = |why| Problem::Identifiers(vec![(object.clone(), why)]);
    let identifier = policy::admit(object.clone(), &context.scope.identifiers).map_err(refuse)?;
    if matches!(&identifier, Identifier::Dns(name) if name.is_wildcard()) {
        // A wildcard is authorized by an order alone (RFC 8555 §7.4.1).
        return Err(refuse(IdentifierRefusal::WildcardInAdvance));
    }
    rate_limit::check_failures(rows, context)?;
    let (id, record) = new(&identifier, 0, true, context);
    let location = context.urls.resource(context.account, Resource::Authorization(id));
    let changes = made(id, &record, context)?;
    let reply = Reply { status: 201, ..reply(id, &record, context)? }.at(location);
    Ok(Step { changes, effect: None, reply })
}

/// A fresh authorization. `index` tells those of one step apart.
#[must_use]
pub fn new(
    identifier: &Identifier,
    index: usize,
    in_advance: bool,
    context: &Context<'_>,
) -> (ObjectId, AuthorizationRecord) {
    let id = ObjectId::new(context.now, context.entropy.derive("authorization", index));
    let (name, wildcard) = match identifier {
        Identifier::Dns(name) => (Identifier::Dns(name.without_wildcard()), name.is_wildcard()),
        Identifier::Ip(address) => (Identifier::Ip(*address), false),
    };
    let record = AuthorizationRecord {
        identifier: name,
        wildcard,
        expires: context.now.plus(context.config.lifetimes.authorization),
        in_advance,
        token: base64url::encode(&context.entropy.derive::<16>("token", index)),
        proved: None,
        seen: Vec::new(),
        state: if context.scope.pre_approved {
            AuthorizationState::Approved { since: context.now }
        } else {
            AuthorizationState::Pending
        },
    };
    (id, record)
}

/// The rows of a fresh authorization.
///
/// # Errors
/// Never: an authorization can be serialized.
pub fn made(id: ObjectId, record: &AuthorizationRecord, context: &Context<'_>) -> Result<Vec<Change>, StorageFault> {
    let mut changes = vec![put(id, record, context)?];
    if matches!(record.state, AuthorizationState::Approved { .. }) {
        changes.push(reusable_by(&identifier_of(record), id)?);
    }
    Ok(changes)
}

/// The latest authorization that proves this identifier now.
///
/// # Errors
/// When rows cannot be read.
pub fn held(
    rows: &dyn Rows,
    identifier: &Identifier,
    context: &Context<'_>,
) -> Result<Option<(ObjectId, AuthorizationRecord)>, Problem> {
    let text = identifier.to_string();
    let key = Key::Reusable(ObjectId::of_identifier(&text));
    let Some(ReusableRecord { authorization: id }) = ReusableRecord::load(rows, key)? else { return Ok(None) };
    let Some(record) = AuthorizationRecord::load(rows, Key::Authorization(id))? else { return Ok(None) };
    let proves = record.state.proof().is_some() && record.expires >= context.now;
    Ok((proves && identifier_of(&record) == text).then_some((id, record)))
}

/// An authorization that already proves this identifier and may serve another order (RFC 8555 §7.4).
///
/// # Errors
/// When rows cannot be read.
pub fn reusable(
    rows: &dyn Rows,
    identifier: &Identifier,
    context: &Context<'_>,
) -> Result<Option<(ObjectId, AuthorizationRecord)>, Problem> {
    let fresh = |record: &AuthorizationRecord| match &record.state {
        AuthorizationState::Valid { validated, .. } => {
            record.in_advance || context.now.since(*validated) < context.config.lifetimes.authorization_reuse
        }
        AuthorizationState::Approved { .. } => context.scope.pre_approved,
        _ => false,
    };
    Ok(held(rows, identifier, context)?.filter(|(_, record)| fresh(record)))
}

/// The identifier as orders write it.
fn identifier_of(record: &AuthorizationRecord) -> String {
    let wildcard = if record.wildcard { "*." } else { "" };
    format!("{wildcard}{}", record.identifier)
}

fn reusable_by(identifier: &str, id: ObjectId) -> Result<Change, StorageFault> {
    ReusableRecord { authorization: id }.put(Key::Reusable(ObjectId::of_identifier(identifier)), None)
}

/// A POST to an authorization: read it, or give it up (RFC 8555 §7.5, §7.5.2).
///
/// # Errors
/// `malformed` (404 when there is none).
pub fn read_or_deactivate(
    rows: &dyn Rows,
    id: ObjectId,
    request: &Verified,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    let mut record = load(rows, id)?;
    if request.payload().is_empty() {
        return Ok(Step::read(reply(id, &record, context)?));
    }
    const EXPECTED: &str = "empty, or an object with \"status\": \"deactivated\"";
    let update: AuthorizationUpdate = payload(request, EXPECTED)?;
    if update.status != "deactivated" {
        return Err(Problem::Payload(EXPECTED));
    }
    match status(&record, context) {
        AuthorizationStatus::Pending | AuthorizationStatus::Valid => {
            if let AuthorizationState::Valid { challenge, validated, .. } = record.state {
                record.proved = Some(Proved { challenge, validated });
            }
            record.state = AuthorizationState::Deactivated;
            let reply = reply(id, &record, context)?;
            Ok(Step { changes: vec![put(id, &record, context)?], effect: None, reply })
        }
        AuthorizationStatus::Deactivated => Ok(Step::read(reply(id, &record, context)?)),
        AuthorizationStatus::Invalid | AuthorizationStatus::Expired => {
            Err(Problem::Payload("empty: the authorization has ended, so it cannot be deactivated any more"))
        }
    }
}

/// A POST to a challenge: read it, or say that it can be looked at (RFC 8555 §7.5.1).
///
/// # Errors
/// `malformed` (404 when this identifier has no such challenge), `rateLimited`.
pub fn respond(
    rows: &dyn Rows,
    id: ObjectId,
    kind: ChallengeType,
    request: &Verified,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    let mut record = load(rows, id)?;
    if !context.scope.offered(&record.identifier, record.wildcard).any(|offered| offered == kind) {
        return Err(Problem::NotFound);
    }
    if !request.payload().is_empty() {
        let _: serde_json::Map<String, serde_json::Value> =
            payload(request, "a JSON object: an empty one, or what the challenge asks for")?;
        if can_begin(&record, context.now) {
            let presented = presented::read(kind, request, &record, context)?;
            let charge = rate_limit::reserve_failure(rows, context)?;
            let charged = charge.is_some();
            let probing = Probing { challenge: kind, since: context.now, attempts: 1, charged, presented };
            record.state = AuthorizationState::Processing(probing);
            let changes = Vec::from_iter(std::iter::once(put(id, &record, context)?).chain(charge));
            let effect = Some(Effect::Probe(challenge::probe(id, &record, kind, context)));
            return Ok(Step { changes, effect, reply: challenge_reply(id, kind, &record, context)? });
        }
        // A probe under way goes on alone; one that was lost is started again at once (RFC 8555 §8.2).
        if matches!(&record.state, AuthorizationState::Processing(probing) if probing.challenge == kind) {
            let effect = Some(Effect::Probe(challenge::probe(id, &record, kind, context)));
            return Ok(Step { changes: Vec::new(), effect, reply: challenge_reply(id, kind, &record, context)? });
        }
    }
    Ok(Step::read(challenge_reply(id, kind, &record, context)?))
}

/// True when this request would begin a validation: it answers a challenge of an authorization that waits for one.
///
/// # Errors
/// When rows cannot be read.
pub fn begins(rows: &dyn Rows, route: Route, request: &Verified, now: Timestamp) -> Result<bool, StorageFault> {
    let Route::Of(_, Resource::Challenge(id, _)) = route else { return Ok(false) };
    let record = AuthorizationRecord::load(rows, Key::Authorization(id))?;
    Ok(!request.payload().is_empty() && record.is_some_and(|record| can_begin(&record, now)))
}

fn can_begin(record: &AuthorizationRecord, now: Timestamp) -> bool {
    record.state == AuthorizationState::Pending && record.expires >= now
}

/// A probe came back from where it was run: the challenge it was for is judged. A late or doubled outcome changes nothing.
///
/// # Errors
/// When rows cannot be read.
pub fn probed(
    rows: &dyn Rows,
    probe: &Probe,
    sightings: &[Sighting],
    context: &Context<'_>,
) -> Result<Settled, Problem> {
    let mut record = load(rows, probe.authorization)?;
    let AuthorizationState::Processing(probing) = &record.state else { return Ok(Settled::default()) };
    let challenge = probing.challenge;
    if challenge != probe.challenge {
        return Ok(Settled::default());
    }
    let account = AccountRecord::load(rows, Key::Account)?.ok_or(Problem::AccountDoesNotExist)?;
    if account.status == AccountStatus::Deactivated {
        return end(probe.authorization, record, context);
    }
    // Too late: clients have seen it invalid since it expired.
    if record.expires < context.now {
        let late = Err(too_late(&record));
        return conclude(rows, probe.authorization, record, challenge, late, context);
    }
    let verdict = perspective::judge(&record, probe, account.key.thumbprint(), sightings, context);
    record.seen = verdict.seen;
    if verdict.result.is_ok() {
        record.expires = verdict.until.map_or(record.expires, |until| record.expires.min(until));
        if let Some(check) = caa_check::of_authorization(probe.authorization, &record, challenge, context) {
            let changes = Settled::changes(vec![put(probe.authorization, &record, context)?]);
            return Ok(Settled { effect: Some(Effect::CheckCaa(check)), ..changes });
        }
    }
    conclude(rows, probe.authorization, record, challenge, verdict.result, context)
}

/// The CAA records of a name whose challenge was answered rightly were looked up.
///
/// # Errors
/// When rows cannot be read.
pub fn caa_checked(
    rows: &dyn Rows,
    id: ObjectId,
    challenge: ChallengeType,
    findings: &CaaFindings,
    context: &Context<'_>,
) -> Result<Settled, Problem> {
    let record = load(rows, id)?;
    if !matches!(&record.state, AuthorizationState::Processing(probing) if probing.challenge == challenge) {
        return Ok(Settled::default());
    }
    let account = AccountRecord::load(rows, Key::Account)?.ok_or(Problem::AccountDoesNotExist)?;
    if account.status == AccountStatus::Deactivated {
        return end(id, record, context);
    }
    let judged = match record.expires < context.now {
        true => Err(too_late(&record)),
        false => caa_check::judge_authorization(&record, challenge, findings, context),
    };
    conclude(rows, id, record, challenge, judged, context)
}

fn too_late(record: &AuthorizationRecord) -> Box<ProblemDocument> {
    let (name, expired) = (&record.identifier, record.expires);
    let detail = format!("The authorization of {name} expired at {expired}, before it was proved.");
    Box::new(ProblemDocument::new("malformed", Some(403), detail))
}

/// The authorization is settled, by this challenge.
fn conclude(
    rows: &dyn Rows,
    id: ObjectId,
    mut record: AuthorizationRecord,
    challenge: ChallengeType,
    judged: Result<(), Box<ProblemDocument>>,
    context: &Context<'_>,
) -> Result<Settled, Problem> {
    let evidence = presented::token(&record.state);
    let charged = matches!(&record.state, AuthorizationState::Processing(probing) if probing.charged);
    record.state = match judged {
        Ok(()) => AuthorizationState::Valid { challenge, validated: context.now, evidence },
        Err(problem) => {
            let problem = problem.about(record.identifier.clone().into());
            AuthorizationState::Invalid { challenge, problem }
        }
    };
    let mut changes = vec![put(id, &record, context)?];
    match record.state {
        AuthorizationState::Valid { .. } => {
            changes.push(reusable_by(&identifier_of(&record), id)?);
            changes.extend(if charged { rate_limit::refund_failure(rows, context)? } else { None });
        }
        _ if charged => {}
        _ => changes.extend(rate_limit::charge_failure(rows, context)?),
    }
    Ok(Settled::changes(changes))
}

/// An alarm found the authorization due. One that is still processing has lost its probe, so it is done again, a bounded
/// number of times; one that ended some time ago is deleted.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, id: ObjectId, context: &Context<'_>) -> Result<Settled, Problem> {
    let mut record = load(rows, id)?;
    let AuthorizationState::Processing(probing) = &mut record.state else {
        presented::forget(&mut record.state);
        return Ok(Settled::changes(if deleted_at(&record, context) <= context.now {
            delete(rows, id, &record)?
        } else {
            vec![put(id, &record, context)?]
        }));
    };
    let account = AccountRecord::load(rows, Key::Account)?;
    if account.is_none_or(|account| account.status == AccountStatus::Deactivated) {
        return end(id, record, context);
    }
    let challenge = probing.challenge;
    if probing.attempts >= MAX_PROBES {
        let detail = format!(
            "The validation of {} by {} timed out: {MAX_PROBES} attempts were started, and none returned a result. Make a new order.",
            record.identifier,
            challenge.name()
        );
        let problem = Box::new(ProblemDocument::new("connection", Some(403), detail));
        return conclude(rows, id, record, challenge, Err(problem), context);
    }
    probing.attempts = probing.attempts.saturating_add(1);
    let effect = Some(Effect::Probe(challenge::probe(id, &record, challenge, context)));
    Ok(Settled { effect, ..Settled::changes(vec![put(id, &record, context)?]) })
}

/// The authorization's row. Its alarm looks after a probe, and deletes it some time after its end.
///
/// # Errors
/// Never: an authorization can be serialized.
pub fn put(id: ObjectId, record: &AuthorizationRecord, context: &Context<'_>) -> Result<Change, StorageFault> {
    let due = match &record.state {
        AuthorizationState::Processing(probing) => {
            let doublings = probing.attempts.saturating_sub(1).min(MAX_PROBES);
            context.now.plus(context.config.lifetimes.redrive.saturating_mul(1 << doublings))
        }
        // No order can be finalized by its token then.
        AuthorizationState::Valid { evidence: Some(_), .. } => record.expires.plus(1),
        _ => deleted_at(record, context),
    };
    record.put(Key::Authorization(id), Some(due))
}

/// Behind every order that may use it: one that was made in the last second of its life.
fn deleted_at(record: &AuthorizationRecord, context: &Context<'_>) -> Timestamp {
    let lifetimes = &context.config.lifetimes;
    record.expires.plus(lifetimes.order).plus(lifetimes.retention)
}

/// Deletes an authorization, and what leads to it.
fn delete(rows: &dyn Rows, id: ObjectId, record: &AuthorizationRecord) -> Result<Vec<Change>, Problem> {
    let reusable = Key::Reusable(ObjectId::of_identifier(&identifier_of(record)));
    let leads_here = ReusableRecord::load(rows, reusable)?.is_some_and(|reusable| reusable.authorization == id);
    let mut changes = vec![Change::Delete(Key::Authorization(id))];
    changes.extend(leads_here.then_some(Change::Delete(reusable)));
    Ok(changes)
}

/// The account was deactivated meanwhile: nothing of it becomes valid any more (RFC 8555 §7.3.6).
fn end(id: ObjectId, mut record: AuthorizationRecord, context: &Context<'_>) -> Result<Settled, Problem> {
    record.state = AuthorizationState::Deactivated;
    Ok(Settled::changes(vec![put(id, &record, context)?]))
}

fn load(rows: &dyn Rows, id: ObjectId) -> Result<AuthorizationRecord, Problem> {
    AuthorizationRecord::load(rows, Key::Authorization(id))?.ok_or(Problem::NotFound)
}

/// RFC 8555 §7.4.1.
#[derive(Deserialize)]
struct NewAuthorization {
    identifier: IdentifierObject,
}

/// RFC 8555 §7.5.2.
#[derive(Deserialize)]
struct AuthorizationUpdate {
    status: String,
}
