//! Randomness from the operating system: with `clock.rs` the only files that read the world on their own.

use p256::ecdsa::SigningKey;
use shared::serial::SerialNumber;

/// The operating system gave no randomness. Nothing can be signed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub(crate) struct NoRandomness;

/// `N` random bytes.
#[allow(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A fresh serial number: 127 random bits (RFC 5280 §4.1.2.2).
pub(crate) fn serial_number() -> Result<SerialNumber, NoRandomness> {
    bytes().map(SerialNumber::from_random)
}

/// A fresh P-256 key in software, for the offline root alone.
pub(crate) fn signing_key() -> Result<SigningKey, NoRandomness> {
    // 32 random bytes are a valid scalar but for one case in 2^32.
    for _ in 0..8 {
        let scalar = zeroize::Zeroizing::new(bytes::<32>()?);
        if let Ok(key) = SigningKey::from_slice(scalar.as_slice()) {
            return Ok(key);
        }
    }
    Err(NoRandomness)
}
