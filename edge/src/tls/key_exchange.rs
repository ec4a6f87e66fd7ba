//! Ephemeral Diffie-Hellman on P-256 (RFC 8446 §4.2.8.2, RFC 8422 §5.10).

use p256::{PublicKey, SecretKey, ecdh::diffie_hellman};
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup},
};

use super::provider::Source;

/// The first byte of an uncompressed point, the only form that TLS knows.
const UNCOMPRESSED: u8 = 4;

/// So often 32 random bytes may be no scalar of the curve; each time the odds are 2^-32.
const TRIES: usize = 4;

impl SupportedKxGroup for Source {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        for _ in 0..TRIES {
            let mut bytes = [0; 32];
            self.fill(&mut bytes)?;
            if let Ok(secret) = SecretKey::from_slice(&bytes) {
                let public = secret.public_key().to_sec1_bytes();
                return Ok(Box::new(Started { secret, public }));
            }
        }
        Err(GetRandomFailed.into())
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

/// Our half of one exchange.
struct Started {
    secret: SecretKey,
    public: Box<[u8]>,
}

impl ActiveKeyExchange for Started {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = Some(peer).filter(|point| point.first() == Some(&UNCOMPRESSED));
        let peer =
            peer.and_then(|point| PublicKey::from_sec1_bytes(point).ok()).ok_or(PeerMisbehaved::InvalidKeyShare)?;
        let secret = diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
        Ok(SharedSecret::from(secret.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}
