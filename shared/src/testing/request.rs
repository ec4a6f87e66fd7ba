//! Certification requests that say anything at all (RFC 2986), for tests of what is read of them.

use der::{
    Encode,
    asn1::{Any, BitString, ObjectIdentifier, OctetString, SetOfVec},
};
use p256::ecdsa::{DerSignature, signature::Signer};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{
    attr::Attribute,
    ext::{
        Extension,
        pkix::{SubjectAltName, name::GeneralName},
    },
    name::Name,
    request::{CertReq, CertReqInfo, Version},
};

use super::{TestKey, general_name};
use crate::public_key::ECDSA_WITH_SHA256;

/// What a request says beside its key.
#[derive(Clone, Debug, Default)]
pub struct TestRequest {
    /// Whose it says it is.
    pub subject: Name,
    /// The subject alternative names.
    pub names: Vec<GeneralName>,
    /// What else is in its extensionRequest (RFC 2985 §5.4.2).
    pub extensions: Vec<Extension>,
    /// What is beside that.
    pub attributes: Vec<Attribute>,
}

impl TestRequest {
    /// A plain request for these names.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        Self { names: names.iter().map(|name| general_name(name)).collect(), ..Self::default() }
    }

    /// The same with this subject, as RFC 4514 writes it; or with none.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        let subject = if subject.is_empty() { Name::default() } else { subject.parse().unwrap() };
        Self { subject, ..self }
    }

    /// The same with this name, too.
    #[must_use]
    pub fn name(mut self, name: GeneralName) -> Self {
        self.names.push(name);
        self
    }

    /// The same, asking for this extension.
    #[must_use]
    pub fn extension(mut self, oid: ObjectIdentifier, critical: bool, value: &impl Encode) -> Self {
        let extn_value = OctetString::new(value.to_der().unwrap()).unwrap();
        self.extensions.push(Extension { extn_id: oid, critical, extn_value });
        self
    }

    /// The same with this attribute.
    #[must_use]
    pub fn attribute(mut self, oid: ObjectIdentifier, value: &impl Encode) -> Self {
        let value: Any = der::Decode::from_der(&value.to_der().unwrap()).unwrap();
        self.attributes.push(Attribute { oid, values: SetOfVec::try_from(vec![value]).unwrap() });
        self
    }

    /// The request of this key, DER.
    #[must_use]
    pub fn sign(&self, key: &TestKey) -> Vec<u8> {
        self.sign_for(key.public_key().spki().clone(), key)
    }

    /// The request for one key, signed by another one, DER.
    #[must_use]
    pub fn sign_for(&self, public_key: SubjectPublicKeyInfoOwned, key: &TestKey) -> Vec<u8> {
        let mut extensions = Vec::new();
        if !self.names.is_empty() {
            let names = SubjectAltName(self.names.clone()).to_der().unwrap();
            extensions.push(Extension {
                extn_id: const_oid::db::rfc5912::ID_CE_SUBJECT_ALT_NAME,
                critical: false,
                extn_value: OctetString::new(names).unwrap(),
            });
        }
        extensions.extend(self.extensions.clone());
        let asked = self.clone().attribute(const_oid::db::rfc5912::ID_EXTENSION_REQ, &extensions);
        let attributes = if extensions.is_empty() { self.attributes.clone() } else { asked.attributes };
        let info = CertReqInfo {
            version: Version::V1,
            subject: self.subject.clone(),
            public_key,
            attributes: SetOfVec::try_from(attributes).unwrap(),
        };
        let signature: DerSignature = key.0.sign(&info.to_der().unwrap());
        let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None };
        CertReq { info, algorithm, signature: BitString::from_bytes(signature.as_bytes()).unwrap() }.to_der().unwrap()
    }

    /// A request whose CertificationRequestInfo has this version, this subject and these attributes, each DER as given.
    #[must_use]
    pub fn sign_raw(version: &[u8], subject: &[u8], attributes: &[u8], key: &TestKey) -> Vec<u8> {
        let spki = key.public_key().spki().to_der().unwrap();
        let info = tlv(0x30, &[version, subject, &spki, attributes]);
        let signature: DerSignature = key.0.sign(&info);
        let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None }.to_der().unwrap();
        let signature = BitString::from_bytes(signature.as_bytes()).unwrap().to_der().unwrap();
        tlv(0x30, &[&info, &algorithm, &signature])
    }
}

/// One element of DER with this content.
#[must_use]
pub fn tlv(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = content.len();
    let mut der = match length {
        0..=0x7f => vec![tag, u8::try_from(length).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => [&[tag, 0x82], u16::try_from(length).unwrap().to_be_bytes().as_slice()].concat(),
    };
    der.extend(content);
    der
}
