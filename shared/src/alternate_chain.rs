//! Alternate chains: other ways up from an issuer, by a cross certificate, for clients whose peers trust another root
//! (RFC 8555 §7.4.2).

use der::Encode;
use x509_cert::Certificate;

use crate::{
    chain::{BadChain, Issuer, certificates, check_ca, verify_issued},
    signed_der::Proved,
    timestamp::Timestamp,
};

/// A cross certificate and the CA certificates above it, each verified under the next; the other root may be absent.
#[derive(Clone, Debug)]
pub struct AlternateChain {
    cross: Issuer,
    sent: Vec<Vec<u8>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl AlternateChain {
    /// Reads PEM certificates: the cross certificate first, each issued by the next; the other root may be last or absent.
    /// Those above the first may have any key that signatures are verified with.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BadChain`].
    pub fn from_pem(pem: &str) -> Result<Self, BadChain> {
        let mut certificates = certificates(pem.as_bytes())?.into_iter();
        let cross = Issuer::checked(certificates.next().ok_or(BadChain::NotCertificates)?)?;
        if is_self_issued(cross.certificate()) {
            return Err(BadChain::NoCross);
        }
        let (mut not_before, mut not_after) = (cross.not_before(), cross.not_after());
        let mut sent = vec![cross.der().to_vec()];
        let mut child = None;
        for parent in certificates {
            check_ca(&parent)?;
            verify_issued(&parent, child.as_ref().unwrap_or_else(|| cross.certificate()), &Proved::default())?;
            let validity = parent.tbs_certificate().validity();
            not_before = not_before.max(Timestamp::from_x509(&validity.not_before));
            not_after = not_after.min(Timestamp::from_x509(&validity.not_after));
            if !is_self_issued(&parent) {
                sent.push(parent.to_der().map_err(|_| BadChain::NotCertificates)?);
            }
            child = Some(parent);
        }
        Ok(Self { cross, sent, not_before, not_after })
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
        self.not_before <= now && now <= self.not_after
    }

    /// DER: what clients get behind a leaf, all but a self-issued root (RFC 8555 §9.1).
    #[must_use]
    pub fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }
}

fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate().issuer() == certificate.tbs_certificate().subject()
}
