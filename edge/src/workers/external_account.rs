//! Asks signers what external account bindings give: they hold the keys, and they alone make grants. Any of them can be asked, because
//! all of a deployment have the same bindings.

use shared::{
    grant::{BindReply, BindRequest, Bound},
    jws::Flattened,
};
use worker::{Env, console_error};

use super::{
    environment::{self, Environment},
    signer,
};
use crate::acme::{
    external_account::{self, Binding, BindingClaim, HeldGrant},
    key_change::KeyChange,
    problem::Problem,
    record::AccountRecord,
};

/// Seconds after which a client may ask again, when no signer could be asked.
const RETRY: u64 = 10;

/// Has a signer check a binding, by the client's own newAccount request.
///
/// # Errors
/// `unauthorized`; [`Problem::SignerUnreachable`].
pub(super) async fn bind(
    env: &Env,
    environment: &Environment,
    claim: BindingClaim,
    request: &Flattened,
) -> Result<Binding, Problem> {
    let asked = BindRequest::NewAccount { request: request.clone() };
    let bound = ask(env, environment, claim.key_id(), &asked).await?;
    Ok(Binding::new(claim, bound.into()))
}

/// Has a signer give the account's new key what the old one had; nothing when that had nothing.
///
/// # Errors
/// `unauthorized`; [`Problem::SignerUnreachable`].
pub(super) async fn follow(
    env: &Env,
    environment: &Environment,
    account: &AccountRecord,
    change: &KeyChange,
) -> Result<Option<HeldGrant>, Problem> {
    let Some((binding, grant)) = account.bound() else { return Ok(None) };
    let asked = BindRequest::KeyChange { request: change.request().clone(), grant: grant.token.clone() };
    ask(env, environment, &binding.key_id, &asked).await.map(|bound| Some(bound.into()))
}

/// A grant for longer, where it is time for one. When there is none to be had, the order is tried with the present one: the
/// signer says what is wrong with that.
pub(super) async fn renew(env: &Env, environment: &Environment, account: &AccountRecord) -> Option<HeldGrant> {
    let (binding, grant) = account.bound().filter(|(_, grant)| grant.renew_after <= environment::now())?;
    let asked = BindRequest::Renew { grant: grant.token.clone() };
    ask(env, environment, &binding.key_id, &asked).await.ok().map(Into::into)
}

/// Asks the signer that counts this binding's accounts, then those after it, until one answers.
async fn ask(env: &Env, environment: &Environment, key_id: &str, request: &BindRequest) -> Result<Bound, Problem> {
    for config in external_account::signers(&environment.config.signers, key_id) {
        match signer::bind(env, config, request).await {
            Ok(BindReply::Bound(bound)) => return Ok(bound),
            Ok(BindReply::Refused(refused)) => {
                console_error!("{} refused to bind: {:?}: {}", config.binding, refused.reason, refused.detail);
                if !refused.reason.is_temporary() {
                    return Err(external_account::refusal(refused.reason));
                }
            }
            Err(error) => console_error!("{}: {error}", config.binding),
        }
    }
    Err(Problem::SignerUnreachable(RETRY))
}
