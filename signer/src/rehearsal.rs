//! Rehearsals: each certificate is put together in full, under a throwaway key that nobody trusts, and looked at as strangers will
//! see it, before a token spends a signature on it.

use std::{collections::BTreeSet, fmt};

use const_oid::AssociatedOid;
use der::{Decode, Encode};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use shared::{
    certificate::{CannotBuild, ID_CE_NO_REV_AVAIL, TbsDer},
    chain::{Issuer, Leaf},
    identifier::Identifier,
    public_key::{KeyKind, PublicKey},
};
use x509_cert::{
    Certificate, TbsCertificate,
    ext::pkix::{
        AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage,
        KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier,
    },
};

use crate::{
    issuer::{self, NotAsIntended},
    journal::Intent,
    random::NoRandomness,
    token::{
        frame::Kind,
        lint::{self, Lint},
    },
};

/// The throwaway key: made at each start, in memory alone. By `ring`, which signs in a tenth of the time: every certificate waits for it.
pub(crate) struct Rehearsal {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

/// What is wrong with a certificate that nobody has signed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// It cannot be put together.
    #[error("the certificate cannot be put together: {0}")]
    Assembly(#[from] CannotBuild),
    /// It cannot be read, or is written in another way than it is read.
    #[error("the certificate is not DER that reads as it was written")]
    Form,
    /// A worker would refuse it.
    #[error("a worker would refuse it: {0}")]
    Worker(#[from] Lint),
    /// It says something else than its intent.
    #[error(transparent)]
    Intent(#[from] NotAsIntended),
    /// Extensions are missing, stand twice, are critical or not where they should not be, or are none of ours.
    #[error("the set of extensions is not that of a leaf of ours")]
    Extensions,
    /// Other usages than keys of this kind have.
    #[error("the key usage is not that of the key's kind")]
    KeyUsage,
    /// They do not name the subject's key and the issuer's.
    #[error("the key identifiers are not those of the keys")]
    KeyIdentifiers,
    /// Neither empty nor one of the names.
    #[error("the subject is neither empty nor one of the names")]
    Subject,
}

impl Rehearsal {
    /// A fresh throwaway key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .ok()
            .and_then(|document| EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).ok());
        key.map(|key| Self { key, random }).ok_or(NoRandomness)
    }

    /// Puts together the certificate of this intent for this key, and looks at it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(crate) fn of(&self, intent: &Intent, issuer: &Issuer, public_key: &PublicKey) -> Result<(), Flaw> {
        let signature = self.key.sign(&self.random, &intent.tbs.0).map_err(|_| Flaw::Form)?;
        let der = TbsDer::from_journal(intent.tbs.0.clone()).assemble(signature.as_ref())?;
        let certificate = Certificate::from_der(&der).map_err(|_| Flaw::Form)?;
        if certificate.to_der().ok().as_ref() != Some(&der) {
            return Err(Flaw::Form);
        }
        lint::check(&Kind::Certificate, &intent.tbs.0, issuer)?;
        let leaf = Leaf::from_der(&der).map_err(NotAsIntended::from)?;
        issuer::compare(&leaf, intent, public_key)?;
        let tbs = certificate.tbs_certificate();
        check_extensions(tbs, intent)?;
        check_key(tbs, issuer, public_key)?;
        let subject = tbs.subject().to_string();
        let is_name = |name: &Identifier| matches!(name, Identifier::Dns(name) if subject == format!("CN={name}"));
        if subject.is_empty() || intent.names.iter().any(is_name) { Ok(()) } else { Err(Flaw::Subject) }
    }
}

/// Each extension once, critical where RFC 5280 §4.2 says so, and either noRevAvail or where the status is told (RFC 9608 §4).
fn check_extensions(tbs: &TbsCertificate, intent: &Intent) -> Result<(), Flaw> {
    let found: Vec<_> = tbs.extensions().into_iter().flatten().map(|one| (one.extn_id, one.critical)).collect();
    let mut expected = BTreeSet::from([
        (BasicConstraints::OID, true),
        (KeyUsage::OID, true),
        (ExtendedKeyUsage::OID, false),
        (SubjectKeyIdentifier::OID, false),
        (AuthorityKeyIdentifier::OID, false),
        (SubjectAltName::OID, tbs.subject().is_empty()),
    ]);
    if found.contains(&(AuthorityInfoAccessSyntax::OID, false)) {
        expected.insert((AuthorityInfoAccessSyntax::OID, false));
    } else {
        expected.insert((ID_CE_NO_REV_AVAIL, false));
    }
    if intent.crl_shard.is_some() {
        expected.insert((CrlDistributionPoints::OID, false));
    }
    let once = found.len() == expected.len();
    if once && BTreeSet::from_iter(found) == expected { Ok(()) } else { Err(Flaw::Extensions) }
}

