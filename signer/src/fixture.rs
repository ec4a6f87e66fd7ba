//! What the tests of several rooms need: a CA in software, an account, its requests.

use der::Decode;
use p256::{
    ecdsa::{DerSignature, Signature, SigningKey, signature::Signer},
    pkcs8::DecodePrivateKey,
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use shared::{
    base64url,
    chain::IssuerChain,
    csr::Csr,
    identifier::Identifier,
    jwk::Jwk,
    jws::Flattened,
    signing::{Grant, IssueRequest, Priority, ProvenIdentifier},
    timestamp::Timestamp,
};

use crate::{
    admit::{Admitted, Evidence},
    clock,
    issuer::Issuer,
    journal::Intent,
    policy, random,
};

/// The edge of the tests' policy.
pub(crate) const EDGE: &str = "edge.colophon.internal";
/// An order of that edge.
pub(crate) const ORDER: &str = "https://ca.test/acme/order/ref/1";

/// A self-signed CA with its key in memory.
pub(crate) struct Ca {
    pub(crate) chain: IssuerChain,
    key: SigningKey,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pair = KeyPair::generate().unwrap();
        let chain = IssuerChain::from_pem(&parameters.self_signed(&pair).unwrap().pem()).unwrap();
        Self { chain, key: SigningKey::from_pkcs8_der(&pair.serialize_der()).unwrap() }
    }

    pub(crate) fn sign(&self, tbs: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(tbs);
        signature.as_bytes().to_vec()
    }
}

/// A CSR for these names under a fresh key, DER.
pub(crate) fn csr_der(names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

pub(crate) fn csr(names: &[&str]) -> Csr {
    let der = csr_der(names);
    assert!(x509_cert::request::CertReq::from_der(&der).is_ok());
    Csr::parse(&der).unwrap()
}

/// An account's key.
pub(crate) fn account(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

pub(crate) fn jwk(account: &SigningKey) -> Jwk {
    let point = account.verifying_key().to_sec1_point(false);
    let (x, y) = (base64url::encode(point.x().unwrap()), base64url::encode(point.y().unwrap()));
    serde_json::from_value(json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})).unwrap()
}

pub(crate) fn header(order: &str) -> Value {
    json!({"alg": "ES256", "kid": "https://ca.test/acme/account/1", "nonce": "n", "url": format!("{order}/finalize")})
}

pub(crate) fn sign(account: &SigningKey, header: &Value, payload: &Value) -> Flattened {
    let protected = base64url::encode(header.to_string().as_bytes());
    let payload = base64url::encode(payload.to_string().as_bytes());
    let signature: Signature = account.sign(format!("{protected}.{payload}").as_bytes());
    Flattened { protected, payload, signature: base64url::encode(&signature.to_bytes()) }
}

/// A request that the tests' policy gives.
pub(crate) fn request(names: &[&str], csr: &[u8]) -> IssueRequest {
    let account = account(1);
    let now = clock::now();
    let proven = |name: &&str| ProvenIdentifier {
        identifier: Identifier::Dns(name.parse().unwrap()),
        method: "dns-01".into(),
        validated: now,
    };
    IssueRequest {
        order: ORDER.into(),
        finalize: sign(&account, &header(ORDER), &json!({"csr": base64url::encode(csr)})),
        account_key: jwk(&account),
        grant: Grant::Open,
        identifiers: names.iter().map(proven).collect(),
        profile: "server".parse().unwrap(),
        not_before: None,
        not_after: None,
        priority: Priority::New,
        deadline: now.plus(600),
    }
}

pub(crate) fn admitted(request: IssueRequest, now: Timestamp) -> Admitted {
    let policy = policy::tests::policy();
    Evidence::verify(&policy, EDGE, request).unwrap().admit(&policy, EDGE, now, false).unwrap()
}

/// An intent of this CA, and one for a given CSR.
pub(crate) fn intent(ca: &Ca) -> Intent {
    let der = csr_der(&["host.a.test"]);
    let issuer = Issuer::new("a1".into(), ca.chain.clone(), Vec::new());
    let now = clock::now();
    issuer.prepare(&admitted(request(&["host.a.test"], &der), now), random::serial_number().unwrap(), now).unwrap()
}

pub(crate) fn intent_for(ca: &Ca, csr: &Csr) -> Intent {
    let issuer = Issuer::new("a1".into(), ca.chain.clone(), Vec::new());
    let now = clock::now();
    let mut admitted = admitted(request(&["host.a.test"], &csr_der(&["host.a.test"])), now);
    admitted.csr = csr.clone();
    issuer.prepare(&admitted, random::serial_number().unwrap(), now).unwrap()
}
