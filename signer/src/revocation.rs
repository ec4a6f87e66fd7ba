//! What a request must show before a certificate is recorded as revoked, in this order. [`Plea`] says that somebody has signed
//! for the revocation of a certificate; [`Granted`] says that the certificate is the journal's and that the key may ask.
//!
//! By the right of an account the signer takes the edge's word. It cannot look: accounts and authorizations live at the edge,
//! and after a key rollover (RFC 8555 §7.3.5) an account's key is not the one that the certificate was issued to. An edge that
//! lies can so revoke what it should not. The harm is bounded: it is believed about its own orders alone, each revocation is in the
//! journal with the client's key, the right and the edge, and none ever makes a certificate or spends a signature.

use sha2::{Digest, Sha256};
use shared::{
    base64url::Base64Url,
    jwk::Jwk,
    jws::{KeyReference, Unverified, Verified},
    revocation::Revocation,
    serial::SerialNumber,
    signing::{Refusal, Refused, RevokeRequest, Right},
    timestamp::Timestamp,
};

use crate::{
    admit::{refused, speaks_for},
    journal::{RevokedCertificate, Signed},
    policy::Policy,
};

/// A client's own request for a revocation: its signature is good, and it is for this deployment. Nobody has looked for the
/// certificate yet.
#[derive(Debug)]
pub(crate) struct Plea {
    request: Verified,
    key: Jwk,
    right: Right,
    revocation: Revocation,
}

/// A revocation that may be recorded. Made by [`Plea::grant`] and [`disown`](crate::disown::disown), and by nothing else.
#[derive(Debug)]
pub(crate) struct Granted {
    /// What the journal will say.
    pub(crate) record: RevokedCertificate,
    /// The certificate's last valid second.
    pub(crate) not_after: Timestamp,
}

impl Plea {
    /// Checks what the client has signed.
    pub(crate) fn verify(policy: &Policy, edge: &str, asked: RevokeRequest) -> Result<Self, Refused> {
        let RevokeRequest { request, key, right } = asked;
        // 1. The key that is named has signed it.
        let evidence = |error: shared::jws::BadJws| refused(Refusal::BadEvidence, error.to_string());
        let request = Unverified::from_flattened(request).map_err(evidence)?.verify(&key).map_err(evidence)?;
        // 2. It asks for a revocation, for a reason that a certificate of ours can have.
        let revocation = Revocation::parse(request.payload());
        let revocation = revocation.map_err(|error| refused(Refusal::Malformed, error.to_string()))?;
        // 3. It was sent to a deployment that the edge speaks for.
        if speaks_for(policy, edge, &request.header().url).is_none() {
            return Err(refused(Refusal::UnknownEdge, "the edge does not speak for the URL of the revocation"));
        }
        Ok(Self { request, key, right, revocation })
    }

    /// The certificate's serial number, by which the journal is asked.
    pub(crate) const fn serial(&self) -> SerialNumber {
        self.revocation.leaf.serial
    }

    /// Checks it against what the journal says of this serial number.
    pub(crate) fn grant(self, policy: &Policy, edge: &str, signed: Signed) -> Result<Granted, Refused> {
        let Self { request, key, right, revocation } = self;
        let serial = revocation.leaf.serial;
        // 4. The certificate is the journal's, to the last byte.
        if signed.chain.first().is_none_or(|leaf| leaf.0 != revocation.certificate) {
            let detail = format!("the certificate {serial} of the journal is another one");
            return Err(refused(Refusal::UnknownCertificate, detail));
        }
        // 5. The key may ask. An account's right is the edge's word, see above.
        let evidence = |detail: &str| refused(Refusal::BadEvidence, format!("the certificate {serial}: {detail}"));
        match (right, &request.header().key) {
            (Right::CertificateKey, KeyReference::Jwk(jwk)) => {
                if **jwk != key || !key.is_same_key(&revocation.leaf.public_key) {
                    return Err(evidence("the key that asks is not the certificate's"));
                }
            }
            (Right::Account | Right::Authorizations, KeyReference::Kid(_)) => {}
            (Right::CertificateKey, KeyReference::Kid(_)) => {
                return Err(evidence("asked for by the certificate's key, with a kid"));
            }
            (Right::Account | Right::Authorizations, KeyReference::Jwk(_)) => {
                return Err(evidence("asked for by an account, with a jwk"));
            }
        }
        // 6. What an account may is said by the edge that it ordered at. A certificate's key speaks for itself, wherever.
        if right != Right::CertificateKey && speaks_for(policy, edge, &signed.order).is_none() {
            let detail = format!("the certificate {serial} was ordered at another edge");
            return Err(refused(Refusal::UnknownCertificate, detail));
        }
        let record = RevokedCertificate {
            serial,
            reason: revocation.reason,
            right: right.into(),
            order: signed.order,
            key: Some(Base64Url(request.signer().0.to_vec())),
            certificate_sha256: Base64Url(Sha256::digest(&revocation.certificate).to_vec()),
            edge: edge.to_owned(),
        };
        Ok(Granted { record, not_after: revocation.leaf.not_after })
    }
}

impl Granted {
    /// Checks that the certificate still is of use to anybody. Not asked of one that is revoked already.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), Refused> {
        // 7. Its last second is included (RFC 5280 §4.1.2.5).
        if self.not_after < now {
            let detail = format!("the certificate {} has expired", self.record.serial);
            return Err(refused(Refusal::UnknownCertificate, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
