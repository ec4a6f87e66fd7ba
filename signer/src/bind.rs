//! What `bind` must be shown before an account gets a grant (RFC 8555 §7.3.4, §7.3.5). Nothing of it is the edge's word: the account's
//! key has signed that it wants the binding, the binding's key that it may have it, and the old key that another one follows.

use serde::Deserialize;
use shared::{
    external_account::BindingClaim,
    grant::{BindRequest, GrantToken},
    jwk::{Jwk, Thumbprint},
    jws::{BadJws, Flattened, KeyReference, Unverified},
    signing::{Refusal, Refused},
    timestamp::Timestamp,
};

use crate::{
    admit::{refused, speaks_for},
    bindings::{Binding, Bindings},
    policy::Policy,
};

/// An account that may have a grant of this binding. Made by [`Bindable::verify`] and by nothing else.
#[derive(Debug)]
pub(crate) struct Bindable {
    /// The account's key.
    pub(crate) account: Thumbprint,
    pub(crate) binding: Binding,
    pub(crate) cause: Cause,
}

/// Why an account asks for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It opens.
    Opens,
    /// It had this key.
    Follows(Thumbprint),
    /// It has one.
    Renews,
}

impl Bindable {
    /// Checks what the client has signed.
    ///
    /// # Errors
    /// [`Refusal::UnknownEdge`], [`Refusal::BadEvidence`], [`Refusal::BadBinding`], [`Refusal::BadGrant`],
    /// [`Refusal::UnknownBinding`], [`Refusal::NotPermitted`].
    pub(crate) fn verify(
        policy: &Policy,
        bindings: &Bindings,
        edge: &str,
        asked: BindRequest,
        now: Timestamp,
    ) -> Result<Self, Refused> {
        let bindable = match asked {
            BindRequest::NewAccount { request } => opens(policy, bindings, edge, request, now)?,
            BindRequest::KeyChange { request, grant } => follows(policy, bindings, edge, request, &grant, now)?,
            BindRequest::Renew { grant } => {
                let (account, binding) = held(policy, bindings, &grant, now)?;
                Self { account, binding: binding.clone(), cause: Cause::Renews }
            }
        };
        if policy.has_scope(&bindable.binding.scope) {
            Ok(bindable)
        } else {
            Err(refused(Refusal::NotPermitted, format!("there is no scope {}", bindable.binding.scope)))
        }
    }
}

/// newAccount with a binding.
fn opens(
    policy: &Policy,
    bindings: &Bindings,
    edge: &str,
    request: Flattened,
    now: Timestamp,
) -> Result<Bindable, Refused> {
    // 1. The account's key has signed it, for a deployment that the edge speaks for.
    let request = Unverified::from_flattened(request).map_err(bad_evidence)?;
    let KeyReference::Jwk(key) = &request.header().key else { return Err(evidence("newAccount has a kid, not a jwk")) };
    let key = Jwk::clone(key);
    let request = request.verify(&key).map_err(bad_evidence)?;
    let url = request.header().url.as_str();
    if speaks_for(policy, edge, url).is_none() {
        return Err(refused(Refusal::UnknownEdge, "the edge does not speak for the URL of newAccount"));
    }
    // 2. In it is a binding of this key, for this URL.
    let bad = |detail: String| refused(Refusal::BadBinding, detail);
    let payload: NewAccount =
        shared::json::object(request.payload()).map_err(|_| bad("newAccount has no externalAccountBinding".into()))?;
    let claim =
        BindingClaim::parse(payload.external_account_binding, &key, url).map_err(|error| bad(error.to_string()))?;
    // 3. The binding lives, and its key has made the MAC.
    let binding = bindings.live(claim.key_id(), now)?;
    claim.verify(binding.key.bytes()).map_err(|error| bad(error.to_string()))?;
    Ok(Bindable { account: request.signer(), binding: binding.clone(), cause: Cause::Opens })
}

/// keyChange of an account that has a grant.
fn follows(
    policy: &Policy,
    bindings: &Bindings,
    edge: &str,
    request: Flattened,
    grant: &GrantToken,
    now: Timestamp,
) -> Result<Bindable, Refused> {
    let (old, binding) = held(policy, bindings, grant, now)?;
    // 1. The new key has signed that it follows the old one in this account.
    let outer = Unverified::from_flattened(request).map_err(bad_evidence)?;
    let url = outer.header().url.as_str();
    let base_url = speaks_for(policy, edge, url);
    let base_url =
        base_url.ok_or_else(|| refused(Refusal::UnknownEdge, "the edge does not speak for the URL of keyChange"))?;
    let inner = Unverified::parse(outer.payload()).map_err(bad_evidence)?;
    let KeyReference::Jwk(key) = &inner.header().key else {
        return Err(evidence("the inner JWS has a kid, not a jwk"));
    };
    let key = Jwk::clone(key);
    if inner.header().url != url || inner.header().nonce.is_some() {
        return Err(evidence("the inner JWS has another url or a nonce"));
    }
    let inner = inner.verify(&key).map_err(bad_evidence)?;
    let change: KeyChange =
        shared::json::object(inner.payload()).map_err(|_| evidence("the inner JWS is not over a keyChange object"))?;
    // 2. The account is the outer one's, and the old key is the grant's.
    let KeyReference::Kid(account) = &outer.header().key else {
        return Err(evidence("the outer JWS has a jwk, not a kid"));
    };
    if *account != change.account || !account.strip_prefix(base_url).is_some_and(|rest| rest.starts_with('/')) {
        return Err(evidence("the inner JWS is for another account"));
    }
    if change.old_key.thumbprint() != old {
        return Err(refused(Refusal::BadGrant, "the grant is not the old key's"));
    }
    // 3. The old key has signed it.
    outer.verify(&change.old_key).map_err(bad_evidence)?;
    Ok(Bindable { account: inner.signer(), binding: binding.clone(), cause: Cause::Follows(old) })
}

/// Whose grant this is, and its binding. One that has expired is good enough: it asks for another.
fn held<'a>(
    policy: &Policy,
    bindings: &'a Bindings,
    grant: &GrantToken,
    now: Timestamp,
) -> Result<(Thumbprint, &'a Binding), Refused> {
    let granted = policy.grants()?.keys.open(grant)?;
    let account = granted.account().ok_or_else(|| refused(Refusal::BadGrant, "the grant names no key"))?;
    Ok((account, bindings.live(&granted.binding, now)?))
}

fn evidence(detail: &str) -> Refused {
    refused(Refusal::BadEvidence, detail)
}

#[allow(clippy::needless_pass_by_value, reason = "the argument of map_err")]
fn bad_evidence(error: BadJws) -> Refused {
    refused(Refusal::BadEvidence, error.to_string())
}

/// RFC 8555 §7.3. Whatever else is in it is the edge's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewAccount {
    external_account_binding: Flattened,
}

/// RFC 8555 §7.3.5.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyChange {
    account: String,
    old_key: Jwk,
}
