//! A signed request as far as it can be read without any state: what both the front and an account's object begin with. The
//! front reads it so that garbage wakes no object; the object reads it again because it got the same bytes, nothing else.

use shared::jws::Unverified;

use super::environment::{self, Environment};
use crate::acme::{
    authentication::{self, Home},
    nonce::Nonce,
    problem::Problem,
    route::Route,
};

/// A request whose form, account and nonce are as they should be, and whose signature nobody has checked.
#[derive(Debug)]
pub(super) struct SignedRequest {
    /// What it asks for.
    pub(super) route: Route,
    /// Whose object must answer it.
    pub(super) home: Home,
    /// Its nonce: ours and good there, not spent yet.
    pub(super) nonce: Nonce,
    /// The JWS.
    pub(super) jws: Unverified,
}

impl SignedRequest {
    /// Reads a request's body.
    ///
    /// # Errors
    /// When it is no JWS of ACME, names no account of this deployment, or has no nonce of ours.
    pub(super) fn parse(route: Route, body: &[u8], environment: &Environment) -> Result<Self, Problem> {
        let jws = Unverified::parse(body)?;
        let home = authentication::home_of(route, &jws, &environment.urls)?;
        let nonce = jws.header().nonce.as_deref().ok_or(Problem::MissingNonce)?;
        let nonce = environment
            .nonce_secrets
            .parse(nonce, home.account(), environment::now())
            .map_err(|_| Problem::BadNonce)?;
        Ok(Self { route, home, nonce, jws })
    }
}
