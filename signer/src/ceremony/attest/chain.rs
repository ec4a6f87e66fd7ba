//! The certificates of an attestation: that of the slot, that of the device (slot f9), those of the maker; verified up to a root. Their
//! serial numbers are random bytes, and may be negative.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use der::{
    Decode, Encode,
    asn1::ObjectIdentifier,
    oid::{AssociatedOid, db::rfc4519::COMMON_NAME},
};
use sha2::{Digest, Sha256};
use shared::public_key::PublicKey;
use x509_cert::{
    Certificate,
    ext::pkix::{BasicConstraints, KeyUsage},
    name::Name,
};

use crate::ceremony::root::Signed;

/// How many certificates may stand between a device and its maker's root.
const DEEPEST: usize = 6;

/// A certificate of an attestation.
#[derive(Clone, Debug)]
pub(super) struct AttestationCertificate {
    read: Certificate,
    signed: Signed,
    key: PublicKey,
}

impl AttestationCertificate {
    /// Reads the one certificate of a file, PEM or DER.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut all = Self::read_all(path)?;
        ensure!(all.len() == 1, "{}: one certificate is wanted, and there are {}", path.display(), all.len());
        all.pop().context("there is none")
    }

    /// Reads every certificate of a file, PEM or DER.
    pub(super) fn read_all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let describe = || format!("the certificates in {}", path.display());
        let bytes = std::fs::read(path).with_context(describe)?;
        let ders = shared::pem::read(&bytes, shared::pem::Label::Certificate).with_context(describe)?;
        let parse = |(position, der): (usize, &Vec<u8>)| {
            Self::from_der(der)
                .with_context(|| format!("certificate {} of {}", position.saturating_add(1), path.display()))
        };
        ders.iter().enumerate().map(parse).collect()
    }

    /// Reads DER.
    pub(super) fn from_der(der: &[u8]) -> anyhow::Result<Self> {
        let read = Certificate::from_der(der).context("not a certificate in DER")?;
        let tbs = read.tbs_certificate();
        ensure!(tbs.signature() == read.signature_algorithm(), "two signature algorithms are named");
        let key = PublicKey::from_spki(tbs.subject_public_key_info().clone())?;
        Ok(Self { signed: Signed::parse(der)?, key, read })
    }

    /// The certified key.
    pub(super) const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The slot that the subject names: the last word of `YubiKey PIV Attestation 9a`.
    pub(super) fn slot(&self) -> Option<String> {
        let subject = self.read.tbs_certificate().subject();
        let common = subject.iter().find(|attribute| attribute.oid == COMMON_NAME)?;
        let text = std::str::from_utf8(common.value.value()).ok()?;
        let slot = text.strip_prefix("YubiKey PIV Attestation ")?;
        (slot.len() == 2 && slot.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| slot.to_owned())
    }

    /// The value of an extension.
    ///
    /// # Errors
    /// When it stands twice.
    pub(super) fn extension(&self, id: &ObjectIdentifier) -> anyhow::Result<Option<Vec<u8>>> {
        let extensions = self.read.tbs_certificate().extensions().into_iter().flatten();
        let mut found = extensions.filter(|extension| extension.extn_id == *id);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(extension), None) => Ok(Some(extension.extn_value.as_bytes().to_vec())),
            (Some(_), Some(_)) => bail!("the extension {id} stands twice"),
        }
    }

    /// True when it may issue certificates.
    pub(super) fn is_ca(&self) -> bool {
        self.constraints().is_some_and(|constraints| constraints.ca) && self.may_sign_certificates()
    }

    /// True when `issuer` is named as its issuer and has signed it.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        let named = self.read.tbs_certificate().issuer() == issuer.subject();
        named && self.signed.verify(&issuer.key).is_ok()
    }

    /// True when it may stand above this many other CA certificates.
    fn may_be_above(&self, others: usize) -> bool {
        let limit = self.constraints().and_then(|constraints| constraints.path_len_constraint);
        limit.is_none_or(|limit| usize::from(limit) >= others)
    }

    fn constraints(&self) -> Option<BasicConstraints> {
        BasicConstraints::from_der(&self.extension(&BasicConstraints::OID).ok()??).ok()
    }

    /// A certificate that says nothing about its usage may be used for everything.
    fn may_sign_certificates(&self) -> bool {
        match self.extension(&KeyUsage::OID) {
            Ok(None) => true,
            Ok(Some(der)) => KeyUsage::from_der(&der).is_ok_and(|usage| usage.key_cert_sign()),
            Err(_) => false,
        }
    }

    fn subject(&self) -> &Name {
        self.read.tbs_certificate().subject()
    }
}

/// Verifies the slot's certificate under the device's, and that up to one of the roots; gives the root's name. Dates are not looked at: a
/// device has no clock, and its certificates end when their maker's do.
pub(super) fn verify<'a>(
    attestation: &AttestationCertificate,
    device: &AttestationCertificate,
    intermediates: &[AttestationCertificate],
    roots: &'a [AttestationCertificate],
) -> anyhow::Result<&'a Name> {
    // Without this, a key in a slot that issues certificates could attest other keys.
    ensure!(device.is_ca(), "the device's certificate may not issue any: it is not of slot f9");
    ensure!(attestation.is_issued_by(device), "the attestation was not made by the device of the other certificate");
    let mut child = device;
    for depth in 0..DEEPEST {
        ensure!(child.may_be_above(depth), "a certificate of the chain stands above more than it may");
        if let Some(root) = roots.iter().find(|root| child.is_issued_by(root)) {
            ensure!(root.may_be_above(depth.saturating_add(1)), "the root stands above more than it may");
            return Ok(root.subject());
        }
        let above = intermediates.iter().find(|above| above.is_ca() && child.is_issued_by(above));
        child = above.context("the device's certificate does not lead to the root")?;
    }
    bail!("the chain to the root is too long")
}

/// SHA-256 over the SubjectPublicKeyInfo.
pub(super) fn spki_hash(key: &PublicKey) -> anyhow::Result<Sha256> {
    Ok(Sha256::new_with_prefix(key.spki().to_der()?))
}
