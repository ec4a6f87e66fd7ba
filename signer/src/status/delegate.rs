//! Responders that issuers certify: a key in this process's memory alone, with a certificate that lives a day or so. Their responses
//! cost no signature of a token; while there is none, the issuer's own key answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer},
    pkcs8::EncodePublicKey,
};
use shared::{
    base64url::Base64Url,
    certificate::{ResponderContent, TbsDer},
    ocsp::Delegate,
    public_key::PublicKey,
    timestamp::Timestamp,
};

use super::ocsp::SHORTEST;
use crate::{
    clock,
    issuer::Issuer,
    journal::{Event, JournaledResponder},
    random,
    token::frame::{Kind, Sign},
    work::Works,
};

/// Seconds that a responder's certificate begins early, for clocks that are behind.
const BACKDATE: u64 = 60;
/// Seconds until what failed is tried again.
const AGAIN: u64 = 5;

/// The responders of all issuers, by the issuers' positions.
#[derive(Debug, Default)]
pub(crate) struct Delegates {
    /// Seconds that the certificates live, of those issuers that have responders.
    lives: BTreeMap<usize, u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    active: BTreeMap<usize, Arc<Active>>,
    running: BTreeSet<usize>,
    /// Not tried again before.
    not_before: BTreeMap<usize, Timestamp>,
}

/// A responder that can sign.
pub(super) struct Active {
    pub(super) delegate: Delegate,
    /// Overwritten when it is dropped.
    key: SigningKey,
}

/// A responder's certificate that waits for its token. Dropped before it is there, it is tried again.
pub(super) struct ResponderJob {
    delegates: Arc<Delegates>,
    position: usize,
    life: u64,
    key: SigningKey,
    decided: Option<Decided>,
}

#[derive(Clone)]
struct Decided {
    record: JournaledResponder,
    spki: Vec<u8>,
}

impl Delegates {
    /// None is certified yet.
    pub(super) fn new(lives: BTreeMap<usize, u64>) -> Self {
        Self { lives, state: Mutex::default() }
    }

    /// The responder of an issuer, when it can sign something that is worth it.
    pub(super) fn active(&self, position: usize, now: Timestamp) -> Option<Arc<Active>> {
        let active = self.state().active.get(&position).cloned()?;
        (active.delegate.not_after() >= now.plus(SHORTEST)).then_some(active)
    }

    /// Starts the certificates whose time has come: in the second half of the life of the one before.
    pub(super) fn start(self: &Arc<Self>, now: Timestamp) -> Vec<ResponderJob> {
        let mut state = self.state();
        let mut jobs = Vec::new();
        for (position, life) in &self.lives {
            let lives_on = |active: &Arc<Active>| active.delegate.not_after() > now.plus(life / 2);
            let is_early = state.not_before.get(position).is_some_and(|at| *at > now);
            if is_early || state.active.get(position).is_some_and(lives_on) || state.running.contains(position) {
                continue;
            }
            let Ok(key) = random::signing_key() else { continue };
            state.running.insert(*position);
            let delegates = Arc::clone(self);
            jobs.push(ResponderJob { delegates, position: *position, life: *life, key, decided: None });
        }
        jobs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    /// Signs (ECDSA with SHA-256, DER).
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl ResponderJob {
    /// The issuer, by position.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) fn sign(&self) -> Sign {
        let (spki, tbs) = self
            .decided
            .as_ref()
            .map_or_else(Default::default, |decided| (decided.spki.clone(), decided.record.tbs.0.clone()));
        Sign { kind: Kind::Responder(Base64Url(spki)), tbs: Base64Url(tbs) }
    }

    /// Decides on the certificate and writes that, before its token sees it.
    pub(super) async fn prepare(mut self, works: &Works) -> Option<Self> {
        match self.decide(works).await {
            Ok(decided) => {
                self.decided = Some(decided);
                Some(self)
            }
            Err(reason) => {
                tracing::error!(job = ?self, reason, "a responder cannot be certified");
                None
            }
        }
    }

    async fn decide(&self, works: &Works) -> Result<Decided, String> {
        let issuer = works.issuers.get(self.position).ok_or("there is no such issuer")?;
        let spki = self.key.verifying_key().to_public_key_der().map_err(|error| error.to_string())?.into_vec();
        let public_key = PublicKey::parse(&spki).map_err(|error| error.to_string())?;
        let (now, serial) = (clock::now(), random::serial_number().map_err(|error| error.to_string())?);
        let (not_before, not_after) = (
            now.minus(BACKDATE).max(issuer.certificate().not_before()),
            now.plus(self.life).min(issuer.certificate().not_after()),
        );
        let content = ResponderContent { public_key: &public_key, serial, not_before, not_after };
        let tbs = content.tbs(issuer.certificate()).map_err(|error| error.to_string())?;
        let tbs = Base64Url(tbs.as_bytes().to_vec());
        let record = JournaledResponder { issuer: issuer.id(), serial, not_before, not_after, tbs, signature: None };
        works.journal.append(Event::Responder(record.clone())).await.map_err(|error| error.to_string())?;
        Ok(Decided { record, spki })
    }

    /// Checks the certificate, writes its signature, and puts it to work.
    pub(super) async fn finish(mut self, works: &Works, signature: Vec<u8>) {
        if let Err(reason) = self.try_finish(works, signature).await {
            tracing::error!(job = ?self, reason, "a responder is not certified");
        }
    }

    async fn try_finish(&mut self, works: &Works, signature: Vec<u8>) -> Result<(), String> {
        let Decided { record, .. } = self.decided.take().ok_or("it was signed before it was decided on")?;
        let issuer = works.issuers.get(self.position).map(Issuer::certificate).ok_or("there is no such issuer")?;
        let certificate = TbsDer::from_journal(record.tbs.0.clone()).assemble(&signature);
        let certificate = certificate.map_err(|error| error.to_string())?;
        let delegate = Delegate::from_der(&certificate, issuer).map_err(|error| error.to_string())?;
        let (serial, not_after) = (record.serial, record.not_after);
        let record = JournaledResponder { signature: Some(Base64Url(signature)), ..record };
        let location = works.journal.append(Event::Responder(record)).await.map_err(|error| error.to_string())?;
        let active = Arc::new(Active { delegate, key: self.key.clone() });
        self.delegates.state().active.insert(self.position, active);
        works.metrics.responder_signed();
        tracing::info!(%serial, %not_after, record = location.index, "a responder is certified");
        Ok(())
    }
}

impl Drop for ResponderJob {
    fn drop(&mut self) {
        let mut state = self.delegates.state();
        state.running.remove(&self.position);
        state.not_before.insert(self.position, clock::now().plus(AGAIN));
    }
}

impl fmt::Debug for ResponderJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the responder of issuer {}", self.position)
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a responder until {}", self.delegate.not_after())
    }
}

