//! One connection's settings, and what its handshake showed.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, CommonState, Error, ProtocolVersion,
    client::Resumption,
    pki_types::{DnsName, ServerName, UnixTime},
    time_provider::TimeProvider,
};
use shared::timestamp::Timestamp;

use super::{
    provider::{Source, provider},
    verifier::AnyCertificate,
};
use crate::acme::{
    host::Host,
    probe::TlsFault,
    tls_alpn::{Handshake, MAX_CERTIFICATE, Version},
};

/// Settings for a connection that offers this one protocol (RFC 7301). Nothing is remembered from it for another one.
///
/// # Errors
/// Never, as long as each version has a cipher suite.
pub fn settings(source: &'static Source, now: Timestamp, protocol: &[u8]) -> Result<ClientConfig, Error> {
    let mut settings = ClientConfig::builder_with_details(provider(source), Arc::new(Now(now)))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    settings.alpn_protocols = vec![protocol.to_vec()];
    settings.resumption = Resumption::disabled();
    Ok(settings)
}

/// The name that a server is asked for: SNI for a name, none for an address (RFC 6066 §3).
#[must_use]
pub fn server_name(host: &Host) -> Option<ServerName<'static>> {
    match host {
        Host::Name(name) => dns_name(name.as_str()),
        Host::Address(address) => Some(ServerName::from(*address)),
    }
}

/// SNI for this name.
#[must_use]
pub fn dns_name(name: &str) -> Option<ServerName<'static>> {
    DnsName::try_from(name.to_owned()).ok().map(ServerName::DnsName)
}

/// Returns what a handshake that is over showed.
///
/// # Errors
/// [`TlsFault::LargeCertificate`], and [`TlsFault::Handshake`] when the server presented no certificate, which no suite of ours
/// allows.
pub fn seen(connection: &CommonState) -> Result<Handshake, TlsFault> {
    let certificate = connection.peer_certificates().and_then(<[_]>::first).ok_or(TlsFault::Handshake)?;
    if certificate.len() > MAX_CERTIFICATE {
        return Err(TlsFault::LargeCertificate);
    }
    Ok(Handshake {
        certificate: certificate.to_vec(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            _ => return Err(TlsFault::Handshake),
        },
    })
}

/// The time as a value; rustls asks for it, and nothing here depends on it.
#[derive(Debug)]
struct Now(Timestamp);

impl TimeProvider for Now {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.seconds())))
    }
}
