//! http-01 (RFC 8555 §8.3): gets a challenge's answer over a TCP connection of our own, because only so the address that
//! was checked is the one that is connected to. Nothing here judges what came.

use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use shared::identifier::Identifier;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{addresses, fetch, timeout::within, tls};
use crate::{
    acme::{
        network::Networks,
        probe::{Evidence, MAX_BODY, MAX_REDIRECTS, ProbeFault, ProbeOutcome},
        probe_redirect::{HttpTarget, Ports, Scheme},
        validation::Validation,
    },
    tls::client,
};

/// Names us in the logs of those who are probed.
pub(super) const USER_AGENT: &str = concat!("Colophon/", env!("CARGO_PKG_VERSION"));

/// Any type of body will do.
pub(super) const ACCEPT: &str = "*/*";

/// The protocol that is offered to https servers (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// One answer.
pub(super) enum Answer {
    /// Look there instead.
    Redirect(String),
    /// The end.
    Final(Evidence),
}

/// Looks, and follows redirects. The caller bounds the whole.
pub(super) async fn look(first: HttpTarget, validation: &Validation, networks: &Networks) -> ProbeOutcome {
    let mut target = first;
    for _ in 0..=MAX_REDIRECTS {
        match get(&target, validation, networks).await? {
            Answer::Final(evidence) => return Ok(evidence),
            Answer::Redirect(location) => target = target.redirect(&location, validation.ports)?,
        }
    }
    Err(ProbeFault::TooManyRedirects)
}

/// One hop: resolve, filter, connect, with TLS where the URL says so, ask; or have the platform ask, where the configuration
/// says so.
async fn get(target: &HttpTarget, validation: &Validation, networks: &Networks) -> Result<Answer, ProbeFault> {
    let found = addresses::find(&target.host, validation, networks).await?;
    if validation.http.fetches() && networks.listed.is_empty() && matches!(target.host, Identifier::Dns(_)) {
        // The other half of the time is the socket's.
        let limit = addresses::share(validation).saturating_mul(2);
        let answer = within(limit, fetch::get(target, validation.ports)).await.unwrap_or(Err(ProbeFault::Timeout));
        let seen = match answer {
            Ok(Answer::Final(evidence)) => Ok(evidence),
            Ok(redirect @ Answer::Redirect(_)) => return Ok(redirect),
            Err(fault) => Err(fault),
        };
        if !validation.http.falls_back(&seen) {
            return seen.map(Answer::Final);
        }
    }
    let connection = addresses::connect(found, validation.ports.of(target.scheme), validation).await?;
    match target.scheme {
        Scheme::Http => exchange(connection, target, validation.ports).await,
        Scheme::Https => {
            let name = client::server_name(&target.host).ok_or(ProbeFault::BadRedirect)?;
            exchange(tls::handshake(connection, name, HTTP_1_1).await?, target, validation.ports).await
        }
    }
}

/// One GET on a connection of its own.
async fn exchange<C>(connection: C, target: &HttpTarget, ports: Ports) -> Result<Answer, ProbeFault>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let request = Request::get(&target.path)
        .header(header::HOST, target.authority(ports))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, ACCEPT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeFault::BadRedirect)?;
    let (mut sender, driver) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(fault)?;
    let answer = pin!(async move { read(sender.send_request(request).await.map_err(fault)?).await });
    // The driver moves the bytes. When it ends first, all of them are there or the answer says what broke.
    match select(answer, pin!(driver)).await {
        Either::Left((answer, _driver)) => answer,
        Either::Right((_ended, answer)) => answer.await,
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, ProbeFault> {
    let status = response.status().as_u16();
    if is_redirect(status)
        && let Some(location) = response.headers().get(header::LOCATION)
    {
        return location.to_str().map(|text| Answer::Redirect(text.to_owned())).map_err(|_| ProbeFault::BadRedirect);
    }
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        match incoming.frame().await {
            Some(Ok(frame)) => {
                let room = MAX_BODY.saturating_sub(body.len());
                body.extend(frame.into_data().unwrap_or_default().into_iter().take(room));
            }
            Some(Err(error)) => return Err(fault(error)),
            None => break,
        }
    }
    Ok(Answer::Final(Evidence::Http { status, body }))
}

/// Statuses whose `Location` is followed (RFC 9110 §15.4).
pub(super) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn fault(error: hyper::Error) -> ProbeFault {
    if error.is_parse() { ProbeFault::NotHttp } else { ProbeFault::Connection }
}
