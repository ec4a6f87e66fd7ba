//! http-01 (RFC 8555 §8.3): gets a challenge's answer over a TCP connection of our own, because only so the address that
//! was checked is the one that is connected to. Nothing here judges what came.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use futures_util::future::{Either, join, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use shared::identifier::Identifier;

use super::{dns, fetch, tcp::Connection, timeout::within};
use crate::acme::{
    dns::{Question, Record, RecordType},
    network::Networks,
    probe::{Evidence, MAX_BODY, MAX_REDIRECTS, ProbeFault, ProbeOutcome},
    probe_redirect::HttpTarget,
    validation::Validation,
};

/// Names us in the logs of those who are probed.
pub(super) const USER_AGENT: &str = concat!("Colophon/", env!("CARGO_PKG_VERSION"));

/// Any type of body will do.
pub(super) const ACCEPT: &str = "*/*";

/// Addresses of one family that are tried.
const TRIES: usize = 2;

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
            Answer::Redirect(location) => target = target.redirect(&location, validation.http_port)?,
        }
    }
    Err(ProbeFault::TooManyRedirects)
}

/// One hop: resolve, filter, connect, ask; or have the platform ask, where the configuration says so. An address that cannot
/// be connected to is followed by the next.
async fn get(target: &HttpTarget, validation: &Validation, networks: &Networks) -> Result<Answer, ProbeFault> {
    let addresses = addresses(target, validation, networks).await?;
    if validation.http.fetches() && networks.listed.is_empty() && matches!(target.host, Identifier::Dns(_)) {
        // The other half of the time is the socket's.
        let limit = share(validation).saturating_mul(2);
        let answer = within(limit, fetch::get(target, validation.http_port)).await.unwrap_or(Err(ProbeFault::Timeout));
        let seen = match answer {
            Ok(Answer::Final(evidence)) => Ok(evidence),
            Ok(redirect @ Answer::Redirect(_)) => return Ok(redirect),
            Err(fault) => Err(fault),
        };
        if !validation.http.falls_back(&seen) {
            return seen.map(Answer::Final);
        }
    }
    let mut last = ProbeFault::Connection;
    for address in addresses {
        let address = SocketAddr::new(address, validation.http_port);
        match within(share(validation), Connection::open(address)).await {
            Some(Ok(connection)) => return exchange(connection, target, validation.http_port).await,
            Some(Err(_)) => last = ProbeFault::Connection,
            None => last = ProbeFault::Timeout,
        }
    }
    Err(last)
}

/// The addresses that a probe may connect to: the target itself (RFC 8738 §4), or some of its name, IPv6 first.
async fn addresses(
    target: &HttpTarget,
    validation: &Validation,
    networks: &Networks,
) -> Result<Vec<IpAddr>, ProbeFault> {
    let name = match &target.host {
        Identifier::Dns(name) if networks.own.have_name(name) => return Err(ProbeFault::Refused),
        Identifier::Dns(name) => name,
        Identifier::Ip(address) if networks.permit(*address) => return Ok(vec![*address]),
        Identifier::Ip(_) => return Err(ProbeFault::Refused),
    };
    let ask = async |kind| dns::ask(&validation.resolvers, &Question::address(name, kind)?, share(validation)).await;
    let found = match join(ask(RecordType::Aaaa), ask(RecordType::A)).await {
        (Ok(six), Ok(four)) => [six, four],
        (Ok(some), Err(_)) | (Err(_), Ok(some)) => [some, Vec::new()],
        // That one family has no records says less than why the other could not be asked.
        (Err(fault), Err(ProbeFault::NoRecords)) | (Err(_), Err(fault)) => return Err(fault),
    };
    let permitted = |records: Vec<Record>| {
        let addresses = records.into_iter().filter_map(|record| match record {
            Record::Address(address) => Some(address),
            Record::Text(_) => None,
        });
        addresses.filter(|address| networks.permit(*address)).take(TRIES)
    };
    let addresses: Vec<_> = found.into_iter().flat_map(permitted).collect();
    if addresses.is_empty() { Err(ProbeFault::Refused) } else { Ok(addresses) }
}

/// What one lookup or one connection may take of the whole probe's time.
fn share(validation: &Validation) -> Duration {
    Duration::from_millis(u64::from(validation.timeout_ms)).checked_div(4).unwrap_or_default()
}

/// One GET on a connection of its own.
async fn exchange(connection: Connection, target: &HttpTarget, port: u16) -> Result<Answer, ProbeFault> {
    let request = Request::get(&target.path)
        .header(header::HOST, target.authority(port))
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
