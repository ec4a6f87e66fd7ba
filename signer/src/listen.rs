//! The listener: TCP, the handshake with both sides' certificates, and HTTP on top. Logs which peers connected, and why others could
//! not. Bounds in number and time everything that a peer can hold here. Nothing here knows a verb.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{
    Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;

use crate::{
    clock,
    handshakes::{Handshake, Handshakes},
    identity::ClientIdentity,
    service::Service,
    share::{Admissions, Shares},
};

/// Sending the head of a request may take no longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at one time on one connection of HTTP/2.
const STREAMS: u32 = 250;
/// Bytes of bodies that a connection of HTTP/2 holds unread, and of one stream.
const WINDOWS: (u32, u32) = (262_144, 65_536);
/// Bytes of a request's head.
const HEAD_BYTES: u32 = 16_384;
/// The interval of pings on a connection of HTTP/2, and the time that the answer may take.
const PINGS: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// The time that the requests of a connection get which is asked to end, beside the time that an answer may take. After that it is closed.
const FAREWELL: Duration = Duration::from_secs(30);
/// Connections that are refused before authentication are logged this often in a second at most.
const LOGGED_A_SECOND: u32 = 10;
/// A pause after an accept that failed for want of files, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// The configuration of the next handshake; those that are running keep theirs.
    pub(crate) tls: watch::Receiver<Arc<ServerConfig>>,
    pub(crate) service: Service,
    pub(crate) handshakes: Handshakes,
    /// The time that a handshake may take.
    pub(crate) handshake: Duration,
    /// Connections of authenticated peers.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) shares: Shares,
    pub(crate) admissions: Admissions,
    /// The time without a request after which a connection is closed.
    pub(crate) idle: Duration,
    pub(crate) log: LogLimit,
}

/// Bounds the lines that strangers can write to the log.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<Logged>);

#[derive(Debug, Default)]
struct Logged {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// The requests of one connection.
#[derive(Debug, Default)]
struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
}

/// One request that is being answered.
struct Running(Arc<Activity>);

