//! The verb `revoke`: journals that a certificate is revoked. No token is asked, so it works while none does.

use std::sync::Arc;

use shared::signing::{Refusal, Refused, RevokeReply, RevokeRequest, Revoked};

use super::{Issuance, certificates::RevocationTicket, unavailable};
use crate::{
    admit::refused,
    clock,
    journal::{Event, Location, RevokedCertificate},
    revocation::Plea,
};

impl Issuance {
    /// The verb `revoke`, asked by this edge. Whoever asks again, by whatever right and for whatever reason, gets the first
    /// revocation.
    pub(crate) async fn revoke(&self, edge: &str, request: RevokeRequest) -> RevokeReply {
        match self.try_revoke(edge, request).await {
            Ok(revoked) => RevokeReply::Revoked(revoked),
            Err(refused) => {
                self.note(edge, "", &refused).await;
                RevokeReply::Refused(refused)
            }
        }
    }

    async fn try_revoke(&self, edge: &str, request: RevokeRequest) -> Result<Revoked, Refused> {
        let plea = Plea::verify(&self.policy, edge, request)?;
        let (serial, certificates) = (plea.serial(), self.ledger.certificates());
        let unknown = || refused(Refusal::UnknownCertificate, format!("the journal has no certificate {serial}"));
        let location = certificates.find(serial).ok_or_else(unknown)?;
        let record = self.works.journal.read(&location).map_err(|_| unavailable())?;
        let Event::Signed(signed) = record.event else { return Err(unavailable()) };
        let granted = plea.grant(edge, signed)?;
        if let Some(location) = certificates.find_revocation(serial) {
            return self.first_revocation(&location);
        }
        granted.check_time(clock::now())?;
        let (mut progress, ticket) = certificates.begin(serial);
        if let Some(ticket) = ticket {
            self.write_revocation(ticket, granted.record);
        }
        let location = progress.wait_for(Option::is_some).await.ok().and_then(|location| *location);
        self.first_revocation(&location.ok_or_else(unavailable)?)
    }

    /// Writes it in a task of its own: a client that goes away must not part the record from the ledger.
    fn write_revocation(&self, ticket: RevocationTicket, record: RevokedCertificate) {
        let (works, ledger) = (Arc::clone(&self.works), Arc::clone(&self.ledger));
        self.works.running.spawn(async move {
            let RevokedCertificate { serial, reason, right, .. } = record;
            match works.journal.append(Event::Revoked(record)).await {
                Ok(location) => {
                    tracing::info!(%serial, ?reason, ?right, record = location.index, "revoked");
                    ledger.certificates().end(ticket, location);
                }
                Err(error) => tracing::error!(%serial, %error, "a certificate cannot be revoked"),
            }
        });
    }

    /// A revocation of the journal.
    fn first_revocation(&self, location: &Location) -> Result<Revoked, Refused> {
        let record = self.works.journal.read(location).map_err(|_| unavailable())?;
        let Event::Revoked(revoked) = record.event else { return Err(unavailable()) };
        let RevokedCertificate { serial, reason, .. } = revoked;
        Ok(Revoked { serial, reason, at: record.at, journal_index: record.index })
    }
}
