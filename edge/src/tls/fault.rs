//! What a failed handshake is called.

use rustls::{AlertDescription, Error, InvalidMessage};

use crate::acme::probe::TlsFault;

/// In the words of probes.
#[must_use]
pub const fn of(error: &Error) -> TlsFault {
    match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            TlsFault::NotTls
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => TlsFault::Protocol,
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        ) => TlsFault::Incompatible,
        _ => TlsFault::Handshake,
    }
}
