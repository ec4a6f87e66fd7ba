//! Software stand-ins for tests: a CA whose keys are numbers, and clients that sign. The same interfaces as the real parts,
//! deterministic, and never in a release.

mod request;

use std::collections::BTreeSet;

use der::{Decode, Encode, asn1::OctetString, pem::LineEnding};
use p256::ecdsa::{DerSignature, Signature, SigningKey, signature::Signer};
use serde_json::{Value, json};
use spki::{EncodePublicKey, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::{
    TbsCertificate,
    builder::{Builder, CertificateBuilder, RequestBuilder, profile::BuilderProfile},
    ext::{
        Extension, ToExtension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
    name::Name,
    time::Validity,
};

use crate::{
    base64url,
    certificate::Content,
    chain::{Issuer, IssuerChain},
    identifier::Identifier,
    jwk::Jwk,
    profile::{Profile, ProfileConfig, Revocation, Usage},
    public_key::PublicKey,
    serial::SerialNumber,
    timestamp::Timestamp,
};

pub use self::request::{TestRequest, tlv};

/// A root and one issuer under it, valid from 2020 through 2049.
#[derive(Debug)]
pub struct TestCa {
    /// The root.
    pub root: Issuer,
    /// The root in PEM.
    pub root_pem: String,
    /// The issuer, with the root above it.
    pub chain: IssuerChain,
    key: SigningKey,
    seed: u8,
}

/// A client's key.
#[derive(Debug)]
pub struct TestKey(SigningKey);

impl TestCa {
    /// A CA of its own for each seed.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        let (root_key, key) = (signing_key(seed, 1), signing_key(seed, 2));
        let root_name: Name = format!("CN=Test Root {seed}").parse().unwrap();
        let name: Name = format!("CN=Test Issuing {seed}").parse().unwrap();
        let root = ca_certificate(&root_name, &root_key, &root_name, &root_key, 1, None);
        let issuer = ca_certificate(&root_name, &root_key, &name, &key, 2, Some(0));
        let root_pem = der::pem::encode_string("CERTIFICATE", LineEnding::LF, &root).unwrap();
        let chain = IssuerChain::from_ders([issuer.as_slice(), root.as_slice()]).unwrap();
        Self { root: Issuer::from_der(&root).unwrap(), root_pem, chain, key, seed }
    }

    /// A cross certificate in PEM: this CA's issuer, as the root of another CA certifies it.
    #[must_use]
    pub fn cross_certificate(&self, other: &Self) -> String {
        let root_key = signing_key(other.seed, 1);
        let subject = self.chain.issuer().subject();
        let der = ca_certificate(other.root.subject(), &root_key, subject, &self.key, 3, Some(0));
        der::pem::encode_string("CERTIFICATE", LineEnding::LF, &der).unwrap()
    }

    /// Signs with the issuer's key: a certificate in DER.
    #[must_use]
    pub fn issue(&self, content: &Content<'_>) -> Vec<u8> {
        let tbs = content.tbs(self.chain.issuer()).unwrap();
        let signature = self.sign(tbs.as_bytes());
        tbs.assemble(&signature).unwrap()
    }

    /// The issuer's signature, as a token would give it: ECDSA with SHA-256 in DER.
    #[must_use]
    pub fn sign(&self, tbs: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(tbs);
        signature.as_bytes().to_vec()
    }
}

impl TestKey {
    /// A key of its own for each seed.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self(signing_key(seed, 3))
    }

    /// As an account key.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        serde_json::from_value(self.jwk_json()).unwrap()
    }

    /// As a subject's key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::parse(self.0.verifying_key().to_public_key_der().unwrap().as_bytes()).unwrap()
    }

    /// A flattened JWS of these header members and this payload; `alg` is added.
    #[must_use]
    pub fn sign_jws(&self, header: &Value, payload: &[u8]) -> Value {
        let mut header = header.clone();
        header["alg"] = json!("ES256");
        let protected = base64url::encode(header.to_string().as_bytes());
        let payload = base64url::encode(payload);
        let signature: Signature = self.0.sign(format!("{protected}.{payload}").as_bytes());
        json!({"protected": protected, "payload": payload, "signature": base64url::encode(&signature.to_bytes())})
    }

    /// The same with the key itself in the header.
    #[must_use]
    pub fn sign_jws_with_jwk(&self, header: &Value, payload: &[u8]) -> Value {
        let mut header = header.clone();
        header["jwk"] = self.jwk_json();
        self.sign_jws(&header, payload)
    }

    /// A request in DER for these names, with an empty subject or this one.
    #[must_use]
    pub fn csr(&self, names: &[&str], subject: &str) -> Vec<u8> {
        self.csr_for(names, subject, &[])
    }

    /// The same, asking for these extended key usages.
    #[must_use]
    pub fn csr_for(&self, names: &[&str], subject: &str, usages: &[Usage]) -> Vec<u8> {
        let subject = if subject.is_empty() { Name::default() } else { subject.parse().unwrap() };
        let mut builder = RequestBuilder::new(subject).unwrap();
        if !names.is_empty() {
            let names = names.iter().map(|name| general_name(name));
            builder.add_extension(&SubjectAltName(names.collect())).unwrap();
        }
        if !usages.is_empty() {
            builder.add_extension(&ExtendedKeyUsage(usages.iter().map(|usage| usage.oid()).collect())).unwrap();
        }
        builder.build::<_, DerSignature>(&self.0).unwrap().to_der().unwrap()
    }

    fn jwk_json(&self) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let coordinate =
            |bytes: Option<&_>| base64url::encode(bytes.map(|bytes: &p256::FieldBytes| bytes.as_slice()).unwrap());
        json!({"kty": "EC", "crv": "P-256", "x": coordinate(point.x()), "y": coordinate(point.y())})
    }
}

