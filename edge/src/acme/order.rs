//! Orders: made and read (RFC 8555 §7.1.3, §7.4). An order's pending, ready and expired states are derived, never stored.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{
    base64url,
    identifier::{DnsName, Identifier, IdentifierObject},
    jws::Verified,
    profile::ProfileName,
    timestamp::Timestamp,
};

use super::{
    object_id::ObjectId,
    policy,
    problem::{Problem, ProblemDocument},
    record::{AuthorizationRecord, AuthorizationState, OrderRecord, OrderState, Record},
    route::Resource,
    step::{Context, Reply, Step, payload, require_post_as_get},
    storage::{Key, Rows},
    view::{OrderStatus, OrderView},
};

/// newOrder (RFC 8555 §7.4).
///
/// # Errors
/// `malformed`, `rejectedIdentifier`, `unsupportedIdentifier` (with a subproblem for each identifier), `invalidProfile`.
pub fn create(request: &Verified, context: &Context<'_>) -> Result<Step, Problem> {
    let asked: NewOrder = payload(request, "a newOrder object with \"identifiers\"")?;
    let rules = &context.config.identifiers;
    if asked.identifiers.is_empty() || asked.identifiers.len() > rules.per_order {
        return Err(Problem::IdentifierCount(rules.per_order));
    }
    if asked.not_before.is_some() || asked.not_after.is_some() {
        return Err(Problem::OrderTimes);
    }
    let profile_named = asked.profile.is_some();
    let profile = choose_profile(asked.profile, context)?;

    let mut identifiers = BTreeSet::new();
    let mut refused = Vec::new();
    for object in asked.identifiers {
        match policy::admit(object.clone(), rules) {
            Ok(identifier) => drop(identifiers.insert(identifier)),
            Err(why) => refused.push((object, why)),
        }
    }
    if !refused.is_empty() {
        return Err(Problem::Identifiers(refused));
    }

    let id = ObjectId::new(context.now, context.entropy.derive("order", 0));
    let authorizations: Vec<_> =
        identifiers.iter().enumerate().map(|(index, of)| authorize(of, index, context)).collect();
    let record = OrderRecord {
        identifiers: identifiers.into_iter().collect(),
        profile,
        profile_named,
        authorizations: authorizations.iter().map(|(id, _)| *id).collect(),
        created: context.now,
        expires: context.now.plus(context.config.lifetimes.order),
        state: OrderState::Open,
    };
    let mut changes = vec![record.put(Key::Order(id), None)?];
    for (id, authorization) in &authorizations {
        changes.push(authorization.put(Key::Authorization(*id), None)?);
    }
    let records = authorizations.into_iter().map(|(_, record)| record).collect::<Vec<_>>();
    let reply = reply(201, id, &record, &records, context)?;
    Ok(Step { changes, effect: None, reply })
}

/// A POST-as-GET of an order (RFC 8555 §7.4).
///
/// # Errors
/// `malformed` (404 when there is no such order).
pub fn read(rows: &dyn Rows, id: ObjectId, request: &Verified, context: &Context<'_>) -> Result<Step, Problem> {
    require_post_as_get(request)?;
    current(rows, id, context).map(Step::read)
}

/// The order as it is now, as an answer with status 200.
///
/// # Errors
/// When there is no such order, or rows cannot be read.
pub fn current(rows: &dyn Rows, id: ObjectId, context: &Context<'_>) -> Result<Reply, Problem> {
    let record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let authorizations = authorizations(rows, &record)?;
    reply(200, id, &record, &authorizations, context)
}

/// The authorizations of an order that is still open; none are read for another, which no longer depends on them.
///
/// # Errors
/// When rows cannot be read or one is missing.
pub fn authorizations(rows: &dyn Rows, record: &OrderRecord) -> Result<Vec<AuthorizationRecord>, Problem> {
    if record.state != OrderState::Open {
        return Ok(Vec::new());
    }
    let load = |id: &ObjectId| {
        AuthorizationRecord::load(rows, Key::Authorization(*id))?
            .ok_or(Problem::Internal("an order names an authorization that is not there"))
    };
    record.authorizations.iter().map(load).collect()
}