fn check_key(tbs: &TbsCertificate, issuer: &Issuer, public_key: &PublicKey) -> Result<(), Flaw> {
    let usages = match public_key.kind() {
        KeyKind::Rsa(_) => KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
        KeyKind::P256 | KeyKind::P384 => KeyUsages::DigitalSignature.into(),
    };
    if !matches!(tbs.get_extension::<KeyUsage>(), Ok(Some((_, KeyUsage(found)))) if found == usages) {
        return Err(Flaw::KeyUsage);
    }
    let (Ok(Some((_, own))), Ok(Some((_, above)))) =
        (tbs.get_extension::<SubjectKeyIdentifier>(), tbs.get_extension::<AuthorityKeyIdentifier>())
    else {
        return Err(Flaw::KeyIdentifiers);
    };
    let names_issuer = above.key_identifier.is_some_and(|id| id.as_bytes() == issuer.key_identifier());
    let names_own = own.0.as_bytes() == public_key.key_identifier().as_slice();
    if names_issuer && names_own { Ok(()) } else { Err(Flaw::KeyIdentifiers) }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rehearsal(..)")
    }
}

#[cfg(test)]
mod tests {
    use shared::{pointers::CrlShard, testing::TestCa};

    use super::*;
    use crate::fixture;

    /// Every place of these bytes has those instead.
    fn patched(tbs: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut patched = tbs.to_vec();
        let places: Vec<_> = tbs.windows(from.len()).enumerate().filter(|(_, bytes)| *bytes == from).collect();
        assert!(!places.is_empty(), "{from:02x?} is in it");
        for (place, _) in places {
            patched[place..place + to.len()].copy_from_slice(to);
        }
        patched
    }

    #[test]
    fn a_flaw_is_found_before_a_token_is_asked() {
        let ca = TestCa::new(1);
        let (key, intent) = (fixture::csr(7).public_key().clone(), fixture::intent(&ca, 7));
        let rehearsal = Rehearsal::new().unwrap();
        let rehearse = |intent: &Intent| rehearsal.of(intent, ca.chain.issuer(), &key);
        assert_eq!(rehearse(&intent), Ok(()));

        let own = key.key_identifier().to_vec();
        let above = ca.chain.issuer().key_identifier().to_vec();
        let flipped = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
        let differs = |what| Flaw::Intent(NotAsIntended::Differs(what));
        let table: [(&str, &[u8], &[u8], Flaw); 7] = [
            ("another usage", &[0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x2b, 6, 1, 5, 5, 7, 3, 3], differs("set of usages")),
            ("another name", b"host.a.test", b"host.b.test", differs("set of names")),
            ("an extension that is not ours", &[0x55, 0x1d, 56], &[0x55, 0x1d, 99], Flaw::Extensions),
            ("signatures of a CA", &[3, 2, 7, 0x80], &[3, 2, 2, 0x04], Flaw::Worker(Lint::NotALeaf)),
            ("agreement of keys", &[3, 2, 7, 0x80], &[3, 2, 3, 0x08], Flaw::KeyUsage),
            ("another own identifier", &own, &flipped(&own), Flaw::KeyIdentifiers),
            ("another identifier above", &above, &flipped(&above), Flaw::KeyIdentifiers),
        ];
        for (what, from, to, flaw) in table {
            let mut changed = intent.clone();
            changed.tbs.0 = patched(&intent.tbs.0, from, to);
            assert_eq!(rehearse(&changed), Err(flaw), "{what}");
        }
        let mut cut = intent.clone();
        cut.tbs.0.pop();
        assert_eq!(rehearse(&cut), Err(Flaw::Assembly(CannotBuild::Encoding)));
        let other = fixture::csr(8).public_key().clone();
        assert_eq!(rehearsal.of(&intent, ca.chain.issuer(), &other), Err(differs("key")));
        let foreign = TestCa::new(2);
        assert_eq!(rehearsal.of(&intent, foreign.chain.issuer(), &key), Err(Flaw::Worker(Lint::Issuer)));
        let pointing = Intent { crl_shard: Some(CrlShard::holding(intent.serial, 8)), ..intent.clone() };
        assert_eq!(rehearse(&pointing), Err(Flaw::Extensions), "it is said to be on a CRL, and names none");
    }
}
