//! TLS over the platform's sockets, for tls-alpn-01 (RFC 8737 §3) and for https URLs that http-01 is led to. Nothing here
//! judges what came.

use std::{io, sync::Arc};

use shared::identifier::Identifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{crypto::GetRandomFailed, pki_types::ServerName},
};

use super::{addresses, environment, progress::Progress};
use crate::{
    acme::{
        host::Host,
        network::Networks,
        probe::{Evidence, Peer, ProbeFault, ProbeOutcome, TlsFault, Waiting},
        tls_alpn,
        validation::Validation,
    },
    tls::{client, fault, provider::Source},
};

/// The platform's generator.
static SOURCE: Source = Source(|bytes| environment::fill(bytes).map_err(|_| GetRandomFailed));

/// Looks at the certificate that the server presents for a challenge. The caller bounds the whole.
pub(super) async fn look(
    identifier: &Identifier,
    validation: &Validation,
    networks: &Networks,
    progress: &Progress,
) -> ProbeOutcome {
    let found = addresses::find(&Host::from(identifier), validation, networks, progress).await?;
    let (connection, peer) = addresses::connect(found, validation.tls_alpn_port, validation, progress).await?;
    let failed = |fault| ProbeFault::Tls(peer.clone(), fault);
    let name = client::dns_name(&tls_alpn::server_name(identifier)).ok_or_else(|| failed(TlsFault::Handshake))?;
    progress.waits_for(Waiting::Handshake(peer.clone()));
    let connection = handshake(connection, name, tls_alpn::PROTOCOL, &peer).await?;
    client::seen(connection.get_ref().1).map(Evidence::Tls).map_err(failed)
}

/// A handshake that offers this protocol alone.
pub(super) async fn handshake<C: AsyncRead + AsyncWrite + Unpin>(
    connection: C,
    name: ServerName<'static>,
    protocol: &[u8],
    peer: &Peer,
) -> Result<TlsStream<C>, ProbeFault> {
    let settings = client::settings(&SOURCE, environment::now(), protocol)
        .map_err(|_| ProbeFault::Tls(peer.clone(), TlsFault::Handshake))?;
    TlsConnector::from(Arc::new(settings)).connect(name, connection).await.map_err(|error| fault_of(&error, peer))
}

/// The handshake's own fault, or the connection's.
fn fault_of(error: &io::Error, peer: &Peer) -> ProbeFault {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref()).map(fault::of);
    fault.map_or_else(|| ProbeFault::Broken(peer.clone()), |fault| ProbeFault::Tls(peer.clone(), fault))
}
