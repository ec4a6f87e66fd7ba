//! Bounds the connections whose peer is not authenticated yet: how many there are, and how many of one address. They have places of
//! their own, so that strangers take none from authenticated peers. A new connection always gets a place: the one that loses its own is the
//! oldest of the address that has the most, and so never one of a peer with few while another peer has many.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The places of handshakes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    /// At most this many at one time.
    pool: usize,
    /// At most this many of one address at one time.
    per_address: usize,
    /// The first bits of an IPv6 address that count as one peer: a host may choose the others as it likes.
    ipv6_mask: u128,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    count: usize,
    /// Of each address by age: the first is the oldest. A sender is dropped when its place is given to another handshake.
    by_address: BTreeMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// The place of one handshake, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    address: IpAddr,
    number: u64,
    handshakes: Handshakes,
    lost: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Makes places for `pool` handshakes, `per_address` of them for one address, or for one IPv6 network of so many bits.
    pub(crate) fn new(pool: usize, per_address: usize, ipv6_prefix: u32) -> Self {
        let ipv6_mask = u128::MAX.checked_shl(128_u32.saturating_sub(ipv6_prefix)).unwrap_or(0);
        Self { pool, per_address, ipv6_mask, running: Arc::default() }
    }

    /// Takes a place. When this address has as many as it may, its oldest handshake loses its own; when all places are taken, the oldest of
    /// the address that has the most. A handshake needs two round trips, and one that stands still is the oldest soon.
    pub(crate) fn take(&self, address: IpAddr) -> Handshake {
        let address = self.one_peer(address);
        let mut running = self.running();
        if running.of(&address) >= self.per_address {
            running.remove_oldest(&address);
        } else if running.count >= self.pool
            && let Some(address) = running.largest()
        {
            running.remove_oldest(&address);
        }
        let number = running.next;
        running.next = running.next.wrapping_add(1);
        running.count = running.count.saturating_add(1);
        let (place, lost) = oneshot::channel();
        running.by_address.entry(address).or_default().insert(number, place);
        Handshake { address, number, handshakes: self.clone(), lost }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_peer(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & self.ipv6_mask).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

impl Running {
    fn of(&self, address: &IpAddr) -> usize {
        self.by_address.get(address).map_or(0, BTreeMap::len)
    }

    /// Returns the address with the most handshakes; of several, the one whose first handshake is the oldest.
    fn largest(&self) -> Option<IpAddr> {
        let rank = |places: &BTreeMap<u64, _>| (places.len(), Reverse(places.keys().next().copied()));
        self.by_address.iter().max_by_key(|(_, places)| rank(places)).map(|(address, _)| *address)
    }

    fn remove_oldest(&mut self, address: &IpAddr) {
        let oldest = self.by_address.get(address).and_then(|places| places.keys().next().copied());
        if let Some(oldest) = oldest {
            self.remove(address, oldest);
        }
    }

    fn remove(&mut self, address: &IpAddr, number: u64) {
        let Some(places) = self.by_address.get_mut(address) else { return };
        if places.remove(&number).is_some() {
            self.count = self.count.saturating_sub(1);
        }
        if places.is_empty() {
            self.by_address.remove(address);
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
        self.handshakes.running().remove(&self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Which of these have lost their places.
    fn lost(held: &mut [Handshake]) -> Vec<bool> {
        held.iter_mut().map(|handshake| handshake.lost.try_recv() == Err(TryRecvError::Closed)).collect()
    }

    fn is_empty(handshakes: &Handshakes) -> bool {
        let running = handshakes.running();
        running.count == 0 && running.by_address.is_empty()
    }

    #[test]
    fn an_address_with_all_its_places_loses_its_oldest_and_gets_back_those_that_end() {
        let handshakes = Handshakes::new(10, 2, 64);
        let other = handshakes.take(address("192.0.2.2"));
        let mut held: Vec<_> = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"]
            .into_iter()
            .map(|text| handshakes.take(address(text)))
            .chain([other])
            .collect();
        assert_eq!(lost(&mut held), [true, false, false, false], "in either spelling");
        assert_eq!(handshakes.running().count, 3);
        drop(held);
        assert!(is_empty(&handshakes));
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_peer() {
        let of = |prefix: u32, one: &str, other: &str| {
            let handshakes = Handshakes::new(10, 1, prefix);
            let mut held = [handshakes.take(address(one)), handshakes.take(address(other))];
            lost(&mut held)[0]
        };
        assert!(of(64, "2001:db8::1", "2001:db8::ffff:0:0:2"));
        assert!(!of(64, "2001:db8::1", "2001:db8:0:1::1"));
        assert!(of(56, "2001:db8::1", "2001:db8:0:ff::1"));
        assert!(!of(56, "2001:db8::1", "2001:db8:0:100::1"));
        assert!(!of(128, "2001:db8::1", "2001:db8::2"));
        assert!(!of(56, "192.0.2.1", "192.0.2.2"), "IPv4 addresses count one by one");
    }

    #[test]
    fn when_all_places_are_taken_the_address_with_the_most_loses_its_oldest() {
        let handshakes = Handshakes::new(4, 4, 64);
        let mut held: Vec<_> = ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
            .into_iter()
            .map(|text| handshakes.take(address(text)))
            .collect();
        assert_eq!(lost(&mut held), [false, true, true, false, false, false]);
        assert_eq!(handshakes.running().count, 4);
        held.push(handshakes.take(address("192.0.2.5")));
        assert!(lost(&mut held)[0], "of those with as many, the oldest");
        drop(held);
        assert!(is_empty(&handshakes));
    }
}
