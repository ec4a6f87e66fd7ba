//! ECDSA on P-256 and P-384, verified. Signatures come as r and s; the forms that they have outside are their readers' matter.
//!
//! In the daemon, which verifies several for each certificate, by `ring` (feature `ring`), in a quarter of the time; elsewhere by the
//! crates of the curves, which are what tests compare it with.

use p256::ecdsa as es256;
use p384::ecdsa as es384;

/// True when `signature` is the key's over `message`, hashed with SHA-256.
#[must_use]
pub fn verify_p256(key: &es256::VerifyingKey, message: &[u8], signature: &es256::Signature) -> bool {
    #[cfg(feature = "ring")]
    return by_ring::p256(key, message, signature);
    #[cfg(not(feature = "ring"))]
    by_curve::p256(key, message, signature)
}

/// True when `signature` is the key's over `message`, hashed with SHA-384.
#[must_use]
pub fn verify_p384(key: &es384::VerifyingKey, message: &[u8], signature: &es384::Signature) -> bool {
    #[cfg(feature = "ring")]
    return by_ring::p384(key, message, signature);
    #[cfg(not(feature = "ring"))]
    by_curve::p384(key, message, signature)
}

#[cfg(any(test, not(feature = "ring")))]
mod by_curve {
    use signature::Verifier as _;

    use super::{es256, es384};

    pub(super) fn p256(key: &es256::VerifyingKey, message: &[u8], signature: &es256::Signature) -> bool {
        key.verify(message, signature).is_ok()
    }

    pub(super) fn p384(key: &es384::VerifyingKey, message: &[u8], signature: &es384::Signature) -> bool {
        key.verify(message, signature).is_ok()
    }
}

#[cfg(feature = "ring")]
mod by_ring {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

    use super::{es256, es384};

    pub(super) fn p256(key: &es256::VerifyingKey, message: &[u8], signature: &es256::Signature) -> bool {
        let point = key.to_sec1_point(false);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.as_bytes());
        key.verify(message, &signature.to_bytes()).is_ok()
    }

    pub(super) fn p384(key: &es384::VerifyingKey, message: &[u8], signature: &es384::Signature) -> bool {
        let point = key.to_sec1_point(false);
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point.as_bytes());
        key.verify(message, &signature.to_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use signature::Signer as _;

    use super::*;

    #[test]
    fn all_implementations_find_the_same() {
        let keys = [1_u8, 2].map(|seed| es256::SigningKey::from_slice(&[seed; 32]).unwrap());
        let others = [1_u8, 2].map(|seed| es384::SigningKey::from_slice(&[seed; 48]).unwrap());
        for seed in 0_u8..16 {
            let message = vec![seed; usize::from(seed) * 7];
            let signature: es256::Signature = keys[0].sign(&message);
            // The other s of the same signature is as good (SEC 1 §4.1.4).
            let negated = es256::Signature::from_scalars(*signature.r(), -*signature.s()).unwrap();
            for (key, message, signature, valid) in [
                (&keys[0], message.clone(), signature, true),
                (&keys[0], message.clone(), negated, true),
                (&keys[1], message.clone(), signature, false),
                (&keys[0], [message.as_slice(), &[0]].concat(), signature, false),
                (
                    &keys[0],
                    message.clone(),
                    es256::Signature::from_scalars(*signature.s(), *signature.r()).unwrap(),
                    false,
                ),
            ] {
                assert_eq!(by_curve::p256(key.verifying_key(), &message, &signature), valid);
                assert_eq!(verify_p256(key.verifying_key(), &message, &signature), valid);
            }
            let signature: es384::Signature = others[0].sign(&message);
            for (key, valid) in others.iter().zip([true, false]) {
                assert_eq!(by_curve::p384(key.verifying_key(), &message, &signature), valid);
                assert_eq!(verify_p384(key.verifying_key(), &message, &signature), valid);
            }
        }
    }
}
