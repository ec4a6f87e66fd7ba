//! The verb `disown`: an edge revokes a certificate that was signed for it and that nobody has. No client asks, and no token is asked.

use shared::signing::{DisownRequest, Refusal, Refused, RevokeReply, Revoked};

use super::{Issuance, revoke::issuer_of, unavailable};
use crate::{
    admit::refused,
    clock,
    disown::{Own, not_at_all, over_budget, unknown},
    journal::{Event, Intent, JournalFailed, Location, Signed},
};

impl Issuance {
    /// The verb `disown`, asked by this edge. What is revoked already, by whatever right, stays as it is.
    pub(crate) async fn disown(&self, edge: &str, request: DisownRequest) -> RevokeReply {
        match self.try_disown(edge, request).await {
            Ok(revoked) => RevokeReply::Revoked(revoked),
            Err(refused) => {
                self.note(edge, "", &refused).await;
                RevokeReply::Refused(refused)
            }
        }
    }

    async fn try_disown(&self, edge: &str, DisownRequest { serial }: DisownRequest) -> Result<Revoked, Refused> {
        // Clients are heard whatever is stopped. Nobody but the edge asks here, and it may be the edge that is not trusted.
        if self.works.stops.borrow().everything {
            let detail = "an operator has stopped all certificates: nothing is disowned before they go on";
            return Err(refused(Refusal::Stopped, detail));
        }
        let (policy, certificates) = (self.policy(), self.ledger.certificates());
        let location = certificates.find(serial).ok_or_else(|| unknown(serial))?;
        let (intent, signed) = self.certificate(location).await.map_err(|JournalFailed| unavailable())?;
        let issuer = issuer_of(&signed);
        let own = Own::of(edge, &intent, signed)?;
        if let Some(location) = certificates.find_revocation(serial) {
            return self.first_revocation(&location);
        }
        let now = clock::now();
        let granted = own.grant(now)?;
        let budget = policy.disowns(edge).ok_or_else(|| not_at_all(serial))?;
        let spend = || self.works.disowned.spend(edge, budget, clock::steady());
        let begun = certificates.begin_if(serial, spend).map_err(|exhausted| over_budget(serial, exhausted));
        let (progress, ticket) = begun?;
        self.end_revocation(progress, ticket, granted, issuer).await
    }

    /// A certificate of the journal and what was decided on for it.
    async fn certificate(&self, signed: Location) -> Result<(Intent, Signed), JournalFailed> {
        let journal = self.works.journal.clone();
        let read = tokio::task::spawn_blocking(move || {
            let Event::Signed(signed) = journal.read(&signed)?.event else { return Err(JournalFailed) };
            let Event::Intent(intent) = journal.record(signed.intent)?.event else { return Err(JournalFailed) };
            Ok((*intent, signed))
        });
        read.await.unwrap_or(Err(JournalFailed))
    }
}
