//! Authorizations and their challenges as clients see them (RFC 8555 §7.1.4, §7.1.5).

use super::{
    challenge::ChallengeType,
    object_id::ObjectId,
    problem::Problem,
    record::{AuthorizationRecord, AuthorizationState},
    route::Resource,
    step::{Context, Reply},
    view::{AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeView},
};

/// An authorization object as an answer with status 200.
///
/// # Errors
/// Never: a view can be serialized.
pub fn reply(id: ObjectId, record: &AuthorizationRecord, context: &Context<'_>) -> Result<Reply, Problem> {
    let status = status(record, context);
    let approved = matches!(record.state, AuthorizationState::Approved { .. });
    let challenges = context
        .scope
        .offered(&record.identifier, record.wildcard)
        // Once one was tried, only that one is shown (RFC 8555 §7.1.4); and none where nothing needs to be proved.
        .filter(|kind| !approved && tried(record).is_none_or(|tried| tried == *kind))
        .map(|kind| challenge_view(id, kind, record, context))
        .collect();
    let view = AuthorizationView {
        identifier: record.identifier.clone().into(),
        status,
        expires: record.expires,
        wildcard: record.wildcard,
        challenges,
    };
    let processing = matches!(record.state, AuthorizationState::Processing(_));
    Ok(Reply::json(200, &view)?.retry_after(processing.then_some(1)))
}

/// The state that clients see (RFC 8555 §7.1.6).
#[must_use]
pub fn status(record: &AuthorizationRecord, context: &Context<'_>) -> AuthorizationStatus {
    match &record.state {
        AuthorizationState::Invalid { .. } => AuthorizationStatus::Invalid,
        AuthorizationState::Deactivated => AuthorizationStatus::Deactivated,
        // An authorization that was never proved in time is invalid, a proved one expires (RFC 8555 §7.1.6).
        state if state.proof().is_some() && record.expires < context.now => AuthorizationStatus::Expired,
        state if state.proof().is_some() => AuthorizationStatus::Valid,
        _ if record.expires < context.now => AuthorizationStatus::Invalid,
        _ => AuthorizationStatus::Pending,
    }
}

/// The challenge that settled the authorization, if one did.
const fn tried(record: &AuthorizationRecord) -> Option<ChallengeType> {
    match &record.state {
        AuthorizationState::Valid { challenge, .. } | AuthorizationState::Invalid { challenge, .. } => Some(*challenge),
        AuthorizationState::Deactivated => match record.proved {
            Some(proved) => Some(proved.challenge),
            None => None,
        },
        _ => None,
    }
}

fn challenge_view(
    id: ObjectId,
    kind: ChallengeType,
    record: &AuthorizationRecord,
    context: &Context<'_>,
) -> ChallengeView {
    let (status, validated, error) = match &record.state {
        AuthorizationState::Processing(probing) if probing.challenge == kind => {
            (ChallengeStatus::Processing, None, None)
        }
        AuthorizationState::Valid { challenge, validated, .. } if *challenge == kind => {
            (ChallengeStatus::Valid, Some(*validated), None)
        }
        AuthorizationState::Deactivated if record.proved.is_some_and(|proved| proved.challenge == kind) => {
            (ChallengeStatus::Valid, record.proved.map(|proved| proved.validated), None)
        }
        AuthorizationState::Invalid { challenge, problem } if *challenge == kind => {
            (ChallengeStatus::Invalid, None, Some(problem.clone().shown()))
        }
        _ => (ChallengeStatus::Pending, None, None),
    };
    let persistent = kind == ChallengeType::DnsPersist01;
    let issuers = context.config.caa_identities.iter().filter(|_| persistent);
    let issuers: Vec<_> = issuers.map(|name| name.as_str().to_owned()).collect();
    ChallengeView {
        kind: kind.name(),
        url: context.urls.resource(context.account, Resource::Challenge(id, kind)),
        status,
        token: (!persistent).then(|| record.token.clone()),
        issuer_domain_names: issuers.clone(),
        issuer_domain_names_before: issuers,
        validated,
        error,
    }
}

/// A challenge object with its link to the authorization (RFC 8555 §7.5.1).
///
/// # Errors
/// Never: a view can be serialized.
pub fn challenge_reply(
    id: ObjectId,
    kind: ChallengeType,
    record: &AuthorizationRecord,
    context: &Context<'_>,
) -> Result<Reply, Problem> {
    let view = challenge_view(id, kind, record, context);
    let retry_after = (view.status == ChallengeStatus::Processing).then_some(1);
    let up = context.urls.resource(context.account, Resource::Authorization(id));
    Ok(Reply { up: Some(up), ..Reply::json(200, &view)?.retry_after(retry_after) })
}
