//! Randomness as a value: a step gets one seed and derives from it everything that must be unpredictable.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// 256 fresh random bits for one step. Each derived value is used for one thing.
#[derive(Clone)]
pub struct Entropy([u8; 32]);

impl Entropy {
    /// From 32 bytes of the platform's generator.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// `N` bytes (at most 32) for this purpose and index: HMAC-SHA256 of both under the seed.
    #[must_use]
    pub fn derive<const N: usize>(&self, purpose: &str, index: usize) -> [u8; N] {
        let mut bytes = [0; N];
        // HMAC takes a key of any length; the error cannot occur, and zeros are never used because of it.
        if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0) {
            mac.update(purpose.as_bytes());
            mac.update(&[0]);
            mac.update(&index.to_be_bytes());
            bytes.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        }
        bytes
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_by_purpose_index_and_seed() {
        let (one, two) = (Entropy::new([1; 32]), Entropy::new([2; 32]));
        let value = |entropy: &Entropy, purpose, index| entropy.derive::<16>(purpose, index);
        assert_ne!(value(&one, "order", 0), value(&one, "order", 1));
        assert_ne!(value(&one, "order", 0), value(&one, "token", 0));
        assert_ne!(value(&one, "order", 0), value(&two, "order", 0));
        assert_eq!(value(&one, "order", 0), value(&one, "order", 0));
    }
}
