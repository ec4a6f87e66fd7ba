//! The verb `revoke`: journals that a certificate is revoked. No token is asked, so it works while none does.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use shared::{
    pointers::IssuerId,
    signing::{Refusal, Refused, RevokeReply, RevokeRequest, Revoked},
};

use super::{
    Issuance,
    certificates::{Progress, RevocationTicket},
    unavailable,
};
use crate::{
    admit::refused,
    clock,
    journal::{Event, Location, RevokedBy, RevokedCertificate, Room, Signed},
    revocation::{Granted, Plea},
    status::{self, Entry},
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
        let policy = self.policy();
        let plea = Plea::verify(&policy, edge, request)?;
        let (serial, certificates) = (plea.serial(), self.ledger.certificates());
        let unknown = || refused(Refusal::UnknownCertificate, format!("the journal has no certificate {serial}"));
        let location = certificates.find(serial).ok_or_else(unknown)?;
        let record = self.works.journal.read(&location).map_err(|_| unavailable())?;
        let Event::Signed(signed) = record.event else { return Err(unavailable()) };
        let issuer = issuer_of(&signed);
        let granted = plea.grant(&policy, edge, signed)?;
        if let Some(location) = certificates.find_revocation(serial) {
            return self.first_revocation(&location);
        }
        granted.check_time(clock::now())?;
        let (progress, ticket) = certificates.begin(serial);
        self.end_revocation(progress, ticket, granted, issuer).await
    }

    /// Writes a revocation, if that is ours to do, and waits until it is written.
    pub(super) async fn end_revocation(
        &self,
        mut progress: Progress,
        ticket: Option<RevocationTicket>,
        granted: Granted,
        issuer: Option<IssuerId>,
    ) -> Result<Revoked, Refused> {
        if let Some(ticket) = ticket {
            self.write_revocation(ticket, granted, issuer);
        }
        let location = progress.wait_for(Option::is_some).await.ok().and_then(|location| *location);
        self.first_revocation(&location.ok_or_else(unavailable)?)
    }

    /// Writes it in a task of its own: a client that goes away must not part the record from the ledger.
    fn write_revocation(&self, ticket: RevocationTicket, granted: Granted, issuer: Option<IssuerId>) {
        let Granted { record, not_after } = granted;
        let (works, ledger) = (Arc::clone(&self.works), Arc::clone(&self.ledger));
        self.works.running.spawn(async move {
            let RevokedCertificate { serial, reason, right, .. } = record;
            match works.journal.append(Event::Revoked(record)).await {
                Ok(location) => {
                    tracing::info!(%serial, ?reason, ?right, record = location.index, "revoked");
                    works.metrics.revoked();
                    if right == RevokedBy::Disowned {
                        works.metrics.disowned();
                    }
                    // Before anybody is answered: the next CRL has it.
                    let at = works.journal.read(&location).map_or_else(|_| clock::now(), |record| record.at);
                    if let Some(issuer) = issuer {
                        works.desk.crls.revoke(issuer, serial, Entry { at, reason, not_after });
                    }
                    ledger.certificates().end(ticket, location);
                }
                Err(error) => {
                    tracing::error!(%serial, %error, "a certificate cannot be revoked");
                    if works.journal.room() != Room::Broken {
                        ledger.certificates().give_back(ticket);
                    }
                }
            }
        });
    }

    /// A revocation of the journal.
    pub(super) fn first_revocation(&self, location: &Location) -> Result<Revoked, Refused> {
        let record = self.works.journal.read(location).map_err(|_| unavailable())?;
        let Event::Revoked(revoked) = record.event else { return Err(unavailable()) };
        let RevokedCertificate { serial, reason, .. } = revoked;
        Ok(Revoked { serial, reason, at: record.at, journal_index: record.index })
    }
}

/// Who has issued a certificate of the journal. Nothing when the journal has nobody above it.
pub(super) fn issuer_of(signed: &Signed) -> Option<IssuerId> {
    signed.chain.get(1).and_then(|issuer| status::issuer_id(&Sha256::digest(&issuer.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixture::{self, EDGE},
        issuance::{Ledger, Notes},
        journal::Journal,
        policy,
        queue::Queue,
        rehearsal::Rehearsal,
        share::Shares,
        status::Desk,
        work::Works,
    };
    use serde_json::json;
    use shared::{base64url, signing::Right, testing::TestKey};
    use std::{pin::pin, task::Poll, time::Duration};
    use tokio_util::task::TaskTracker;

    /// A signer without a token, whose journal has one certificate; and a request for its revocation.
    async fn signer() -> (tempfile::TempDir, Issuance, RevokeRequest) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), |_, _| Ok(())).unwrap();
        let ledger = Arc::new(Ledger::default());
        let (intent, signed) = fixture::signed();
        let payload = json!({"certificate": base64url::encode(&signed.chain[0].0)});
        for event in [Event::Intent(Box::new(intent)), Event::Signed(signed)] {
            let location = journal.append(event).await.unwrap();
            ledger.replay(&journal.read(&location).unwrap(), location).unwrap();
        }
        let (_sender, policy) = tokio::sync::watch::channel(Arc::new(policy::tests::policy()));
        let works = Works {
            issuers: Vec::new(),
            queue: Queue::new(1, 1),
            journal,
            ledger: Arc::clone(&ledger),
            bound: Arc::default(),
            metrics: Arc::default(),
            desk: Desk::new(None),
            rehearsal: Rehearsal::new().unwrap(),
            spendings: Arc::default(),
            disowned: Arc::default(),
            records: Arc::default(),
            stops: tokio::sync::watch::channel(Arc::default()).1,
            policy: policy.clone(),
            running: TaskTracker::new(),
        };
        let issuance = Issuance {
            policy,
            ledger,
            works: Arc::new(works),
            answer: Duration::ZERO,
            forget: Duration::ZERO,
            shares: crate::issuance::QueueShares {
                queue: 1,
                edges: Shares::new(1),
                accounts: Shares::new(1),
                for_renewals: 0,
            },
            notes: Notes::default(),
            readers: Arc::default(),
        };
        let account = TestKey::new(1);
        let header = json!({"kid": "https://ca.test/acme/account/1", "url": "https://ca.test/acme/revoke-cert"});
        let request = fixture::sign(&account, &header, &payload);
        (folder, issuance, RevokeRequest { request, key: account.jwk(), right: Right::Account })
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_one_revocation_that_the_next_one_gets() {
        let (_folder, issuance, asked) = signer().await;
        {
            let mut lost = pin!(issuance.revoke(EDGE, asked.clone()));
            let polled = std::future::poll_fn(|context| Poll::Ready(lost.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        for _ in 0..2 {
            let RevokeReply::Revoked(revoked) = issuance.revoke(EDGE, asked.clone()).await else { panic!("refused") };
            assert_eq!(revoked.journal_index, 2);
        }
        assert_eq!(issuance.works.journal.head().length, 3);
    }
}
