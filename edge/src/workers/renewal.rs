//! When certificates are to be renewed: questions of the front and of accounts' objects, and the status objects' answers, in one hop.

use worker::{Env, Response, console_error};

use super::{
    environment::{self, Environment},
    forward,
    reply::Answer,
    status::{self, Incarnation},
};
use crate::{
    acme::{
        problem::Problem,
        renewal_info::{CertificateId, RenewalInfo},
        step::Reply,
    },
    status::renewal::{self, Placement},
};

/// The URL of a certificate that is to be given a window.
pub(super) const URL: &str = "https://renewal.objects/";

/// What the object says of a certificate: anybody may ask (RFC 9773 §4.1).
///
/// # Errors
/// When the object cannot be asked.
pub(super) async fn ask(
    env: &Env,
    environment: &Environment,
    path: &str,
    id: CertificateId,
) -> Result<Response, Problem> {
    let failed = |error: worker::Error| {
        console_error!("renewal of {}: {error}", id.serial);
        Problem::Internal("a status object cannot be asked")
    };
    let stub = status::stub(env, environment, id.serial).map_err(failed)?;
    stub.fetch_with_str(&format!("https://object{path}")).await.map_err(failed)
}

/// True when its status object knows the certificate, and no reason to renew it now.
pub(super) async fn is_early(env: &Env, environment: &Environment, id: CertificateId) -> bool {
    let path = id.path();
    let Ok(mut answer) = ask(env, environment, &path, id).await else { return false };
    let Ok(info) = answer.json::<RenewalInfo>().await else { return false };
    environment::now() < info.suggested_window.start
}

/// Has a certificate given a window.
///
/// # Errors
/// When the object cannot be asked, or fails.
pub(super) async fn place(env: &Env, environment: &Environment, placement: &Placement) -> worker::Result<()> {
    let stub = status::stub(env, environment, placement.serial)?;
    let answer = forward::ask(stub, URL, &serde_json::to_vec(placement)?, &[]).await?;
    if answer.status() == 200 { Ok(()) } else { Err(worker::Error::RustError(answer.status().to_string())) }
}

impl Incarnation {
    /// A certificate was issued.
    pub(super) async fn place(&self, placement: Placement, environment: &Environment) -> Result<(), Problem> {
        // No await before the commit.
        let changes = renewal::place(&self.rows()?, placement, &environment.config.renewal)?;
        self.commit(&changes)?;
        self.alarm.arm(&self.state, &self.rows()?, environment::now()).await;
        Ok(())
    }

    /// Somebody asks when a certificate is to be renewed.
    pub(super) fn renewal_info(
        &self,
        id: Result<CertificateId, Problem>,
        environment: &Environment,
    ) -> Result<Answer, Problem> {
        let info = renewal::look(&self.rows()?, &id?, environment::now(), &environment.config.renewal)?;
        let info = info.ok_or(Problem::NotOurCertificate)?;
        Ok(Reply::json(200, &info)?.retry_after(Some(info.retry_after)).into())
    }
}
