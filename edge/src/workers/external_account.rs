//! Whoever holds the keys of external account bindings checks their MACs: today the deployment's own secret.

use super::environment::Environment;
use crate::acme::{
    external_account::{Binding, BindingClaim},
    problem::Problem,
};

/// Checks the MAC of a binding. This is the port: async, because the keys belong where the edge must ask for them.
///
/// # Errors
/// `unauthorized`.
pub(super) async fn verify(environment: &Environment, claim: BindingClaim) -> Result<Binding, Problem> {
    Ok(claim.verify(&environment.binding_keys)?)
}
