//! What caches know answers by, to purge them (`Cache-Tag`). A serial number is enough: 127 random bits are of one certificate, whoever
//! issued it.

use shared::{
    pointers::{CrlShard, IssuerId},
    serial::SerialNumber,
};

/// All OCSP responses about a certificate.
#[must_use]
pub fn of_responses(serial: SerialNumber) -> String {
    format!("ocsp-{serial}")
}

/// The CRL of a part.
#[must_use]
pub fn of_crl(issuer: IssuerId, shard: CrlShard) -> String {
    format!("crl-{issuer}-{shard}")
}

/// An issuer's certificate.
#[must_use]
pub fn of_issuer(issuer: IssuerId) -> String {
    format!("issuer-{issuer}")
}
