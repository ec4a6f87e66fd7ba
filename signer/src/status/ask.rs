//! The verb `ocsp`. Who asks for what is not there is counted and logged, and not journaled: anybody can ask a responder anything.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use const_oid::db::rfc5280::ID_AD_OCSP;
use shared::{
    chain,
    ocsp::CertIdHash,
    pointers::IssuerId,
    serial::SerialNumber,
    signing::{OcspReply, OcspRequest, Refusal, Refused, SignedResponse, Urgency},
    timestamp::Timestamp,
};
use tokio::time::timeout;
use x509_cert::{Certificate, der::Decode, ext::pkix::AuthorityInfoAccessSyntax};

use super::{
    StatusJob,
    ocsp::{Running, is_fresh, is_true},
};
use crate::{
    admit::refused,
    clock,
    issuance::Issuance,
    issuer,
    journal::Event,
    queue::{Class, NoRoom},
};

/// A certificate that has OCSP responses.
struct Told {
    /// Its issuer, by position.
    issuer: usize,
    not_after: Timestamp,
}

impl Issuance {
    /// The verb `ocsp`.
    pub(crate) async fn ocsp(&self, request: OcspRequest) -> OcspReply {
        match self.try_ocsp(request).await {
            Ok(reply) => reply,
            Err(refused) => {
                let Refused { reason, detail, .. } = &refused;
                self.works.metrics.refused(*reason);
                tracing::info!(?reason, detail, "no OCSP response");
                OcspReply::Refused(refused)
            }
        }
    }

    async fn try_ocsp(&self, request: OcspRequest) -> Result<OcspReply, Refused> {
        let OcspRequest { issuer, serial, hash, urgency } = request;
        let (works, now) = (&self.works, clock::now());
        let told = self.told(issuer, serial, now)?;
        let last = works.desk.responses.last((serial, hash));
        if let Some(response) = &last
            && is_fresh(response, urgency, now)
            && is_true(works, serial, response.revoked)
        {
            works.metrics.remembered();
            return Ok(OcspReply::Signed(SignedResponse::clone(response)));
        }
        let class = match (self.is_news(serial, last.as_deref(), now)?, urgency) {
            (true, _) => Class::Revocation,
            (false, Urgency::Missing) => Class::Status,
            (false, Urgency::Refresh) => Class::Refresh,
        };
        let running = self.begin(told, (serial, hash), class, now)?;
        self.wait_for_response(running).await
    }

    /// The certificate, when it is ours, has this issuer, names an OCSP responder and has not expired.
    fn told(&self, issuer: IssuerId, serial: SerialNumber, now: Timestamp) -> Result<Told, Refused> {
        let unknown =
            |detail: &str| refused(Refusal::UnknownCertificate, format!("the certificate {serial}: {detail}"));
        let location =
            self.works.ledger.certificates().find(serial).ok_or_else(|| unknown("it is not in the journal"))?;
        let unreadable = || refused(Refusal::Unavailable, "the journal cannot be read");
        let record = self.works.journal.read(&location).map_err(|_| unreadable())?;
        let Event::Signed(signed) = record.event else { return Err(unreadable()) };
        let [leaf, above, ..] = signed.chain.as_slice() else { return Err(unreadable()) };
        // A new certificate for the same name and key is the same issuer (RFC 6960 §4.1.1).
        let is_above = |issuer: &chain::Issuer| {
            let same = |above: chain::Issuer| above.subject() == issuer.subject() && above.key() == issuer.key();
            issuer.der() == above.0 || chain::Issuer::from_der(&above.0).is_ok_and(same)
        };
        let position = self.works.issuers.iter().position(|ours| ours.id() == issuer && is_above(ours.certificate()));
        let position = position.ok_or_else(|| unknown("it is of another issuer"))?;
        let leaf = Certificate::from_der(&leaf.0).map_err(|_| unreadable())?;
        let not_after = Timestamp::from_x509(&leaf.tbs_certificate().validity().not_after);
        if not_after < now {
            return Err(unknown("it has expired"));
        }
        let access = leaf.tbs_certificate().get_extension::<AuthorityInfoAccessSyntax>();
        let access = access.map_err(|_| unreadable())?.map(|(_, access)| access.0).unwrap_or_default();
        if !access.iter().any(|access| access.access_method == ID_AD_OCSP) {
            let detail = format!("the certificate {serial} names no OCSP responder");
            return Err(refused(Refusal::NotPermitted, detail));
        }
        Ok(Told { issuer: position, not_after })
    }

