//! Bounds the connections whose peer is not authenticated yet: how many there are, and how many of one address. They have places of
//! their own, so that strangers take none from authenticated peers.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The part of an IPv6 address that counts as one peer: a host may choose the other 64 bits as it likes.
const IPV6_PREFIX: u128 = u128::MAX << 64;

/// The places of handshakes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    /// At most this many at one time.
    pool: usize,
    /// At most this many of one address at one time.
    per_address: usize,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    /// By age: the first is the oldest.
    all: BTreeMap<u64, Entry>,
    by_address: BTreeMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    /// Dropped when the place is given to another one.
    _place: oneshot::Sender<()>,
}

/// The place of one handshake, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    number: u64,
    handshakes: Handshakes,
    lost: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Makes places for `pool` handshakes, `per_address` of them for one address.
    pub(crate) fn new(pool: usize, per_address: usize) -> Self {
        Self { pool, per_address, running: Arc::default() }
    }

    /// Takes a place. Returns nothing when this address has as many as it may. When all places are taken, the oldest handshake loses
    /// its own: a peer that means it needs two round trips, and one that sends nothing is the oldest soon.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Handshake> {
        let address = one_peer(address);
        let mut running = self.running();
        if running.by_address.get(&address).is_some_and(|count| *count >= self.per_address) {
            return None;
        }
        while running.all.len() >= self.pool {
            let (oldest, _) = running.all.first_key_value()?;
            let oldest = *oldest;
            running.remove(oldest);
        }
        let number = running.next;
        running.next = running.next.wrapping_add(1);
        let (place, lost) = oneshot::channel();
        running.all.insert(number, Entry { address, _place: place });
        let count = running.by_address.entry(address).or_default();
        *count = count.saturating_add(1);
        Some(Handshake { number, handshakes: self.clone(), lost })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn remove(&mut self, number: u64) {
        let Some(Entry { address, .. }) = self.all.remove(&number) else { return };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Handshake {
    /// Waits until this place is given to another handshake.
    pub(crate) async fn lost(&mut self) {
        let _ = (&mut self.lost).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.running().remove(self.number);
    }
}

fn one_peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_PREFIX).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_places_and_gets_back_those_that_end() {
        let handshakes = Handshakes::new(10, 2);
        let held = [handshakes.take(address("192.0.2.1")), handshakes.take(address("::ffff:192.0.2.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(handshakes.take(address("192.0.2.1")).is_none(), "in either spelling");
        assert!(handshakes.take(address("192.0.2.2")).is_some());
        drop(held);
        assert!(handshakes.running().all.is_empty() && handshakes.running().by_address.is_empty());
        assert!(handshakes.take(address("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let handshakes = Handshakes::new(10, 1);
        let _held = handshakes.take(address("2001:db8::1")).unwrap();
        assert!(handshakes.take(address("2001:db8::ffff:0:0:2")).is_none());
        assert!(handshakes.take(address("2001:db8:0:1::1")).is_some());
    }

    #[tokio::test]
    async fn the_oldest_loses_its_place_when_all_are_taken() {
        let handshakes = Handshakes::new(2, 2);
        let mut held: Vec<_> = (1..=3).map(|n| handshakes.take(address(&format!("192.0.2.{n}"))).unwrap()).collect();
        held[0].lost().await;
        assert_eq!(handshakes.running().all.len(), 2);
        for handshake in &mut held[1..] {
            assert!(handshake.lost.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        }
        drop(held);
        assert!(handshakes.running().all.is_empty() && handshakes.running().by_address.is_empty());
    }
}