/// The state that clients see, and the reason when it is invalid (RFC 8555 §7.1.6).
#[must_use]
pub fn status(
    record: &OrderRecord,
    authorizations: &[AuthorizationRecord],
    now: Timestamp,
) -> (OrderStatus, Option<ProblemDocument>) {
    match &record.state {
        OrderState::Processing(_) => (OrderStatus::Processing, None),
        OrderState::Valid(_) => (OrderStatus::Valid, None),
        OrderState::Invalid(problem) => (OrderStatus::Invalid, Some(problem.clone())),
        OrderState::Open => open_status(record, authorizations, now),
    }
}

fn open_status(
    record: &OrderRecord,
    authorizations: &[AuthorizationRecord],
    now: Timestamp,
) -> (OrderStatus, Option<ProblemDocument>) {
    let refused = |kind, detail: &str| (OrderStatus::Invalid, Some(ProblemDocument::new(kind, Some(403), detail)));
    if record.expires < now {
        return refused("malformed", "The order has expired; make a new one.");
    }
    for authorization in authorizations {
        match &authorization.state {
            AuthorizationState::Invalid { problem, .. } => return (OrderStatus::Invalid, Some(problem.clone())),
            AuthorizationState::Deactivated => return refused("unauthorized", "An authorization was deactivated."),
            _ if authorization.expires < now => return refused("unauthorized", "An authorization has expired."),
            _ => {}
        }
    }
    let valid = |record: &AuthorizationRecord| matches!(record.state, AuthorizationState::Valid { .. });
    if authorizations.iter().all(valid) { (OrderStatus::Ready, None) } else { (OrderStatus::Pending, None) }
}

/// An order object as an answer. `authorizations` are those of [`authorizations`].
///
/// # Errors
/// Never: a view can be serialized.
pub fn reply(
    http_status: u16,
    id: ObjectId,
    record: &OrderRecord,
    authorizations: &[AuthorizationRecord],
    context: &Context<'_>,
) -> Result<Reply, Problem> {
    let (status, error) = status(record, authorizations, context.now);
    let url = |resource| context.urls.resource(context.account, resource);
    let view = OrderView {
        status,
        expires: record.expires,
        identifiers: record.identifiers.iter().cloned().map(Into::into).collect(),
        profile: record.profile_named.then(|| record.profile.clone()),
        authorizations: record.authorizations.iter().map(|id| url(Resource::Authorization(*id))).collect(),
        finalize: url(Resource::Finalize(id)),
        certificate: (status == OrderStatus::Valid).then(|| url(Resource::Certificate(id))),
        error,
    };
    // A client that polls sooner than this learns nothing new.
    let retry_after = matches!(status, OrderStatus::Processing).then_some(1);
    Ok(Reply::json(http_status, &view)?.at(url(Resource::Order(id))).retry_after(retry_after))
}

fn choose_profile(asked: Option<String>, context: &Context<'_>) -> Result<ProfileName, Problem> {
    match asked {
        None => context.config.default_profile().cloned().ok_or(Problem::Internal("there is no profile")),
        Some(text) => text
            .parse()
            .ok()
            .filter(|name| context.config.profiles.contains_key(name))
            .ok_or_else(|| Problem::UnknownProfile(text.chars().take(64).collect())),
    }
}

/// A new authorization for an identifier of an order.
fn authorize(identifier: &Identifier, index: usize, context: &Context<'_>) -> (ObjectId, AuthorizationRecord) {
    let id = ObjectId::new(context.now, context.entropy.derive("authorization", index));
    let record = AuthorizationRecord {
        identifier: match identifier {
            Identifier::Dns(name) => Identifier::Dns(name.without_wildcard()),
            Identifier::Ip(address) => Identifier::Ip(*address),
        },
        wildcard: matches!(identifier, Identifier::Dns(name) if DnsName::is_wildcard(name)),
        expires: context.now.plus(context.config.lifetimes.authorization),
        token: base64url::encode(&context.entropy.derive::<16>("token", index)),
        state: AuthorizationState::Pending,
    };
    (id, record)
}

/// RFC 8555 §7.4. Members that are not known are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<IdentifierObject>,
    profile: Option<String>,
    not_before: Option<serde::de::IgnoredAny>,
    not_after: Option<serde::de::IgnoredAny>,
}
