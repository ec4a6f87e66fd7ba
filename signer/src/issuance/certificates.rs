//! What is known about every certificate: where the journal says that it was signed, and where that it was revoked. This is
//! where "one certificate, one revocation" is kept.
//!
//! ```text
//! signed --begin--> running --revoked--> revoked
//!                      |
//!                      +-- the journal's disk is full: signed, as before
//!                      +-- the journal failed otherwise: stays so until the next start has read what is on the disk
//! ```

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use shared::serial::SerialNumber;
use tokio::sync::watch;

use crate::journal::Location;

/// All certificates, by their serial numbers: two small maps, because few certificates are ever revoked.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    known: Mutex<Known>,
}

/// How far a revocation is: where the journal says it, once it does. Closed without that when the journal failed.
pub(crate) type Progress = watch::Receiver<Option<Location>>;

/// The right to write the one revocation of a certificate. Dropped unused, nobody else gets it before the next start: its
/// record may or may not be on the disk.
#[derive(Debug)]
pub(crate) struct RevocationTicket {
    serial: SerialNumber,
    progress: watch::Sender<Option<Location>>,
}

#[derive(Debug, Default)]
struct Known {
    signed: HashMap<SerialNumber, Location>,
    revocations: HashMap<SerialNumber, Revocation>,
}

#[derive(Debug)]
enum Revocation {
    Running(Progress),
    Revoked(Location),
}

impl Certificates {
    /// Takes in a certificate. False when there is another one of this number.
    #[must_use]
    pub(crate) fn signed(&self, serial: SerialNumber, location: Location) -> bool {
        self.known().signed.insert(serial, location).is_none()
    }

    /// Takes in a revocation of the journal. False when there is no such certificate, or when it is revoked already.
    #[must_use]
    pub(crate) fn revoked(&self, serial: SerialNumber, location: Location) -> bool {
        let mut known = self.known();
        let is_known = known.signed.contains_key(&serial);
        is_known && known.revocations.insert(serial, Revocation::Revoked(location)).is_none()
    }

    /// Where the journal says that a certificate was signed.
    pub(crate) fn find(&self, serial: SerialNumber) -> Option<Location> {
        self.known().signed.get(&serial).copied()
    }

    /// Where the journal says that a certificate was revoked.
    pub(crate) fn find_revocation(&self, serial: SerialNumber) -> Option<Location> {
        match self.known().revocations.get(&serial) {
            Some(Revocation::Revoked(location)) => Some(*location),
            Some(Revocation::Running(_)) | None => None,
        }
    }

    /// Where the journal says that a certificate was signed and revoked, for each that was revoked.
    pub(crate) fn revocations(&self) -> Vec<(Location, Location)> {
        let known = self.known();
        let both = |(serial, revocation): (&SerialNumber, &Revocation)| match revocation {
            Revocation::Revoked(revoked) => Some((*known.signed.get(serial)?, *revoked)),
            Revocation::Running(_) => None,
        };
        known.revocations.iter().filter_map(both).collect()
    }

    /// The revocation of a certificate, if there is one or one is being written.
    pub(crate) fn revocation(&self, serial: SerialNumber) -> Option<Progress> {
        self.known().revocations.get(&serial).map(|revocation| match revocation {
            Revocation::Running(progress) => progress.clone(),
            Revocation::Revoked(location) => watch::channel(Some(*location)).1,
        })
    }

    /// Joins the revocation of a certificate. The ticket goes to the first who asks: he writes it.
    pub(crate) fn begin(&self, serial: SerialNumber) -> (Progress, Option<RevocationTicket>) {
        let Ok(begun) = self.begin_if(serial, || Ok::<_, Infallible>(()));
        begun
    }

    /// The same; whoever would get the ticket must be allowed to.
    ///
    /// # Errors
    /// That of `allowed`: then nothing has begun.
    pub(crate) fn begin_if<E>(
        &self,
        serial: SerialNumber,
        allowed: impl FnOnce() -> Result<(), E>,
    ) -> Result<(Progress, Option<RevocationTicket>), E> {
        Ok(match self.known().revocations.entry(serial) {
            Entry::Occupied(entry) => match entry.get() {
                Revocation::Running(progress) => (progress.clone(), None),
                Revocation::Revoked(location) => (watch::channel(Some(*location)).1, None),
            },
            Entry::Vacant(entry) => {
                allowed()?;
                let (sender, progress) = watch::channel(None);
                entry.insert(Revocation::Running(progress.clone()));
                (progress, Some(RevocationTicket { serial, progress: sender }))
            }
        })
    }

