//! Orders: made and read (RFC 8555 §7.1.3, §7.4). An order's pending, ready and expired states are derived, never stored.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{identifier::IdentifierObject, jws::Verified, profile::ProfileName, timestamp::Timestamp};

use super::{
    authorization, finalize,
    object_id::ObjectId,
    order_times::{AskedTimes, OrderTimes},
    placement, policy,
    problem::{Problem, ProblemDocument},
    rate_limit,
    record::{AuthorizationRecord, AuthorizationState, Issued, OrderRecord, OrderState, Record},
    renewal_info,
    route::Resource,
    step::{Context, Reply, Settled, Step, payload, require_post_as_get},
    storage::{Change, Key, Rows, StorageFault},
    view::{OrderStatus, OrderView},
};

/// newOrder (RFC 8555 §7.4).
///
/// # Errors
/// `malformed`, `rejectedIdentifier`, `unsupportedIdentifier` (with a subproblem for each identifier), `invalidProfile`,
/// `alreadyReplaced`, `rateLimited`.
pub fn create(rows: &dyn Rows, request: &Verified, context: &Context<'_>) -> Result<Step, Problem> {
    let asked: NewOrder = payload(request, "a newOrder object with \"identifiers\"")?;
    let rules = &context.scope.identifiers;
    if asked.identifiers.is_empty() || asked.identifiers.len() > rules.per_order {
        return Err(Problem::IdentifierCount(rules.per_order));
    }
    let asked_profile = given(asked.profile);
    let profile_named = asked_profile.is_some();
    let profile = choose_profile(asked_profile, context)?;
    let times = AskedTimes { not_before: asked.not_before, not_after: asked.not_after };
    let OrderTimes { not_before, not_after } =
        times.check(&profile, context).map_err(|why| Problem::OrderTimes(Box::new(why)))?;

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
    let mut changes = Vec::from_iter(rate_limit::take_order(rows, context)?);
    let mut authorizations = Vec::new();
    for (index, identifier) in identifiers.iter().enumerate() {
        let (id, authorization) = match authorization::reusable(rows, identifier, context)? {
            Some(usable) => usable,
            None => {
                let (id, new) = authorization::new(identifier, index, false, context);
                changes.extend(authorization::made(id, &new, context)?);
                (id, new)
            }
        };
        authorizations.push((id, authorization));
    }
    let record = OrderRecord {
        identifiers: identifiers.into_iter().collect(),
        profile,
        profile_named,
        authorizations: authorizations.iter().map(|(id, _)| *id).collect(),
        created: context.now,
        expires: context.now.plus(context.config.lifetimes.order),
        not_before,
        not_after,
        replaces: given(asked.replaces),
        replaced_by: None,
        state: OrderState::Open,
    };
    if let Some(replaces) = &record.replaces {
        changes.push(renewal_info::replace(rows, replaces, &record.identifiers, id, context)?);
    }
    changes.push(put(id, &record, context)?);
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
    let authorizations = authorizations(rows, &record, context.now)?;
    reply(200, id, &record, &authorizations, context)
}

/// The authorizations of an order that is still open; none are read for another, which no longer depends on them.
///
/// # Errors
/// When rows cannot be read or one is missing.
pub fn authorizations(
    rows: &dyn Rows,
    record: &OrderRecord,
    now: Timestamp,
) -> Result<Vec<AuthorizationRecord>, Problem> {
    if record.state != OrderState::Open || record.expires < now {
        return Ok(Vec::new());
    }
    let load = |id: &ObjectId| {
        AuthorizationRecord::load(rows, Key::Authorization(*id))?
            .ok_or(Problem::Internal("an order names an authorization that is not there"))
    };
    record.authorizations.iter().map(load).collect()
}

/// The order's row. Its alarm drives it on while a signer is asked, and deletes it some time after its end.
///
/// # Errors
/// Never: an order can be serialized.
pub fn put(id: ObjectId, record: &OrderRecord, context: &Context<'_>) -> Result<Change, StorageFault> {
    let due = match &record.state {
        OrderState::Processing(_) | OrderState::Valid(Issued { unplaced: true, .. }) => {
            context.now.plus(context.config.lifetimes.redrive)
        }
        _ => deleted_at(record, context),
    };
    record.put(Key::Order(id), Some(due))
}

