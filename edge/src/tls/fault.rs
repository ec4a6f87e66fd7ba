//! What a failed handshake is called.

use rustls::{AlertDescription, Error, InvalidMessage};

use crate::acme::probe::ProbeFault;

/// In the words of probes.
#[must_use]
pub const fn of(error: &Error) -> ProbeFault {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            ProbeFault::NotTls
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => ProbeFault::TlsProtocol,
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        ) => ProbeFault::TlsIncompatible,
        _ => ProbeFault::Tls,
    }
}
