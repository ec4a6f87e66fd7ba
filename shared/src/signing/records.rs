//! The verbs by which an edge learns of every certificate that it had signed, delivered or not: `records` and `disown`.
//!
//! An edge that crashed, or gave an order to another signer because this one could not be asked, may not know of a certificate that
//! this signer has signed for it. It reads the journal from where it stopped, compares with its orders, and disowns what nobody has.

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::{profile::ProfileName, serial::SerialNumber, timestamp::Timestamp};

/// Path of the verb `records`.
pub const RECORDS_PATH: &str = "/v1/records";
/// Path of the verb `disown`. Its answer is a [`RevokeReply`](super::RevokeReply).
pub const DISOWN_PATH: &str = "/v1/disown";

/// Asks for the certificates that were signed for the asking edge, in the journal's order. One question of an edge at a time: another
/// one beside it is refused as busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsRequest {
    /// Index of the first journal record to look at: 0, or what the last answer called `next`.
    pub from: u64,
}

/// The answer to `records`. HTTP status: 200, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecordsReply {
    /// Some of them; the signer decides how many it looks at for one answer.
    Records {
        /// Those of the asking edge, oldest first.
        certificates: Vec<SignedRecord>,
        /// Index of the first record that was not looked at.
        next: u64,
        /// Number of records that the journal has.
        length: u64,
    },
    /// Not a request of this version, not from an edge, one too many at a time, or the journal cannot be read.
    Refused(Refused),
}

/// A certificate that the journal calls signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRecord {
    /// Index of the record that says so.
    pub index: u64,
    /// The order's URL.
    pub order: String,
    /// The certificate's serial number.
    pub serial: SerialNumber,
    /// Its profile.
    pub profile: ProfileName,
    /// When it was signed, by the signer's clock.
    pub at: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// True when those who look can see a revocation: it points to a CRL or a responder.
    pub revocable: bool,
}

/// Asks for the revocation of a certificate that was signed for the asking edge and that nobody has: the order has another one, or is
/// none of the edge's. No client has asked for it, so there is only so much of this in a day: then it is over budget until there is
/// more. One that is not this edge's, or has expired, is unknown; one whose revocation nobody could see is refused for its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisownRequest {
    /// Its serial number.
    pub serial: SerialNumber,
}
