//! Tells others of revocations that a signer has confirmed: see [`crate::status::news`].

use std::rc::Rc;

use shared::{
    base64url::Base64Url,
    ocsp::{CertIdHash, IssuerHashes},
    pointers,
};
use worker::console_error;

use super::{
    crl,
    environment::{self, Environment},
    issuers, purge,
    status::Incarnation,
};
use crate::{
    acme::problem::Problem,
    status::{
        cache_tag,
        exchange::Question,
        news::{self, Announcement, Pauses, Round},
        response,
    },
};

impl Incarnation {
    /// One round for each of these, in the background. What fails, an alarm makes up for.
    pub(super) fn tell(self: &Rc<Self>, news: Vec<Announcement>, environment: &Rc<Environment>) {
        if news.is_empty() {
            return;
        }
        let (incarnation, environment) = (Rc::clone(self), Rc::clone(environment));
        self.state.wait_until(async move {
            if let Err(problem) = incarnation.round(&news, &environment).await {
                console_error!("telling of revocations: {problem:?}");
            }
        });
    }

    async fn round(self: &Rc<Self>, news: &[Announcement], environment: &Rc<Environment>) -> Result<(), Problem> {
        let mut told = Vec::new();
        for announcement in news {
            told.push(match &announcement.certificate {
                Some(certificate) => self.tell_issuer(announcement, certificate, environment).await?,
                None => true,
            });
        }
        let tags = news.iter().filter(|announcement| announcement.purge);
        let tags: Vec<_> = tags.map(|announcement| cache_tag::of_responses(announcement.serial)).collect();
        let purged = !tags.is_empty() && purge::by_tags(environment, &tags).await;
        // From here to the commits no await.
        let (config, now) = (&environment.config.status, environment::now());
        let pauses = Pauses {
            purge: config.memory_seconds.saturating_add(1),
            retry: environment.config.lifetimes.redrive,
            most: config.max_age_seconds.saturating_add(config.memory_seconds),
        };
        for (announcement, told) in news.iter().zip(told) {
            let round = Round { told, purged: announcement.purge.then_some(purged) };
            let (changes, given_up) = news::ended(&self.rows()?, announcement.serial, round, now, pauses)?;
            self.commit(&changes)?;
            if given_up {
                console_error!("revocation of {}: not everybody could be told", announcement.serial);
            }
        }
        self.alarm.arm(&self.state, &self.rows()?, now.plus(1)).await;
        Ok(())
    }

    /// Has the new response signed and the CRLs fetched that the certificate is in; true when both is under way.
    async fn tell_issuer(
        self: &Rc<Self>,
        announcement: &Announcement,
        certificate: &[u8],
        environment: &Rc<Environment>,
    ) -> Result<bool, Problem> {
        let Announcement { serial, at, .. } = *announcement;
        let hash = CertIdHash::Sha1;
        let found = issuers::known(&self.env, environment, |issuers| {
            let known = issuers.issuer_of(certificate)?;
            let hashes = IssuerHashes::of(known.chain.issuer(), hash).ok()?;
            Some((known.id, known.signer.clone(), hashes, issuers.parts_of(certificate, serial)))
        });
        let Ok(found) = found.await else { return Ok(false) };
        let Some((issuer, signer, IssuerHashes { name, key }, parts)) = found else { return Ok(true) };
        if pointers::has_ocsp(certificate) {
            let question = Question { serial, hash, name: Base64Url(name), key: Base64Url(key) };
            let due = environment::now().plus(environment.config.lifetimes.redrive);
            let changes = response::wanted(&self.rows()?, (&question, issuer, &signer), due)?;
            self.commit(&changes)?;
            for hash in CertIdHash::ALL {
                self.response_is_due((serial, hash), environment)?;
            }
        }
        Ok(crl::revoked(&self.env, environment, parts, at).await)
    }
}
