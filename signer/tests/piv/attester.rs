//! What a card says about keys that were made in it, in certificates of its key in slot f9 under a maker that never was. Source:
//! Yubico's page on PIV attestation.

use der::Encode;
use p256::{ecdsa::SigningKey, pkcs8::EncodePrivateKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType, IsCa, KeyPair,
};

/// The slot of the key that attests.
pub(crate) const SLOT: u8 = 0xf9;

/// Yubico's arc.
const ARC: [u64; 8] = [1, 3, 6, 1, 4, 1, 41482, 3];
/// USB-C keychain.
const FORM_FACTOR: u8 = 3;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// The attestation key of a card.
pub(crate) struct Attester {
    maker: Ca,
    device: Ca,
}

/// What is attested beside the key.
pub(crate) struct Claims {
    pub(crate) slot: u8,
    pub(crate) firmware: [u8; 3],
    pub(crate) serial: u32,
    /// PIN policy, touch policy.
    pub(crate) policy: [u8; 2],
}

impl Attester {
    pub(crate) fn new() -> Self {
        let ca = |name, constraints| {
            let mut parameters = parameters(name);
            parameters.is_ca = IsCa::Ca(constraints);
            (parameters, KeyPair::generate().unwrap())
        };
        let (parameters, key) = ca("Maker Root", BasicConstraints::Unconstrained);
        let maker = Ca::self_signed(parameters, key).unwrap();
        let (parameters, key) = ca("Yubico PIV Attestation", BasicConstraints::Constrained(0));
        let device = Ca::signed_by(parameters, key, &maker).unwrap();
        Self { maker, device }
    }

    /// The maker's root, PEM.
    pub(crate) fn root(&self) -> String {
        self.maker.pem()
    }

    /// The certificate of slot f9, DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.device.der().to_vec()
    }

    /// Attests a key. DER.
    pub(crate) fn attest(&self, key: &SigningKey, claims: &Claims) -> Vec<u8> {
        let mut parameters = parameters(&format!("YubiKey PIV Attestation {:02x}", claims.slot));
        let values = [
            (3, claims.firmware.to_vec()),
            (7, claims.serial.to_der().unwrap()),
            (8, claims.policy.to_vec()),
            (9, vec![FORM_FACTOR]),
        ];
        parameters.custom_extensions = values
            .into_iter()
            .map(|(last, value)| CustomExtension::from_oid_content(&[&ARC[..], &[last]].concat(), value))
            .collect();
        let key = KeyPair::try_from(key.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        parameters.signed_by(&key, &self.device).unwrap().der().to_vec()
    }
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
