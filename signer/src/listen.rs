//! The listener: TCP, the handshake with both sides' certificates, and HTTP on top. Says who connected, and why somebody could
//! not. Nothing here knows what is asked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

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
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::TaskTracker;

use crate::{identity::ClientIdentity, service::Service, share::Shares};

/// Sending the head of a request may take no longer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at one time on one connection of HTTP/2.
const STREAMS: u32 = 250;
/// A pause after an accept that failed for want of files, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until told to stop.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// The configuration of the next handshake; those that are running keep theirs.
    pub(crate) tls: watch::Receiver<Arc<ServerConfig>>,
    pub(crate) service: Service,
    pub(crate) handshake: Duration,
    pub(crate) connections: usize,
    pub(crate) shares: Shares,
}

impl Listener {
    /// Accepts until `stop` says so, then asks every connection to end and gives their tracker.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) -> TaskTracker {
        let tracker = TaskTracker::new();
        let free = Arc::new(Semaphore::new(self.connections));
        let this = Arc::new(self);
        loop {
            let accept = async {
                // Waits in the kernel's queue rather than in ours when all are taken.
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, this.socket.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accept => accepted,
                () = told_to(&mut stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (this, stop) = (Arc::clone(&this), stop.clone());
                    tracker.spawn(async move {
                        this.connection(stream, peer, stop).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tracker.close();
        tracker
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, mut stop: watch::Receiver<bool>) {
        let mut tls = self.tls.clone();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow_and_update()));
        // Small answers should not wait for more of them.
        let _ = stream.set_nodelay(true);
        let stream = match timeout(self.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.service.issuance.works.metrics.handshake_refused();
                return tracing::warn!(%peer, %error, "handshake refused");
            }
            Err(_) => {
                self.service.issuance.works.metrics.handshake_refused();
                return tracing::warn!(%peer, "handshake refused: it took too long");
            }
        };
        let Some(client) = identity(&stream) else {
            return tracing::warn!(%peer, "connection refused: the client certificate has no DNS name");
        };
        let ClientIdentity { names, serial, key_sha256 } = &client;
        let Some(_share) = self.shares.take(names) else {
            return tracing::warn!(%peer, client = names.join(","), "connection refused: it has as many as it may");
        };
        tracing::info!(%peer, client = names.join(","), serial, key_sha256, "connected");
        let client = Arc::new(client);
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let mut replaced = tls.clone();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (service, client, tls) = (self.service.clone(), Arc::clone(&client), tls.clone());
            async move {
                let (version, mut answer) = (request.version(), service.answer(&client, request).await);
                // Who speaks HTTP/1 is told with an answer, so that no request crosses the end of its connection.
                if version < Version::HTTP_2 && tls.has_changed().unwrap_or(true) {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = &mut connection => result,
            () = told_to(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = rotated(&mut replaced, is_http2) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "connection ended");
        }
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