    /// True when it was revoked since its last response, as far as that can be known.
    fn is_news(&self, serial: SerialNumber, last: Option<&SignedResponse>, now: Timestamp) -> Result<bool, Refused> {
        let certificates = self.works.ledger.certificates();
        if certificates.revocation(serial).is_none() || last.is_some_and(|last| last.revoked) {
            return Ok(false);
        }
        let validity = self.works.desk.settings.as_ref().map_or(0, |settings| settings.ocsp_validity);
        let Some(location) = certificates.find_revocation(serial) else { return Ok(true) };
        let unreadable = |_| refused(Refusal::Unavailable, "the journal cannot be read");
        let record = self.works.journal.read(&location).map_err(unreadable)?;
        Ok(last.is_some() || record.at.plus(validity) >= now)
    }

    fn begin(
        &self,
        told: Told,
        question: (SerialNumber, CertIdHash),
        class: Class,
        now: Timestamp,
    ) -> Result<(usize, Running), Refused> {
        let (works, Told { issuer: position, not_after }) = (&self.works, told);
        let place = works.queue.place(class);
        let (running, job) = works.desk.responses.begin(question, class, place, not_after);
        let Some(job) = job else { return Ok((position, running)) };
        if let Some(active) = works.desk.delegates.active(position, now) {
            // In a task of its own: who asked may go away, and others have joined.
            let works = Arc::clone(works);
            self.works.running.spawn(async move { job.run(&works, position, active).await });
            return Ok((position, running));
        }
        let issuer = works.issuers.get(position);
        let job = StatusJob::response(job, position, now);
        if issuer.is_none_or(|issuer| issuer.live_tokens() == 0) {
            let refusal = refused(Refusal::Unavailable, "no token of the issuer works at the moment");
            job.give_up(refusal.reason, &refusal.detail);
            return Err(refusal);
        }
        works.queue.push(place, job.into(), now, issuer::pace(issuer.into_iter())).map_err(|(job, why)| {
            let refusal = match why {
                NoRoom::Full => refused(Refusal::Busy, "as many responses wait as may"),
                NoRoom::Closed => refused(Refusal::Unavailable, "the signer is stopping"),
                NoRoom::TooLate(wait) => refused(Refusal::Busy, format!("it would take {} s", wait.as_secs())),
            };
            job.give_up(refusal.reason, &refusal.detail);
            refusal
        })?;
        Ok((position, running))
    }

    async fn wait_for_response(&self, (position, running): (usize, Running)) -> Result<OcspReply, Refused> {
        let mut outcome = running.outcome.clone();
        let ended = async { outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone()) };
        let queued = || {
            let pace = issuer::pace(self.works.issuers.get(position).into_iter());
            let estimate = self.works.queue.estimate(running.place, pace);
            let seconds = estimate.as_secs().saturating_add(u64::from(estimate.subsec_nanos() > 0)).max(1);
            let until = clock::now().plus(seconds).plus(self.forget.as_secs());
            running.wanted.store(until.seconds(), Ordering::Relaxed);
            (estimate, OcspReply::Queued { retry_after: seconds })
        };
        let (estimate, reply): (Duration, _) = queued();
        if estimate > self.answer {
            return Ok(reply);
        }
        match timeout(self.answer, ended).await {
            Ok(Some(Ok(response))) => Ok(OcspReply::Signed(SignedResponse::clone(&response))),
            Ok(Some(Err(refused))) => Err(refused),
            Ok(None) => Err(refused(Refusal::Unavailable, "the job was lost")),
            Err(_) => Ok(queued().1),
        }
    }
}
