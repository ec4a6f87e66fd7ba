//! How many of the connections, and of the places in the queue, one identity has, so that whoever holds its key can keep no other
//! edge out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use hyper::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of the daemon the requests of one identity have, over all of its connections.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Requests that are answered, until their answers are sent.
    requests: Arc<Semaphore>,
    /// Requests whose bodies are read.
    pub(crate) bodies: Semaphore,
    /// Bytes of answers that are not sent yet.
    answers: Arc<Semaphore>,
    answer_bytes: u32,
}

/// The place of a request among those of its identity.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The bytes of an answer, and what they take of their identity's admission: given back when the last byte is sent, or the connection ends.
struct Sending {
    bytes: Bytes,
    _permits: (Place, Option<OwnedSemaphorePermit>),
}

impl Admission {
    fn new(requests: usize, bodies: usize, answer_bytes: u32) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            bodies: Semaphore::new(bodies),
            answers: Arc::new(Semaphore::new(usize::try_from(answer_bytes).unwrap_or(usize::MAX))),
            answer_bytes,
        }
    }

    /// Takes the place of a request. Returns nothing when this identity has as many as it may.
    pub(crate) fn request(&self) -> Option<Place> {
        Arc::clone(&self.requests).try_acquire_owned().ok().map(|permit| Place { _permit: permit })
    }

    /// Returns these bytes of an answer, with what they take until they are sent. An answer that is longer than all that may wait is sent
    /// while no other waits.
    ///
    /// # Errors
    /// Gives back the place when too many bytes of this identity wait to be sent.
    pub(crate) fn answer(&self, place: Place, bytes: Bytes) -> Result<Bytes, Place> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.answer_bytes);
        match Arc::clone(&self.answers).try_acquire_many_owned(length) {
            Ok(permit) => Ok(Bytes::from_owner(Sending { bytes, _permits: (place, Some(permit)) })),
            Err(_) => Err(place),
        }
    }

    /// Returns the bytes of a short refusal, which take the place of their request and nothing else.
    pub(crate) fn refusal(place: Place, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Sending { bytes, _permits: (place, None) })
    }
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The admission of each identity, by the names in client certificates.
#[derive(Debug)]
pub(crate) struct Admissions {
    requests: usize,
    bodies: usize,
    answer_bytes: u32,
    by_names: Mutex<BTreeMap<Vec<String>, Weak<Admission>>>,
}

impl Admissions {
    /// Makes room for `requests` requests of each identity, for `bodies` bodies that are read, and for `answer_bytes` bytes of answers that
    /// are not sent yet.
    pub(crate) fn new(requests: usize, bodies: usize, answer_bytes: u32) -> Self {
        Self { requests, bodies, answer_bytes, by_names: Mutex::default() }
    }

    /// Returns what all connections of this identity share.
    pub(crate) fn of(&self, names: &[String]) -> Arc<Admission> {
        let mut by_names = self.by_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_names.get(names).and_then(Weak::upgrade) {
            return known;
        }
        by_names.retain(|_, admission| admission.strong_count() > 0);
        let admission = Arc::new(Admission::new(self.requests, self.bodies, self.answer_bytes));
        by_names.insert(names.to_vec(), Arc::downgrade(&admission));
        admission
    }
}

/// What is taken of something, by the names in client certificates. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    most: usize,
    taken: Arc<Mutex<BTreeMap<Vec<String>, usize>>>,
}

/// What one identity has taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    names: Vec<String>,
}

impl Shares {
    /// So many for each identity.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// One more for this identity; nothing when it has as many as it may.
    pub(crate) fn take(&self, names: &[String]) -> Option<Share> {
        self.take_beside(names, 0)
    }

    /// The same, where so many are left for others of this identity.
    pub(crate) fn take_beside(&self, names: &[String], left: usize) -> Option<Share> {
        let mut taken = self.taken();
        let count = taken.entry(names.to_vec()).or_default();
        if *count >= self.most.saturating_sub(left) {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Share { shares: self.clone(), names: names.to_vec() })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Vec<String>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(count) = taken.get_mut(&self.names) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_identity_share_its_admission_until_the_last_one_ends() {
        let admissions = Admissions::new(1, 1, 1);
        let names = ["a".to_owned()];
        let (one, two) = (admissions.of(&names), admissions.of(&names));
        let _request = one.request().unwrap();
        assert!(two.request().is_none());
        assert!(admissions.of(&["b".to_owned()]).request().is_some());
        drop(two);
        drop(admissions.of(&["c".to_owned()]));
        assert_eq!(admissions.by_names.lock().unwrap().len(), 2, "those of identities without a connection are gone");
    }

    #[test]
    fn an_answer_counts_until_its_last_byte_is_sent() {
        let admission = Admission::new(3, 1, 10);
        let mut answer = admission.answer(admission.request().unwrap(), Bytes::from_static(&[1; 8])).unwrap();
        assert_eq!(&answer[..], [1; 8]);
        let place = admission.answer(admission.request().unwrap(), Bytes::from_static(&[2; 3])).unwrap_err();
        let refusal = Admission::refusal(place, Bytes::from_static(b"busy"));
        // As a connection does that can send some bytes and not yet the others.
        drop(answer.split_to(7));
        assert!(admission.answer(admission.request().unwrap(), Bytes::from_static(&[2; 3])).is_err());
        drop(answer);
        let long = admission.answer(admission.request().unwrap(), Bytes::from_static(&[3; 30])).unwrap();
        assert!(
            admission.answer(admission.request().unwrap(), Bytes::from_static(&[4])).is_err(),
            "a long one waits alone"
        );
        drop((long, refusal));
        assert_eq!((admission.requests.available_permits(), admission.answers.available_permits()), (3, 10));
    }

    #[test]
    fn an_identity_has_its_share_and_gets_back_what_ends() {
        let shares = Shares::new(2);
        let (one, other) = (["a".to_owned()], ["b".to_owned()]);
        let held = [shares.take(&one), shares.take(&one)];
        assert!(held.iter().all(Option::is_some) && shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        drop(held);
        assert!(shares.taken().is_empty());
        assert!(shares.take(&one).is_some());
    }
}
