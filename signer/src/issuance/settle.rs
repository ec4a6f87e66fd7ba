//! The verb `settle`: an order that may go to another signer is signed here, or will not be.

use shared::{
    base64url::Base64Url,
    signing::{IssueReply, IssueRequest, Refusal, Refused},
};

use super::{
    Issuance,
    job::LEASE_OVER,
    ledger::{Known, Settlement},
    unavailable, used,
};
use crate::{
    admit::{Evidence, refused},
    clock,
    journal::{Event, SettledOrder},
};

/// Seconds from now within which a lease must end that is to be settled. Settled orders are remembered until then.
const LEASE_SECONDS: u64 = 86_400;

impl Issuance {
    /// The verb `settle`, asked by this edge.
    pub(crate) async fn settle(&self, edge: &str, request: IssueRequest) -> IssueReply {
        let order = request.order.clone();
        match self.try_settle(edge, request).await {
            Ok(reply) => reply,
            Err(refused) => {
                self.note(edge, &order, &refused).await;
                IssueReply::Refused(refused)
            }
        }
    }

    async fn try_settle(&self, edge: &str, request: IssueRequest) -> Result<IssueReply, Refused> {
        let lease = request.lease.ok_or_else(|| refused(Refusal::Malformed, "only a lease can be settled"))?;
        let (policy, now) = (self.policy(), clock::now());
        if lease > now.plus(LEASE_SECONDS) {
            let detail = format!("the lease ends more than {LEASE_SECONDS} s from now");
            return Err(refused(Refusal::Malformed, detail));
        }
        let evidence = Evidence::verify(&policy, edge, request)?;
        let (order, claim) = (evidence.order().to_owned(), evidence.claim());
        // An order that this signer would not sign has nothing to be settled, and no record.
        if matches!(self.ledger.look_up(&order, claim, Some(lease)), Known::Nothing) {
            evidence.permit(&policy, edge, now, &self.works.bound)?;
        }
        match self.ledger.settle(&order, claim, lease, now) {
            Settlement::Signed(location) => return self.stored(&location),
            Settlement::Recorded(journal_index) => return Ok(IssueReply::Settled { journal_index }),
            Settlement::Begun => return Ok(IssueReply::Queued { retry_after: 1 }),
            Settlement::Later => return Err(refused(Refusal::Busy, LEASE_OVER)),
            Settlement::Used => return Err(used()),
            Settlement::Settled => {}
        }
        let event = Event::Settled(SettledOrder {
            order: order.clone(),
            account: Base64Url(claim.account.0.to_vec()),
            csr: Base64Url(claim.csr.0.to_vec()),
            lease,
            edge: edge.to_owned(),
        });
        if self.written.take(edge, now).is_none() {
            let detail = "this edge has had all its records for now: wait for the end of the lease";
            return Err(refused(Refusal::Busy, detail));
        }
        // A request of an earlier lease may still be on its way, and this daemon may start anew.
        let location = self.works.journal.append(event).await.map_err(|_| unavailable())?;
        self.ledger.settlement_recorded(&order, lease, location.index);
        self.works.metrics.settled();
        tracing::info!(order, record = location.index, "settled: another signer may have it");
        Ok(IssueReply::Settled { journal_index: location.index })
    }
}