#[cfg(test)]
mod tests {
    use shared::testing::TestCa;

    use super::*;

    const LIFE: u64 = 3600;

    /// As a token certifies it at this time.
    fn certified(ca: &TestCa, now: Timestamp) -> Arc<Active> {
        let key = random::signing_key().unwrap();
        let spki = key.verifying_key().to_public_key_der().unwrap();
        let public_key = PublicKey::parse(spki.as_bytes()).unwrap();
        let serial = random::serial_number().unwrap();
        let (not_before, not_after) = (now.minus(BACKDATE), now.plus(LIFE));
        let content = ResponderContent { public_key: &public_key, serial, not_before, not_after };
        let tbs = content.tbs(ca.chain.issuer()).unwrap();
        let signature = ca.sign(tbs.as_bytes());
        let certificate = tbs.assemble(&signature).unwrap();
        Arc::new(Active { delegate: Delegate::from_der(&certificate, ca.chain.issuer()).unwrap(), key })
    }

    #[test]
    fn a_responder_is_renewed_at_half_its_life_and_the_old_one_answers_until_its_last_minute() {
        let (ca, delegates) = (TestCa::new(1), Arc::new(Delegates::new([(0, LIFE)].into())));
        let start = clock::now();
        let jobs = delegates.start(start);
        assert_eq!(jobs.iter().map(ResponderJob::position).collect::<Vec<_>>(), [0]);
        assert!(delegates.start(start).is_empty(), "it is being signed");
        assert!(delegates.active(0, start).is_none());
        delegates.state().active.insert(0, certified(&ca, start));
        drop(jobs);

        let half = start.plus(LIFE / 2);
        assert!(delegates.start(half.minus(1)).is_empty());
        let renewal = delegates.start(half);
        assert_eq!(renewal.len(), 1);
        let old = delegates.active(0, half).unwrap();
        assert!(Arc::ptr_eq(&old, &delegates.active(0, start.plus(LIFE - SHORTEST)).unwrap()));
        assert!(delegates.active(0, start.plus(LIFE - SHORTEST + 1)).is_none(), "then the issuer's own key answers");
        delegates.state().active.insert(0, certified(&ca, half));
        drop(renewal);

        let new = delegates.active(0, start.plus(LIFE)).unwrap();
        assert!(!Arc::ptr_eq(&old, &new));
        assert!(delegates.start(half.plus(LIFE / 2 - 1)).is_empty());
        assert_eq!(delegates.start(half.plus(LIFE / 2)).len(), 1);
    }

    #[test]
    fn what_fails_is_tried_again_after_a_while() {
        let delegates = Arc::new(Delegates::new([(0, LIFE)].into()));
        let start = clock::now();
        drop(delegates.start(start));
        assert!(delegates.start(start.plus(AGAIN - 1)).is_empty());
        assert_eq!(delegates.start(clock::now().plus(AGAIN)).len(), 1);
    }
}
