//! Asking resolvers: DNS over TCP (RFC 7766) and DNS over HTTPS (RFC 8484). Only configured resolvers are asked, nothing is
//! cached, and what an answer means is [`crate::acme::dns`]'s to say.

use std::{net::SocketAddr, time::Duration};

use js_sys::Uint8Array;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

use super::{body, environment, tcp::Connection, timeout::within};
use crate::acme::{
    dns::{Answer, Question, Record},
    probe::ProbeFault,
    validation::{Resolver, Validation},
};

/// The largest DNS message that has a length prefix (RFC 1035 §4.2.2).
const MAX_MESSAGE: usize = 65_535;

const MEDIA_TYPE: &str = "application/dns-message";

/// Asks the resolvers in their order until one gives an answer that is worth something: records, or that there are none.
/// Each gets at most `limit`. Where an answer is an alias without its end, that is asked next; the question counts how often.
pub(super) async fn ask(
    resolvers: &[Resolver],
    question: &Question,
    limit: Duration,
) -> Result<Vec<Record>, ProbeFault> {
    let mut question = question.clone();
    loop {
        match ask_in_order(resolvers, &question, limit).await? {
            Answer::Records(records) => return Ok(records),
            Answer::Alias(end) => question = end,
        }
    }
}

async fn ask_in_order(resolvers: &[Resolver], question: &Question, limit: Duration) -> Result<Answer, ProbeFault> {
    let mut last = ProbeFault::DnsUnreachable;
    for resolver in resolvers {
        match within(limit, ask_one(resolver, question)).await.unwrap_or(Err(ProbeFault::DnsTimeout)) {
            Err(fault) if fault.is_of_resolver() => last = fault,
            answer => return answer,
        }
    }
    Err(last)
}

async fn ask_one(resolver: &Resolver, question: &Question) -> Result<Answer, ProbeFault> {
    match resolver {
        Resolver::Tcp(address) => {
            let id = u16::from_be_bytes(environment::random().map_err(|_| ProbeFault::DnsUnreachable)?);
            question.parse_answer(id, &over_tcp(*address, &question.query(id)?).await?)
        }
        // Zero, so that equal questions are equal requests (RFC 8484 §4.1).
        Resolver::Https(url) => question.parse_answer(0, &over_https(url, &question.query(0)?).await?),
    }
}

/// What one resolver may take of a probe's whole time.
pub(super) fn share(validation: &Validation) -> Duration {
    let number = u32::try_from(validation.resolvers.len()).unwrap_or(u32::MAX);
    let limit = Duration::from_millis(u64::from(validation.timeout_ms));
    limit.checked_div(number).unwrap_or(limit)
}

/// One query and one answer on a connection of their own, each behind its length.
async fn over_tcp(address: SocketAddr, query: &[u8]) -> Result<Vec<u8>, ProbeFault> {
    let length = u16::try_from(query.len()).map_err(|_| ProbeFault::NoSuchName)?.to_be_bytes();
    let exchange = async {
        let mut connection = Connection::open(address).await?;
        connection.write_all(&[length.as_slice(), query].concat()).await?;
        let length = connection.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        connection.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    exchange.await.map_err(|_| ProbeFault::DnsUnreachable)
}

async fn over_https(url: &str, query: &[u8]) -> Result<Vec<u8>, ProbeFault> {
    let unreachable = |_: worker::Error| ProbeFault::DnsUnreachable;
    let headers = Headers::new();
    headers.set("content-type", MEDIA_TYPE).map_err(unreachable)?;
    headers.set("accept", MEDIA_TYPE).map_err(unreachable)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_body(Some(Uint8Array::from(query).into()))
        .with_redirect(RequestRedirect::Manual);
    let request = Fetch::Request(Request::new_with_init(url, &init).map_err(unreachable)?);
    let abort = AbortOnDrop(Some(AbortController::default()));
    let signal = abort.0.as_ref().map(AbortController::signal).ok_or(ProbeFault::DnsUnreachable)?;
    let response = request.send_with_signal(&signal).await.map_err(unreachable)?;
    if response.status_code() != 200 {
        return Err(ProbeFault::DnsUnreachable);
    }
    if response.headers().get("content-type").ok().flatten().as_deref() != Some(MEDIA_TYPE) {
        return Err(ProbeFault::DnsMalformed);
    }
    body::of_response(response, MAX_MESSAGE).await.map_err(|_| ProbeFault::DnsUnreachable)
}

/// Ends a request that nobody waits for any more.
pub(super) struct AbortOnDrop(pub(super) Option<AbortController>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}
