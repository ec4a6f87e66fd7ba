//! The choice of a slot.

use std::collections::BTreeMap;

use edge::status::{
    renewal_config::RenewalConfig,
    renewal_window::{least_loaded, retry_after},
};
use proptest::prelude::*;
use shared::serial::SerialNumber;

proptest! {
    /// Whatever comes first: no slot gets a certificate while another one has fewer, and the same certificate always gets the same.
    #[test]
    fn the_least_loaded_slot_is_taken(loads in prop::collection::vec(0_u64..5, 1..50), bytes: [u8; 16], first in 0_u64..1000) {
        let serial = SerialNumber::from_random(bytes);
        let map: BTreeMap<u64, u64> = (first..).zip(loads.iter().copied()).collect();
        let slots = first..first + u64::try_from(loads.len()).unwrap();
        let slot = least_loaded(slots.clone(), serial, |slot| map[&slot]).unwrap();
        prop_assert_eq!(map[&slot], *loads.iter().min().unwrap());
        prop_assert_eq!(least_loaded(slots, serial, |slot| map[&slot]), Some(slot));
    }

    #[test]
    fn clients_are_asked_to_come_again_within_the_bounds(life in 0_u64..100_000_000, bytes: [u8; 16]) {
        let serial = SerialNumber::from_random(bytes);
        let seconds = retry_after(life, serial, &RenewalConfig::default());
        prop_assert!((52..=21_600).contains(&seconds));
        prop_assert!(life < 240 || seconds <= life / 4);
        prop_assert!(life < 4 * 21_600 || seconds > 18_900 - 1);
    }
}

#[test]
fn without_slots_there_is_none() {
    assert_eq!(least_loaded(5..5, SerialNumber::from_random([1; 16]), |_| 0), None);
}
