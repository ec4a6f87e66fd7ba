//! Asking resolvers: DNS over TCP (RFC 7766) and DNS over HTTPS (RFC 8484). Only configured resolvers are asked, nothing is
//! cached, and what an answer means is [`crate::acme::dns`]'s to say.

use std::{net::SocketAddr, time::Duration};

use js_sys::Uint8Array;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use worker::{AbortController, Fetch, Headers, Method, Request, RequestInit, RequestRedirect};

use super::{
    body::{self, Unread},
    environment,
    tcp::Connection,
    timeout::within,
};
use crate::acme::{
    dns::{Answer, DnsFault, Question, Record},
    validation::{Resolver, Validation},
};

/// The largest DNS message that has a length prefix (RFC 1035 §4.2.2).
const MAX_MESSAGE: usize = 65_535;

const MEDIA_TYPE: &str = "application/dns-message";

/// Asks one question: see [`Asker::ask`].
pub(super) async fn ask(resolvers: &[Resolver], question: &Question, limit: Duration) -> Result<Vec<Record>, DnsFault> {
    Asker::new(resolvers, limit).ask(question).await
}

/// Asks questions one after the other, over one connection where a resolver keeps it open (RFC 7766 §6.2.1).
pub(super) struct Asker<'a> {
    resolvers: &'a [Resolver],
    limit: Duration,
    /// Between two questions; gone while one is under way, so that a connection is never used after half an answer.
    open: Option<(SocketAddr, Connection)>,
}

impl<'a> Asker<'a> {
    /// For these resolvers, of which each gets at most `limit` for a question.
    pub(super) const fn new(resolvers: &'a [Resolver], limit: Duration) -> Self {
        Self { resolvers, limit, open: None }
    }

    /// Asks the resolvers in their order until one gives an answer that is worth something: records, or that there are none.
    /// Where an answer is an alias without its end, that is asked next; the question counts how often.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Vec<Record>, DnsFault> {
        let mut question = question.clone();
        loop {
            match self.ask_in_order(&question).await? {
                Answer::Records(records) => return Ok(records),
                Answer::Alias(end) => question = end,
            }
        }
    }

    async fn ask_in_order(&mut self, question: &Question) -> Result<Answer, DnsFault> {
        let mut last = DnsFault::Unreachable;
        for resolver in self.resolvers {
            let answer = within(self.limit, self.ask_one(resolver, question)).await;
            match answer.unwrap_or(Err(DnsFault::Timeout)) {
                Err(fault) if fault.is_of_resolver() => last = fault,
                answer => return answer,
            }
        }
        Err(last)
    }

    async fn ask_one(&mut self, resolver: &Resolver, question: &Question) -> Result<Answer, DnsFault> {
        match resolver {
            Resolver::Tcp(address) => {
                let id = u16::from_be_bytes(environment::random().map_err(|_| DnsFault::Unreachable)?);
                question.parse_answer(id, &self.over_tcp(*address, &question.query(id)?).await?)
            }
            // Zero, so that equal questions are equal requests (RFC 8484 §4.1).
            Resolver::Https(url) => question.parse_answer(0, &over_https(url, &question.query(0)?).await?),
        }
    }

    /// One query and one answer, each behind its length. A connection that was kept and is closed by now is followed by a new one.
    async fn over_tcp(&mut self, address: SocketAddr, query: &[u8]) -> Result<Vec<u8>, DnsFault> {
        let length = u16::try_from(query.len()).map_err(|_| DnsFault::NoSuchName)?.to_be_bytes();
        let framed = [length.as_slice(), query].concat();
        if let Some((_, mut connection)) = self.open.take().filter(|(open, _)| *open == address)
            && let Ok(answer) = exchange(&mut connection, &framed).await
        {
            self.open = Some((address, connection));
            return Ok(answer);
        }
        let fresh = async {
            let mut connection = Connection::open(address).await?;
            let answer = exchange(&mut connection, &framed).await?;
            Ok::<_, std::io::Error>((connection, answer))
        };
        let (connection, answer) = fresh.await.map_err(|_| DnsFault::Unreachable)?;
        self.open = Some((address, connection));
        Ok(answer)
    }
}

async fn exchange(connection: &mut Connection, framed: &[u8]) -> std::io::Result<Vec<u8>> {
    connection.write_all(framed).await?;
    let length = connection.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    connection.read_exact(&mut answer).await?;
    Ok(answer)
}

/// What one resolver may take of a probe's whole time.
pub(super) fn share(validation: &Validation) -> Duration {
    let number = u32::try_from(validation.resolvers.len()).unwrap_or(u32::MAX);
    let limit = Duration::from_millis(u64::from(validation.timeout_ms));
    limit.checked_div(number).unwrap_or(limit)
}

async fn over_https(url: &str, query: &[u8]) -> Result<Vec<u8>, DnsFault> {
    let unreachable = |_: worker::Error| DnsFault::Unreachable;
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
    let signal = abort.0.as_ref().map(AbortController::signal).ok_or(DnsFault::Unreachable)?;
    let response = request.send_with_signal(&signal).await.map_err(unreachable)?;
    if response.status_code() != 200 {
        return Err(DnsFault::HttpStatus(response.status_code()));
    }
    if response.headers().get("content-type").ok().flatten().as_deref() != Some(MEDIA_TYPE) {
        return Err(DnsFault::Malformed);
    }
    body::of_response(response, MAX_MESSAGE).await.map_err(|unread| match unread {
        Unread::TooLarge => DnsFault::TooLong,
        Unread::Broken => DnsFault::Unreachable,
    })
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
