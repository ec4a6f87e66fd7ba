//! Renewal: how a certificate is named for it, and the order that says what it replaces (RFC 9773 §4.1, §5).

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shared::{
    base64url::{self, Base64Url},
    chain::Issuer,
    identifier::Identifier,
    serial::SerialNumber,
};

use super::{
    object_id::ObjectId,
    order,
    problem::Problem,
    record::{OrderRecord, OrderState, Record},
    step::Context,
    storage::{Change, Key, Rows},
    view::OrderStatus,
};
use crate::status::renewal_window::Window;

/// What the identifier of a certificate is appended to, after a slash (RFC 9773 §4.1).
pub const PATH: &str = "/acme/renewal-info";

/// A certificate's unique identifier: its authority key identifier and its serial number (RFC 9773 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId {
    /// The key identifier of its issuer.
    pub key_identifier: Vec<u8>,
    /// Its number.
    pub serial: SerialNumber,
}

/// When a certificate is to be renewed (RFC 9773 §4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    /// Within these times.
    pub suggested_window: Window,
    /// Why then.
    #[serde(rename = "explanationURL", skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
    /// Seconds after which to ask again: sent as a header (RFC 9773 §4.3).
    #[serde(skip)]
    pub retry_after: u64,
}

/// The text is not the identifier of a certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url of an authority key identifier, a dot, and base64url of a serial number")]
pub struct NotACertificateId;

impl CertificateId {
    /// Where anybody may ask about it (RFC 9773 §4.1).
    #[must_use]
    pub fn path(&self) -> String {
        // The content of a DER INTEGER: what has its top bit set is given a zero in front, though no number of ours has.
        let serial = self.serial.to_x509().map(|serial| base64url::encode(serial.as_bytes())).unwrap_or_default();
        format!("{PATH}/{}.{serial}", base64url::encode(&self.key_identifier))
    }

    /// Out of a path; nothing when that is another resource's.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Result<Self, Problem>> {
        let text = path.strip_prefix(PATH)?.strip_prefix('/')?;
        Some(text.parse().map_err(|NotACertificateId| Problem::CertificateId))
    }
}

impl FromStr for CertificateId {
    type Err = NotACertificateId;

    fn from_str(text: &str) -> Result<Self, NotACertificateId> {
        let (key_identifier, serial) = text.split_once('.').ok_or(NotACertificateId)?;
        let decode = |text: &str| base64url::decode(text).map_err(|_| NotACertificateId);
        let serial = SerialNumber::from_integer(&decode(serial)?).map_err(|_| NotACertificateId)?;
        Ok(Self { key_identifier: decode(key_identifier)?, serial })
    }
}

/// Checks what a new order says that it replaces, and marks that as replaced by it: its certificate must be of this account,
/// share a name with the new order, and not be replaced already by an order that may still succeed (RFC 9773 §5).
///
/// # Errors
/// `malformed`, `alreadyReplaced` (409).
pub fn replace(
    rows: &dyn Rows,
    replaces: &str,
    identifiers: &[Identifier],
    by: ObjectId,
    context: &Context<'_>,
) -> Result<Change, Problem> {
    const UNKNOWN: Problem = Problem::Replaces("this account has no certificate of this identifier");
    let certificate: CertificateId =
        replaces.parse().map_err(|_| Problem::Replaces("it is not the identifier of a certificate"))?;
    let id = rows.order_of(certificate.serial)?.ok_or(UNKNOWN)?;
    let mut predecessor = OrderRecord::load(rows, Key::Order(id))?.ok_or(UNKNOWN)?;
    let OrderState::Valid(issued) = &predecessor.state else { return Err(UNKNOWN) };
    let issuer = issued.chain.get(1).and_then(|Base64Url(der)| Issuer::from_der(der).ok());
    if issuer.is_none_or(|issuer| issuer.key_identifier() != certificate.key_identifier) {
        return Err(UNKNOWN);
    }
    if !predecessor.identifiers.iter().any(|identifier| identifiers.contains(identifier)) {
        return Err(Problem::Replaces("the certificate and the order have no name in common"));
    }
    if let Some(successor) = predecessor.replaced_by
        && let Some(record) = OrderRecord::load(rows, Key::Order(successor))?
    {
        let authorizations = order::authorizations(rows, &record, context.now)?;
        if order::status(&record, &authorizations, context.now).0 != OrderStatus::Invalid {
            return Err(Problem::AlreadyReplaced);
        }
    }
    predecessor.replaced_by = Some(by);
    Ok(order::put(id, &predecessor, context)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let id: CertificateId = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".parse().unwrap();
        assert_eq!(id.key_identifier.len(), 20);
        assert_eq!(id.serial.to_string(), "00000000000000000000000087654321");
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", ".", "aYhba4dGQEHhs3uEe6CuLN4ByNQ", "aYhb.", "a=.AIdl", "aYhb.AIdlQyE.x", "aYhb.gA"] {
            assert_eq!(text.parse::<CertificateId>(), Err(NotACertificateId), "{text}");
        }
    }
}
