//! What must hold before a certificate is recorded as revoked although no client asked: it was signed for the edge that asks, somebody
//! can see that it is revoked, and it is of use still.
//!
//! An edge asks so for a certificate that it had signed and that nobody has. Nobody can prove that, so it is the edge's word. The harm
//! of a lie is bounded: certificates of this edge's orders alone, so many a day, each in the journal as asked for by no client.

use sha2::{Digest, Sha256};
use shared::{
    base64url::Base64Url,
    pointers,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{Refusal, Refused},
    timestamp::Timestamp,
};

use crate::{
    admit::refused,
    budget::Exhausted,
    journal::{Intent, RevokedBy, RevokedCertificate, Signed},
    revocation::Granted,
};

/// A certificate of the asking edge, which could be disowned by what it is. Made by [`Own::of`] and by nothing else.
#[derive(Debug)]
pub(crate) struct Own {
    signed: Signed,
    edge: String,
    not_after: Timestamp,
    revocable: bool,
}

impl Own {
    /// Checks what the journal says of a certificate.
    ///
    /// # Errors
    /// [`unknown`] when it was signed for another edge.
    pub(crate) fn of(edge: &str, intent: &Intent, signed: Signed) -> Result<Self, Refused> {
        // 1. What is another edge's looks like what is nobody's.
        if intent.edge != edge || intent.serial != signed.serial {
            return Err(unknown(signed.serial));
        }
        let revocable = is_revocable(intent, &signed);
        Ok(Self { signed, edge: edge.to_owned(), not_after: intent.not_after, revocable })
    }

    /// Checks that its revocation is of use. Not asked of one that is revoked already.
    pub(crate) fn grant(self, now: Timestamp) -> Result<Granted, Refused> {
        let Self { signed, edge, not_after, revocable } = self;
        let Signed { serial, order, chain, .. } = signed;
        // 2. Somebody can see it.
        if !revocable {
            let detail =
                format!("the certificate {serial} points to no CRL and no responder: it is good until it expires");
            return Err(refused(Refusal::BadProfile, detail));
        }
        let leaf = chain.first().ok_or_else(|| unknown(serial))?;
        let record = RevokedCertificate {
            serial,
            reason: RevocationReason::Superseded,
            right: RevokedBy::Disowned,
            order,
            key: None,
            certificate_sha256: Base64Url(Sha256::digest(&leaf.0).to_vec()),
            edge,
        };
        let granted = Granted { record, not_after };
        // 3. It has not expired.
        granted.check_time(now)?;
        Ok(granted)
    }
}

/// True when those who look can see a revocation of this certificate.
pub(crate) fn is_revocable(intent: &Intent, signed: &Signed) -> bool {
    intent.crl_shard.is_some() || signed.chain.first().is_some_and(|leaf| pointers::has_ocsp(&leaf.0))
}

/// There is no such certificate, as far as the asking edge may know.
pub(crate) fn unknown(serial: SerialNumber) -> Refused {
    refused(Refusal::UnknownCertificate, format!("the journal has no certificate {serial} of this edge"))
}

/// The edge may disown none.
pub(crate) fn not_at_all(serial: SerialNumber) -> Refused {
    let detail = "the edge's disowned_per_day is 0: its client must revoke it";
    refused(Refusal::NotPermitted, format!("the certificate {serial} cannot be disowned: {detail}"))
}

/// The edge has disowned as many as it may in a day.
pub(crate) fn over_budget(serial: SerialNumber, exhausted: Exhausted) -> Refused {
    let advice = "ask again then, or an operator raises the edge's disowned_per_day";
    refused(Refusal::OverBudget, format!("the certificate {serial} cannot be disowned: {exhausted}; {advice}"))
}
