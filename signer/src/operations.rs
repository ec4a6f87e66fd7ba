//! What an operator's machines ask: metrics, health and readiness, over plain HTTP on an address of its own, and the service manager
//! that wants to know how it goes. Nothing here can change anything.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use sd_notify::NotifyState;
use shared::signing::TokenState;
use tokio::{
    net::TcpListener,
    time::{interval, timeout},
};

use crate::{handshakes::Handshakes, journal::Room, work::Works};

/// Connections at one time: a scraper and some probes.
const CONNECTIONS: usize = 16;
/// Bits of the IPv6 networks that count as one peer.
const IPV6_PREFIX: u32 = 56;
/// One connection takes no longer.
const LIMIT: Duration = Duration::from_secs(10);

/// Listens for those who ask.
#[derive(Debug)]
pub(crate) struct Operations {
    socket: TcpListener,
    works: Arc<Works>,
}

impl Operations {
    /// On this address.
    ///
    /// # Errors
    /// When it cannot be listened on.
    pub(crate) async fn bind(address: SocketAddr, works: Arc<Works>) -> anyhow::Result<Self> {
        let socket = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { socket, works })
    }

    /// Answers for ever.
    pub(crate) async fn run(self) {
        // A peer that holds connections loses its oldest ones, and keeps no scraper and no probe out.
        let places = Handshakes::new(CONNECTIONS, CONNECTIONS, IPV6_PREFIX);
        loop {
            let Ok((stream, peer)) = self.socket.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (works, mut place) = (Arc::clone(&self.works), places.take(peer.ip()));
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(&works, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).keep_alive(false);
                tokio::select! {
                    // A peer that breaks off or is too slow gets no answer.
                    _ = timeout(LIMIT, http.serve_connection(TokioIo::new(stream), service)) => {}
                    () = place.lost() => {}
                }
            });
        }
    }
}

fn answer(works: &Works, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (status, media_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => match works.metrics.text(works) {
            Ok(text) => (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
        },
        (&Method::GET, "/healthz") => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        (&Method::GET, "/readyz") if works.journal.room() != Room::Free => {
            let text = "the journal cannot be written: the disk of the state folder is full or failing\n";
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned())
        }
        (&Method::GET, "/readyz") if ready_tokens(works) > 0 => (StatusCode::OK, TEXT, "ready\n".to_owned()),
        (&Method::GET, "/readyz") => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "no token is ready\n".to_owned()),
        (_, "/metrics" | "/healthz" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, TEXT, "/metrics, /healthz, /readyz\n".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn ready_tokens(works: &Works) -> usize {
    let tokens = works.issuers.iter().flat_map(|issuer| issuer.status().tokens);
    tokens.filter(|token| token.state == TokenState::Ready).count()
}

/// Tells the service manager, if there is one.
pub(crate) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Shows the service manager that we live, as often as it wants to see it; for ever.
pub(crate) async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let half = period.checked_div(2).unwrap_or(period).max(Duration::from_millis(10));
    let mut beat = interval(half);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
