//! RSA moduli whose primes were chosen badly, so that strangers can find them. Costs about as much as verifying a few signatures:
//! for the party that signs certificates, not for each that reads a key.

use rsa::{BoxedUint, traits::PublicKeyParts};

use super::{Key, PublicKey, SMALL_PRIMES, WeakKey, remainder};

/// The largest prime whose remainders tell a modulus of CVE-2017-15361; together they mistake one in 2^150 others.
const ROCA_LAST: u64 = 167;
/// The generator of that library's primes.
const ROCA_GENERATOR: u64 = 65_537;
/// Steps of Fermat's factorization: primes that agree in more than about half of their bits are found in the first.
const FERMAT_STEPS: usize = 100;

impl PublicKey {
    /// Checks that an RSA modulus is not by the library of CVE-2017-15361 (ROCA), and not of primes that lie side by side
    /// (CVE-2022-26320). Keys of other kinds have nothing to check.
    ///
    /// # Errors
    /// [`WeakKey::RsaPrimes`].
    pub fn check_primes(&self) -> Result<(), WeakKey> {
        let Key::Rsa(key) = &self.key else { return Ok(()) };
        let modulus = key.n().as_ref();
        if is_roca(modulus) || has_close_primes(modulus) { Err(WeakKey::RsaPrimes) } else { Ok(()) }
    }
}

/// True when the modulus is a power of the generator in the remainders of all small primes.
fn is_roca(modulus: &BoxedUint) -> bool {
    let bytes = modulus.to_be_bytes();
    let is_power = |prime: &u64| {
        let step = |power: u64| power.saturating_mul(ROCA_GENERATOR).checked_rem(*prime);
        let remainder = remainder(&bytes, *prime);
        let mut powers =
            std::iter::successors(Some(1), |power| step(*power)).take(usize::try_from(*prime).unwrap_or(0));
        powers.any(|power| power == remainder)
    };
    SMALL_PRIMES.iter().take_while(|prime| **prime <= ROCA_LAST).all(is_power)
}

/// True when a few steps of Fermat's method find two factors: a² - n is a square for an a just above the root of n.
fn has_close_primes(modulus: &BoxedUint) -> bool {
    // Room for the square of a number a little larger than the root.
    let wide = modulus.bits_precision().saturating_add(64);
    let Ok(modulus) = BoxedUint::from_be_slice(&modulus.to_be_bytes(), wide) else { return false };
    let one = BoxedUint::one_with_precision(wide);
    let mut root = modulus.floor_sqrt_vartime();
    for _ in 0..FERMAT_STEPS {
        root = root.wrapping_add(&one);
        let rest = root.wrapping_mul(&root).wrapping_sub(&modulus);
        // Squares leave 0, 1, 4 or 9 when they are divided by 16: most need no root.
        let low = rest.to_be_bytes().last().map_or(0, |byte| byte % 16);
        if matches!(low, 0 | 1 | 4 | 9) {
            let side = rest.floor_sqrt_vartime();
            if side.wrapping_mul(&side) == rest {
                return true;
            }
        }
    }
    false
}
