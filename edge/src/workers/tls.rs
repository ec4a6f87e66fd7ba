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

use super::{addresses, environment};
use crate::{
    acme::{
        network::Networks,
        probe::{Evidence, ProbeFault, ProbeOutcome},
        tls_alpn,
        validation::Validation,
    },
    tls::{client, fault, provider::Source},
};

/// The platform's generator.
static SOURCE: Source = Source(|bytes| environment::fill(bytes).map_err(|_| GetRandomFailed));

/// Looks at the certificate that the server presents for a challenge. The caller bounds the whole.
pub(super) async fn look(identifier: &Identifier, validation: &Validation, networks: &Networks) -> ProbeOutcome {
    let name = client::dns_name(&tls_alpn::server_name(identifier)).ok_or(ProbeFault::Tls)?;
    let found = addresses::find(identifier, validation, networks).await?;
    let connection = addresses::connect(found, validation.tls_alpn_port, validation).await?;
    let connection = handshake(connection, name, tls_alpn::PROTOCOL).await?;
    client::seen(connection.get_ref().1).map(Evidence::Tls).ok_or(ProbeFault::Tls)
}

/// A handshake that offers this protocol alone.
pub(super) async fn handshake<C: AsyncRead + AsyncWrite + Unpin>(
    connection: C,
    name: ServerName<'static>,
    protocol: &[u8],
) -> Result<TlsStream<C>, ProbeFault> {
    let settings = client::settings(&SOURCE, environment::now(), protocol).map_err(|_| ProbeFault::Tls)?;
    TlsConnector::from(Arc::new(settings)).connect(name, connection).await.map_err(|error| fault_of(&error))
}

/// The handshake's own fault, or the connection's.
fn fault_of(error: &io::Error) -> ProbeFault {
    error.get_ref().and_then(|inner| inner.downcast_ref()).map_or(ProbeFault::Connection, fault::of)
}
