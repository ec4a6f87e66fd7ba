//! Who a caller is: what its client certificate says. The names are in the subject alternative names; a common name is nobody.

use der::{Decode, Encode};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::{
    Certificate,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::ceremony::hex;

/// The client certificate of a connection, which the handshake has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientIdentity {
    /// DNS names, lower case.
    pub(crate) names: Vec<String>,
    /// Hex.
    pub(crate) serial: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub(crate) key_sha256: String,
}

impl ClientIdentity {
    /// Reads a certificate. Nothing when it is not one, or has no DNS name.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let tbs = certificate.tbs_certificate();
        let (_, names) = tbs.get_extension::<SubjectAltName>().ok()??;
        let names: Vec<_> = names
            .0
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let spki = tbs.subject_public_key_info().to_der().ok()?;
        (!names.is_empty()).then(|| Self {
            names,
            serial: hex(tbs.serial_number().as_bytes()),
            key_sha256: hex(&Sha256::digest(&spki)),
        })
    }
}