impl Listener {
    /// Accepts until `stop` says so, then asks every connection to end and gives their tracker.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) -> TaskTracker {
        let tracker = TaskTracker::new();
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = this.socket.accept() => accepted,
                () = told_to(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let handshake = this.handshakes.take(peer.ip());
                    let (this, stop) = (Arc::clone(&this), stop.clone());
                    tracker.spawn(async move { this.connection(stream, peer, handshake, stop).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tracker.close();
        tracker
    }

    /// Counts and logs a peer that was refused before it was authenticated.
    fn refused(&self, peer: SocketAddr, reason: &dyn std::fmt::Display) {
        self.service.issuance.works.metrics.handshake_refused();
        if let Some(left_out) = self.log.admit(clock::instant()) {
            tracing::warn!(%peer, %reason, left_out, "handshake refused");
        }
    }

    /// Authenticates the peer. The place among the handshakes is given back at the end.
    async fn authenticate(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        mut handshake: Handshake,
        tls: Arc<ServerConfig>,
    ) -> Option<TlsStream<TcpStream>> {
        let accept = async {
            // Until its first byte a connection costs its file descriptor and no state of TLS.
            stream.readable().await?;
            Box::pin(TlsAcceptor::from(tls).accept(stream)).await
        };
        let accepted = tokio::select! {
            accepted = timeout(self.handshake, accept) => accepted,
            () = handshake.lost() => {
                self.refused(
                    peer,
                    &"a newer connection has its place: limits.handshakes_per_address or limits.handshakes were running",
                );
                return None;
            }
        };
        match accepted {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => self.refused(peer, &error),
            Err(_) => self.refused(
                peer,
                &format_args!("no handshake within limits.handshake_ms = {}", self.handshake.as_millis()),
            ),
        }
        None
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, handshake: Handshake, stop: watch::Receiver<bool>) {
        let mut tls = self.tls.clone();
        let config = Arc::clone(&tls.borrow_and_update());
        // Small answers should not wait for more of them.
        let _ = stream.set_nodelay(true);
        let Some(stream) = self.authenticate(stream, peer, handshake, config).await else { return };
        // Apart, so that the task of a connection that is not authenticated is small.
        Box::pin(self.authenticated(stream, peer, tls, stop)).await;
    }

    async fn authenticated(
        &self,
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        tls: watch::Receiver<Arc<ServerConfig>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let Some(client) = identity(&stream) else {
            return tracing::warn!(%peer, "connection refused: the client certificate has no DNS name");
        };
        let ClientIdentity { names, serial, key_sha256 } = &client;
        let Some(_share) = self.shares.take(names) else {
            return tracing::warn!(
                %peer, client = names.join(","), "connection refused: it has limits.connections_per_identity connections"
            );
        };
        let Ok(_connection) = self.connections.try_acquire() else {
            return tracing::warn!(%peer, client = names.join(","), "connection refused: limits.connections are taken");
        };
        tracing::info!(%peer, client = names.join(","), serial, key_sha256, "connected");
        let admission = self.admissions.of(names);
        let client = Arc::new(client);
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let (mut replaced, activity) = (tls.clone(), Arc::new(Activity::default()));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (service, client, tls) = (self.service.clone(), Arc::clone(&client), tls.clone());
            let (admission, running) = (Arc::clone(&admission), Running::of(&activity));
            async move {
                let _running = running;
                let (version, mut answer) = (request.version(), service.answer(&client, &admission, request).await);
                // An HTTP/1 client learns it with an answer, so that no request crosses the end of its connection.
                if version < Version::HTTP_2 && tls.has_changed().unwrap_or(true) {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let http = auto::Builder::new(TokioExecutor::new());
        // Decided by ALPN: looking at the first bytes would wait for them without a limit.
        let mut http = if is_http2 { http.http2_only() } else { http.http1_only() };
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(usize::try_from(WINDOWS.1).unwrap_or(usize::MAX));
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES)
            .initial_connection_window_size(WINDOWS.0)
            .initial_stream_window_size(WINDOWS.1)
            .keep_alive_interval(PINGS.0)
            .keep_alive_timeout(PINGS.1);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            result = &mut connection => Some(result),
            () = told_to(&mut stop) => None,
            () = rotated(&mut replaced, is_http2) => None,
            () = activity.idle(self.idle) => None,
        };
        let result = match ended {
            Some(result) => result,
            None => {
                connection.as_mut().graceful_shutdown();
                match timeout(FAREWELL.saturating_add(self.service.issuance.answer), connection).await {
                    Ok(result) => result,
                    Err(_) => return tracing::debug!(%peer, "connection closed: it did not end in time"),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

impl LogLimit {
    /// Returns how many lines were left out before this one, or nothing when this one is left out, too.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = logged.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1));
        if is_over {
            (logged.since, logged.lines) = (Some(now), 0);
        }
        if logged.lines >= LOGGED_A_SECOND {
            logged.left_out = logged.left_out.saturating_add(1);
            return None;
        }
        logged.lines = logged.lines.saturating_add(1);
        Some(std::mem::take(&mut logged.left_out))
    }
}

impl Activity {
    /// Waits until no request has been running for `limit`, or up to twice that.
    async fn idle(&self, limit: Duration) {
        let mut before = 0;
        loop {
            sleep(limit).await;
            let begun = self.begun.load(Ordering::Relaxed);
            if begun == before && self.running.load(Ordering::Relaxed) == 0 {
                return;
            }
            before = begun;
        }
    }
}

impl Running {
    fn of(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits until another certificate or other roots hold, where HTTP/2 can say so beside the requests.
async fn rotated(tls: &mut watch::Receiver<Arc<ServerConfig>>, is_http2: bool) {
    if !is_http2 || tls.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Waits until the daemon is told to stop, or is gone.
async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn identity(stream: &TlsStream<TcpStream>) -> Option<ClientIdentity> {
    let (_, connection) = stream.get_ref();
    connection.peer_certificates()?.first().and_then(ClientIdentity::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strangers_are_bounded_and_those_left_out_are_counted() {
        let (log, now) = (LogLimit::default(), clock::instant());
        let written = (0..100).filter_map(|_| log.admit(now)).count();
        assert_eq!(written, LOGGED_A_SECOND as usize);
        assert_eq!(log.admit(now + Duration::from_secs(1)), Some(90));
        assert_eq!(log.admit(now + Duration::from_secs(1)), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_it_has_had_no_request_for_the_limit() {
        let (activity, limit) = (Arc::new(Activity::default()), Duration::from_secs(60));
        let running = Running::of(&activity);
        assert!(timeout(limit * 10, activity.idle(limit)).await.is_err(), "a request is running");
        drop(running);
        assert!(timeout(limit * 2, activity.idle(limit)).await.is_ok());
    }
}
