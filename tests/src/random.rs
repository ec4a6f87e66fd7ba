//! Randomness: from the system where it must be fresh, from a printed seed where a run must be repeatable.

use std::{fs::File, io::Read as _};

/// Fresh bytes of the system.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("the system has randomness");
    bytes
}

/// A repeatable sequence (SplitMix64).
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Sequence {
    /// From the environment variable `COLOPHON_SEED`, else a fresh one; prints which.
    ///
    /// # Panics
    /// When the variable is no number.
    #[must_use]
    pub fn seeded() -> Self {
        let seed = std::env::var("COLOPHON_SEED")
            .map_or_else(|_| u64::from_ne_bytes(bytes()), |text| text.parse().expect("COLOPHON_SEED is a number"));
        eprintln!("COLOPHON_SEED={seed} repeats this run");
        Self(seed)
    }

    /// The next value, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % limit
    }
}
