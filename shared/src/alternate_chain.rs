//! Alternate chains: other ways up from an issuer, by a cross certificate, for clients whose peers trust another root
//! (RFC 8555 §7.4.2).

use der::Encode;
use x509_cert::Certificate;

use crate::{
    chain::{BadChain, Issuer, check_ca, verify_issued},
    signed_der::Proved,
    timestamp::Timestamp,
};

/// A cross certificate and the CA certificates above it, each verified under the next; the other root may be absent.
#[derive(Clone, Debug)]
pub struct AlternateChain {
    cross: Issuer,
    above: Vec<Above>,
}

/// A CA certificate of somebody else's, so of any key that signatures are verified with.
#[derive(Clone, Debug)]
struct Above {
    certificate: Certificate,
    der: Vec<u8>,
}

impl AlternateChain {
    /// Reads PEM certificates: the cross certificate first, each issued by the next; the other root may be last or absent.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BadChain`].
    pub fn from_pem(pem: &str) -> Result<Self, BadChain> {
        let certificates = Certificate::load_pem_chain(pem.as_bytes()).map_err(|_| BadChain::NotCertificates)?;
        let mut certificates = certificates.into_iter();
        let cross = Issuer::checked(certificates.next().ok_or(BadChain::NotCertificates)?)?;
        if is_self_issued(cross.certificate()) {
            return Err(BadChain::NoCross);
        }
        let above = certificates.map(Above::checked).collect::<Result<Vec<_>, _>>()?;
        let mut child = cross.certificate();
        for Above { certificate, .. } in &above {
            verify_issued(certificate, child, &Proved::default())?;
            child = certificate;
        }
        Ok(Self { cross, above })
    }

    /// True when what this issuer signed verifies under the cross certificate as well: subject, key and subject key
    /// identifier are the same.
    #[must_use]
    pub fn is_for(&self, issuer: &Issuer) -> bool {
        self.cross.subject() == issuer.subject()
            && self.cross.key() == issuer.key()
            && self.cross.key_identifier() == issuer.key_identifier()
    }

    /// True when all of it is valid at `now`.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.cross.check_time(now).is_ok() && self.above.iter().all(|above| above.is_valid_at(now))
    }

    /// DER: what clients get behind a leaf, all but a self-issued root (RFC 8555 §9.1).
    pub fn sent(&self) -> impl Iterator<Item = &[u8]> {
        let above = self.above.iter().filter(|above| !is_self_issued(&above.certificate));
        std::iter::once(self.cross.der()).chain(above.map(|above| above.der.as_slice()))
    }
}

impl Above {
    fn checked(certificate: Certificate) -> Result<Self, BadChain> {
        check_ca(&certificate)?;
        let der = certificate.to_der().map_err(|_| BadChain::NotCertificates)?;
        Ok(Self { certificate, der })
    }

    fn is_valid_at(&self, now: Timestamp) -> bool {
        let validity = self.certificate.tbs_certificate().validity();
        Timestamp::from_x509(&validity.not_before) <= now && now <= Timestamp::from_x509(&validity.not_after)
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate().issuer() == certificate.tbs_certificate().subject()
}