/// When an order is deleted that has ended.
#[must_use]
pub fn deleted_at(record: &OrderRecord, context: &Context<'_>) -> Timestamp {
    let end = match &record.state {
        OrderState::Valid(issued) => issued.not_after.max(record.expires),
        _ => record.expires,
    };
    end.plus(context.config.lifetimes.retention)
}

/// An alarm found the order due.
///
/// # Errors
/// When rows cannot be read.
pub fn due(rows: &dyn Rows, id: ObjectId, context: &Context<'_>) -> Result<Settled, Problem> {
    let record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    if matches!(record.state, OrderState::Processing(_)) {
        return finalize::ask_again(id, record, context);
    }
    if deleted_at(&record, context) <= context.now {
        return Ok(Settled::changes(vec![Change::Delete(Key::Order(id))]));
    }
    placement::wanted(id, &record, context)
}

/// The state of an order that clients see; nothing when there is no such order.
///
/// # Errors
/// When rows cannot be read.
pub fn state(rows: &dyn Rows, id: ObjectId, context: &Context<'_>) -> Result<Option<OrderStatus>, Problem> {
    let Some(record) = OrderRecord::load(rows, Key::Order(id))? else { return Ok(None) };
    let authorizations = authorizations(rows, &record, context.now)?;
    Ok(Some(status(&record, &authorizations, context.now).0))
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
        return refused("malformed", &format!("The order has expired at {}; make a new one.", record.expires));
    }
    for authorization in authorizations {
        match &authorization.state {
            AuthorizationState::Invalid { problem, .. } => return (OrderStatus::Invalid, Some(problem.clone())),
            AuthorizationState::Deactivated => {
                let detail =
                    format!("The authorization of {} was deactivated; make a new order.", authorization.identifier);
                return refused("unauthorized", &detail);
            }
            _ if authorization.expires < now => {
                let (name, expired) = (&authorization.identifier, authorization.expires);
                let detail = format!("The authorization of {name} has expired at {expired}; make a new order.");
                return refused("unauthorized", &detail);
            }
            _ => {}
        }
    }
    let valid = |record: &AuthorizationRecord| record.state.proof().is_some();
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
        profile: record.profile.clone(),
        not_before: record.not_before,
        not_after: record.not_after,
        replaces: record.replaces.clone(),
        authorizations: record.authorizations.iter().map(|id| url(Resource::Authorization(*id))).collect(),
        finalize: url(Resource::Finalize(id)),
        certificate: (status == OrderStatus::Valid).then(|| url(Resource::Certificate(id, None))),
        error: error.map(ProblemDocument::shown),
    };
    let probed = authorizations.iter().any(|record| matches!(record.state, AuthorizationState::Processing(_)));
    // A client that polls sooner than this learns nothing new.
    let retry_after = match &record.state {
        OrderState::Processing(processing) => {
            Some(processing.expected.map_or(1, |expected| expected.since(context.now).max(1)))
        }
        _ => (status == OrderStatus::Pending && probed).then_some(1),
    };
    Ok(Reply::json(http_status, &view)?.at(url(Resource::Order(id))).retry_after(retry_after))
}

fn choose_profile(asked: Option<String>, context: &Context<'_>) -> Result<ProfileName, Problem> {
    match asked {
        None => Ok(context.config.default_profile.clone()),
        Some(text) => text
            .parse()
            .ok()
            .filter(|name| context.config.profiles.contains_key(name))
            .ok_or_else(|| Problem::UnknownProfile(text.chars().take(64).collect())),
    }
}

/// A text that a client may leave out. Some clients send the empty text in place of that.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// RFC 8555 §7.4. Members that are not known are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    identifiers: Vec<IdentifierObject>,
    profile: Option<String>,
    replaces: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}
