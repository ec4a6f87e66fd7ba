//! What rustls calls a provider: the cipher suites, the key exchange and the generator of one deployment.

use std::{fmt, sync::Arc};

use rustls::{
    CipherSuite, Error, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
    crypto::{
        CipherSuiteCommon, CryptoProvider, GetRandomFailed, KeyExchangeAlgorithm, KeyProvider, SecureRandom,
        WebPkiSupportedAlgorithms, tls12::PrfUsingHmac, tls13::HkdfUsingHmac,
    },
    pki_types::PrivateKeyDer,
    sign::SigningKey,
};

use super::{cipher::Aes128GcmRecords, hash::Sha256Hash};

/// Where random bytes come from: a port, because only the platform knows a generator. It is the key exchange on P-256 too,
/// which needs nothing else.
pub struct Source(pub fn(&mut [u8]) -> Result<(), GetRandomFailed>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(…)")
    }
}

impl SecureRandom for Source {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        (self.0)(bytes)
    }
}

/// The provider that draws from this source.
#[must_use]
pub fn provider(source: &'static Source) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            SupportedCipherSuite::Tls13(&AES_128_GCM_SHA256),
            SupportedCipherSuite::Tls12(&ECDHE_ECDSA),
            SupportedCipherSuite::Tls12(&ECDHE_RSA),
        ],
        kx_groups: vec![source],
        // Certificates are never verified by rustls: see [`super::verifier`].
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        secure_random: source,
        key_provider: &NoKeys,
    })
}

/// The signature schemes that [`super::verifier`] checks, best first.
pub const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

static AES_128_GCM_SHA256: Tls13CipherSuite = Tls13CipherSuite {
    common: common(CipherSuite::TLS13_AES_128_GCM_SHA256),
    hkdf_provider: &HkdfUsingHmac(&Sha256Hash),
    aead_alg: &Aes128GcmRecords,
    quic: None,
};

static ECDHE_ECDSA: Tls12CipherSuite = Tls12CipherSuite {
    common: common(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    prf_provider: &PrfUsingHmac(&Sha256Hash),
    kx: KeyExchangeAlgorithm::ECDHE,
    sign: &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384, SignatureScheme::ED25519],
    aead_alg: &Aes128GcmRecords,
};

static ECDHE_RSA: Tls12CipherSuite = Tls12CipherSuite {
    common: common(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    prf_provider: &PrfUsingHmac(&Sha256Hash),
    kx: KeyExchangeAlgorithm::ECDHE,
    sign: &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ],
    aead_alg: &Aes128GcmRecords,
};

const fn common(suite: CipherSuite) -> CipherSuiteCommon {
    // Records under one key (RFC 8446 §5.5); a probe needs a handful.
    CipherSuiteCommon { suite, hash_provider: &Sha256Hash, confidentiality_limit: 1 << 24 }
}

/// A probe authenticates itself to nobody.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        Err(Error::General("probes have no keys".to_owned()))
    }
}
