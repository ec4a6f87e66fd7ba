//! Takes any certificate and verifies that its key signed the handshake (RFC 8446 §4.4.3, RFC 8422 §5.4). rustls' own
//! check cannot: it refuses a certificate with a critical extension that it does not know, which is what tls-alpn-01 is
//! about (RFC 8737 §3).

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use shared::handshake_signature::{self, Scheme};

use super::provider::SCHEMES;
use crate::acme::responder_certificate::ResponderCertificate;

/// Trusts nothing and takes all: judging the certificate is somebody else's work.
#[derive(Debug)]
pub struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // PKCS #1 v1.5 signs certificates only there (RFC 8446 §4.2.3).
        match signed.scheme {
            SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512 => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
            _ => verify(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

fn verify(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = ResponderCertificate::parse(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let valid = scheme(signed.scheme)
        .is_some_and(|scheme| handshake_signature::verify(certificate.public_key, scheme, message, signed.signature()));
    if valid {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// In the words of the rest of the code.
const fn scheme(scheme: SignatureScheme) -> Option<Scheme> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => Some(Scheme::EcdsaSha256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => Some(Scheme::EcdsaSha384),
        SignatureScheme::ED25519 => Some(Scheme::Ed25519),
        SignatureScheme::RSA_PSS_SHA256 => Some(Scheme::RsaPssSha256),
        SignatureScheme::RSA_PSS_SHA384 => Some(Scheme::RsaPssSha384),
        SignatureScheme::RSA_PSS_SHA512 => Some(Scheme::RsaPssSha512),
        SignatureScheme::RSA_PKCS1_SHA256 => Some(Scheme::RsaPkcs1Sha256),
        SignatureScheme::RSA_PKCS1_SHA384 => Some(Scheme::RsaPkcs1Sha384),
        SignatureScheme::RSA_PKCS1_SHA512 => Some(Scheme::RsaPkcs1Sha512),
        _ => None,
    }
}