    /// The revocation is on the disk: tells everybody who waits.
    pub(crate) fn end(&self, ticket: RevocationTicket, location: Location) {
        let RevocationTicket { serial, progress } = ticket;
        self.known().revocations.insert(serial, Revocation::Revoked(location));
        progress.send_replace(Some(location));
    }

    /// The revocation is not on the disk: whoever waits hears that, and the next request begins anew.
    pub(crate) fn give_back(&self, ticket: RevocationTicket) {
        self.known().revocations.remove(&ticket.serial);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn serial(seed: u8) -> SerialNumber {
        SerialNumber::from_random([seed; 16])
    }

    #[tokio::test]
    async fn a_number_has_one_certificate_and_one_revocation() {
        let (_folder, [first, second]) = fixture::locations().await;
        let certificates = Certificates::default();
        assert!(!certificates.revoked(serial(1), second), "of nothing");
        assert!(certificates.signed(serial(1), first));
        assert!(!certificates.signed(serial(1), second));
        let certificates = Certificates::default();
        assert!(certificates.signed(serial(1), first));
        assert_eq!((certificates.find(serial(1)), certificates.find(serial(2))), (Some(first), None));
        assert_eq!(certificates.find_revocation(serial(1)), None);
        assert!(certificates.revoked(serial(1), second));
        assert_eq!(certificates.find_revocation(serial(1)), Some(second));
        assert!(!certificates.revoked(serial(1), second), "a second time");
        let (progress, ticket) = certificates.begin(serial(1));
        assert!(ticket.is_none() && *progress.borrow() == Some(second));
    }

    #[tokio::test]
    async fn only_the_first_who_asks_writes_and_all_are_told() {
        let (_folder, [signed, revoked]) = fixture::locations().await;
        let certificates = Certificates::default();
        assert!(certificates.signed(serial(1), signed));
        let (first, ticket) = certificates.begin(serial(1));
        let (second, none) = certificates.begin(serial(1));
        assert!(none.is_none() && first.borrow().is_none() && second.borrow().is_none());
        assert_eq!(certificates.find_revocation(serial(1)), None);
        certificates.end(ticket.unwrap(), revoked);
        assert_eq!((*first.borrow(), *second.borrow()), (Some(revoked), Some(revoked)));
        assert_eq!(certificates.find_revocation(serial(1)), Some(revoked));
    }

    #[tokio::test]
    async fn who_is_not_allowed_begins_nothing_and_is_not_asked_for_what_has_begun() {
        let (_folder, [signed, _]) = fixture::locations().await;
        let certificates = Certificates::default();
        assert!(certificates.signed(serial(1), signed));
        assert_eq!(certificates.begin_if(serial(1), || Err("no")).unwrap_err(), "no");
        assert!(certificates.revocation(serial(1)).is_none());
        let (_, ticket) = certificates.begin(serial(1));
        assert!(ticket.is_some());
        assert!(certificates.begin_if(serial(1), || Err("no")).is_ok_and(|(_, ticket)| ticket.is_none()));
    }

    #[tokio::test]
    async fn a_ticket_that_is_given_back_is_given_again() {
        let (_folder, [signed, revoked]) = fixture::locations().await;
        let certificates = Certificates::default();
        assert!(certificates.signed(serial(1), signed));
        let (mut progress, ticket) = certificates.begin(serial(1));
        certificates.give_back(ticket.unwrap());
        assert!(progress.wait_for(Option::is_some).await.is_err());
        let (_, ticket) = certificates.begin(serial(1));
        certificates.end(ticket.unwrap(), revoked);
        assert_eq!(certificates.find_revocation(serial(1)), Some(revoked));
    }

    #[tokio::test]
    async fn a_ticket_that_is_lost_is_not_given_again() {
        let (_folder, [signed, _]) = fixture::locations().await;
        let certificates = Certificates::default();
        assert!(certificates.signed(serial(1), signed));
        drop(certificates.begin(serial(1)));
        let (mut progress, ticket) = certificates.begin(serial(1));
        assert!(ticket.is_none());
        assert!(progress.wait_for(Option::is_some).await.is_err(), "whoever waits learns it");
    }
}