/// The profile of server certificates for a day.
#[must_use]
pub fn server_profile() -> Profile {
    let config = ProfileConfig {
        name: "server".parse().unwrap(),
        validity_seconds: 86_400,
        backdate_seconds: 60,
        extended_key_usage: vec![Usage::ServerAuth],
        revocation: Revocation::None,
    };
    config.try_into().unwrap()
}

/// Canonical identifiers of DNS names.
#[must_use]
pub fn dns_names(names: &[&str]) -> BTreeSet<Identifier> {
    names.iter().map(|name| Identifier::Dns(name.parse().unwrap())).collect()
}

/// A name of a request: an address, or whatever else as a DNS name.
fn general_name(name: &str) -> GeneralName {
    match name.parse() {
        Ok(std::net::IpAddr::V4(address)) => GeneralName::IpAddress(OctetString::new(address.octets()).unwrap()),
        Ok(std::net::IpAddr::V6(address)) => GeneralName::IpAddress(OctetString::new(address.octets()).unwrap()),
        Err(_) => GeneralName::DnsName(der::asn1::Ia5String::new(name).unwrap()),
    }
}

fn signing_key(seed: u8, role: u8) -> SigningKey {
    let mut scalar = [0x11; 32];
    scalar[30] = seed;
    scalar[31] = role;
    SigningKey::from_slice(&scalar).unwrap()
}

struct Ca {
    issuer: Name,
    issuer_key: PublicKey,
    subject: Name,
    path_length: Option<u8>,
}

impl BuilderProfile for Ca {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        subject_key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject_key = PublicKey::parse(&subject_key.to_der().unwrap()).unwrap();
        let identifier = |key: &PublicKey| OctetString::new(key.key_identifier()).unwrap();
        let authority =
            AuthorityKeyIdentifier { key_identifier: Some(identifier(&self.issuer_key)), ..Default::default() };
        let subject = tbs.subject();
        Ok(vec![
            BasicConstraints { ca: true, path_len_constraint: self.path_length }.to_extension(subject, &[])?,
            KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign).to_extension(subject, &[])?,
            SubjectKeyIdentifier(identifier(&subject_key)).to_extension(subject, &[])?,
            authority.to_extension(subject, &[])?,
        ])
    }
}

fn ca_certificate(
    issuer: &Name,
    issuer_key: &SigningKey,
    subject: &Name,
    subject_key: &SigningKey,
    serial: u8,
    path_length: Option<u8>,
) -> Vec<u8> {
    let spki = |key: &SigningKey| key.verifying_key().to_public_key_der().unwrap();
    let profile = Ca {
        issuer: issuer.clone(),
        issuer_key: PublicKey::parse(spki(issuer_key).as_bytes()).unwrap(),
        subject: subject.clone(),
        path_length,
    };
    let at = |text: &str| text.parse::<Timestamp>().unwrap().to_x509().unwrap();
    let validity = Validity::new(at("2020-01-01T00:00:00Z"), at("2049-12-31T23:59:59Z"));
    let serial = SerialNumber::from_random([serial; 16]).to_x509().unwrap();
    let subject_spki = SubjectPublicKeyInfoOwned::from_der(spki(subject_key).as_bytes()).unwrap();
    let builder = CertificateBuilder::new(profile, serial, validity, subject_spki).unwrap();
    builder.build::<_, DerSignature>(issuer_key).unwrap().to_der().unwrap()
}
