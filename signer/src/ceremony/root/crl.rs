//! The root's CRL (RFC 5280 §5): which of its subordinates are revoked. A full CRL, made a few times a year on the offline machine. Not
//! built by `shared::crl`, whose entries are leaves: what revokes an authority may be its own compromise (cACompromise).

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail, ensure};
use der::{Decode, Encode, asn1::Uint, oid::AssociatedOid};
use p256::ecdsa::VerifyingKey;
use serde::{Deserialize, Serialize};
use shared::{certificate::ecdsa_with_sha256, chain::Issuer, timestamp::Timestamp};
use x509_cert::{
    Version,
    crl::{CertificateList, RevokedCert, TbsCertList},
    ext::{
        Extension,
        pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason},
    },
    time::Time,
};

use super::{
    intent::{authority_key, extension},
    lint::{Lints, Passed, first_of_2050, is_der},
    serial::AnySerial,
    signed::{self, Signed},
};

/// Everything that a CRL says.
#[derive(Debug)]
pub(super) struct CrlIntent<'a> {
    pub(super) root: &'a Issuer,
    /// Larger than that of every CRL before (§5.2.3).
    pub(super) number: u64,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    /// By serial number; with those of the CRL before.
    pub(super) entries: BTreeMap<AnySerial, Entry>,
    /// The CRL before; none for the first.
    pub(super) previous: Option<Previous>,
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) date: Timestamp,
    pub(super) reason: Reason,
}

/// Why a subordinate is revoked (RFC 5280 §5.3.1). No holds: nothing is ever un-revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reason {
    Unspecified,
    KeyCompromise,
    #[serde(rename = "cACompromise")]
    CaCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

/// What the CRL before said.
#[derive(Debug)]
pub(super) struct Previous {
    pub(super) number: u64,
    pub(super) this_update: Timestamp,
    pub(super) entries: BTreeMap<AnySerial, Entry>,
}

impl Previous {
    /// Reads the root's CRL before, PEM or DER, and checks that the root signed it.
    pub(super) fn read(path: &Path, root: &Issuer) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes, root).with_context(|| format!("the CRL in {}", path.display()))
    }

    fn parse(bytes: &[u8], root: &Issuer) -> anyhow::Result<Self> {
        let der = shared::pem::read_one(bytes, shared::pem::Label::Crl)?;
        let list = CertificateList::from_der(&der).context("not a CRL in DER")?;
        Signed::parse(&der)?.verify(&signed::public_key(&root.key())?)?;
        let tbs = list.tbs_cert_list;
        ensure!(tbs.issuer == *root.subject(), "it is not of this root");
        let number: CrlNumber = value(tbs.crl_extensions.as_deref())?.context("it has no number")?;
        let number = number_of(&number).context("its number is too large")?;
        let mut entries = BTreeMap::new();
        for revoked in tbs.revoked_certificates.unwrap_or_default() {
            let serial = AnySerial::from_x509(&revoked.serial_number).context("a serial number of another form")?;
            let reason: Option<CrlReason> = value(revoked.crl_entry_extensions.as_deref())?;
            let reason =
                reason.map_or(Some(Reason::Unspecified), Reason::from_code).context("a hold, or another state")?;
            entries.insert(serial, Entry { date: Timestamp::from_x509(&revoked.revocation_date), reason });
        }
        Ok(Self { number, this_update: Timestamp::from_x509(&tbs.this_update), entries })
    }
}

impl CrlIntent<'_> {
    /// Adds what is newly revoked. What was revoked before stays as it was.
    pub(super) fn revoke(&mut self, serial: AnySerial, entry: Entry) -> anyhow::Result<()> {
        match self.entries.insert(serial, entry) {
            None => Ok(()),
            Some(before) if before == entry => Ok(()),
            Some(_) => bail!("{serial} is revoked already, with another date or reason; that is not changed"),
        }
    }

    fn revoked(&self) -> anyhow::Result<Option<Vec<RevokedCert>>> {
        let entries = self.entries.iter().map(|(serial, entry)| {
            // Unspecified is said by saying nothing (§5.3.1).
            let reason = entry.reason.code().map(|code| extension(false, &code)).transpose()?;
            Ok(RevokedCert {
                serial_number: serial.to_x509()?,
                revocation_date: entry.date.to_x509()?,
                crl_entry_extensions: reason.map(|reason| vec![reason]),
            })
        });
        let entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
        // An empty list is left out (§5.1.2.6).
        Ok((!entries.is_empty()).then_some(entries))
    }
}

impl Lints for CrlIntent<'_> {
    const WHAT: &'static str = "crl";

    fn build(&self, _signer: &VerifyingKey) -> anyhow::Result<Vec<u8>> {
        let number = CrlNumber(Uint::new(&self.number.to_be_bytes())?);
        let list = TbsCertList {
            version: Version::V2,
            signature: ecdsa_with_sha256(),
            issuer: self.root.subject().clone(),
            this_update: self.this_update.to_x509()?,
            next_update: Some(self.next_update.to_x509()?),
            revoked_certificates: self.revoked()?,
            crl_extensions: Some(vec![
                extension(false, &authority_key(self.root.key_identifier())?)?,
                extension(false, &number)?,
            ]),
        };
        Ok(list.to_der()?)
    }

    fn lint(&self, der: &[u8]) -> anyhow::Result<Passed> {
        let mut passed = Passed::default();
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der);
        passed.rule("it is a CRL in DER (§5.1)", list.as_ref().is_ok_and(|read| is_der(read, der)))?;
        let CertificateList { tbs_cert_list: tbs, signature_algorithm, .. } = list?;
        let algorithm = ecdsa_with_sha256();
        passed.rule("version 2 (§5.1.2.1)", tbs.version == Version::V2)?;
        passed.rule(
            "ecdsa-with-SHA256 inside and outside of the signed part (§5.1.1.2, §5.1.2.2)",
            tbs.signature == algorithm && signature_algorithm == algorithm,
        )?;
        passed.rule("the issuer is the root's name (§5.1.2.3)", tbs.issuer == *self.root.subject())?;
        self.times(&mut passed, &tbs)?;
        self.extensions(&mut passed, &tbs)?;
        self.entries(&mut passed, &tbs)?;
        Ok(passed)
    }
}

impl CrlIntent<'_> {
    fn times(&self, passed: &mut Passed, tbs: &TbsCertList) -> anyhow::Result<()> {
        let form = |time: &Time| matches!(time, Time::UtcTime(_)) == (Timestamp::from_x509(time) < first_of_2050());
        let this = Timestamp::from_x509(&tbs.this_update);
        let next = tbs.next_update.as_ref().map(Timestamp::from_x509);
        passed.rule(
            "UTCTime through 2049, GeneralizedTime from 2050 (§5.1.2.4)",
            form(&tbs.this_update) && tbs.next_update.as_ref().is_some_and(form),
        )?;
        passed.rule(
            "thisUpdate and nextUpdate as asked for, in this order (§5.1.2.4, §5.1.2.5)",
            this == self.this_update && next == Some(self.next_update) && this < self.next_update,
        )?;
        let within = self.root.not_before() <= this && next.is_some_and(|next| next <= self.root.not_after());
        passed.rule("both lie within the root's validity", within)?;
        let later = self.previous.as_ref().is_none_or(|previous| previous.this_update <= this);
        passed.rule("it is not older than the CRL before", later)
    }

    fn extensions(&self, passed: &mut Passed, tbs: &TbsCertList) -> anyhow::Result<()> {
        let extensions = tbs.crl_extensions.as_deref().unwrap_or_default();
        let known = [AuthorityKeyIdentifier::OID, CrlNumber::OID];
        let ids: Vec<_> = extensions.iter().map(|extension| extension.extn_id).collect();
        let uncritical = extensions.iter().all(|extension| !extension.critical);
        passed.rule("exactly authorityKeyIdentifier and cRLNumber, not critical (§5.2)", uncritical && ids == known)?;
        let authority: Option<AuthorityKeyIdentifier> = value(Some(extensions))?;
        let expected = authority_key(self.root.key_identifier())?;
        passed.rule("authorityKeyIdentifier of the root's key (§5.2.1)", authority == Some(expected))?;
        let number: Option<CrlNumber> = value(Some(extensions))?;
        let number = number.as_ref().and_then(number_of);
        passed.rule("the number is the one asked for (§5.2.3)", number == Some(self.number))?;
        let larger = self.previous.as_ref().is_none_or(|previous| previous.number < self.number);
        passed.rule("the number is larger than that of the CRL before (§5.2.3)", larger)
    }

    fn entries(&self, passed: &mut Passed, tbs: &TbsCertList) -> anyhow::Result<()> {
        let entries = tbs.revoked_certificates.as_deref();
        passed.rule("no empty list of entries (§5.1.2.6)", entries.is_none_or(|entries| !entries.is_empty()))?;
        let (mut read, mut silent) = (BTreeMap::new(), true);
        for revoked in entries.unwrap_or_default() {
            let reason: Option<CrlReason> = value(revoked.crl_entry_extensions.as_deref())?;
            silent &= reason != Some(CrlReason::Unspecified);
            let reason = reason.map_or(Some(Reason::Unspecified), Reason::from_code);
            let reason = reason.context("an entry has a reason that was not asked for")?;
            let date = Timestamp::from_x509(&revoked.revocation_date);
            read.insert(AnySerial::from_x509(&revoked.serial_number)?, Entry { date, reason });
        }
        passed.rule("no entry says that its reason is unspecified (§5.3.1)", silent)?;
        let once = read.len() == entries.map_or(0, <[_]>::len);
        passed.rule("the entries are those asked for, each once (§5.1.2.6)", once && read == self.entries)?;
        let before = self.previous.iter().flat_map(|previous| &previous.entries);
        passed.rule(
            "nothing that was revoked before is gone or changed",
            before.into_iter().all(|(serial, entry)| read.get(serial) == Some(entry)),
        )?;
        passed.rule("no revocation lies in the future", read.values().all(|entry| entry.date <= self.this_update))
    }
}

impl Reason {
    /// For an entry's extension; nothing for an unspecified one.
    const fn code(self) -> Option<CrlReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(CrlReason::KeyCompromise),
            Self::CaCompromise => Some(CrlReason::CaCompromise),
            Self::AffiliationChanged => Some(CrlReason::AffiliationChanged),
            Self::Superseded => Some(CrlReason::Superseded),
            Self::CessationOfOperation => Some(CrlReason::CessationOfOperation),
            Self::PrivilegeWithdrawn => Some(CrlReason::PrivilegeWithdrawn),
        }
    }

    const fn from_code(code: CrlReason) -> Option<Self> {
        match code {
            CrlReason::Unspecified => Some(Self::Unspecified),
            CrlReason::KeyCompromise => Some(Self::KeyCompromise),
            CrlReason::CaCompromise => Some(Self::CaCompromise),
            CrlReason::AffiliationChanged => Some(Self::AffiliationChanged),
            CrlReason::Superseded => Some(Self::Superseded),
            CrlReason::CessationOfOperation => Some(Self::CessationOfOperation),
            CrlReason::PrivilegeWithdrawn => Some(Self::PrivilegeWithdrawn),
            CrlReason::CertificateHold | CrlReason::RemoveFromCRL | CrlReason::AaCompromise => None,
        }
    }
}

/// The value of an extension, when there is one.
fn value<T>(extensions: Option<&[Extension]>) -> anyhow::Result<Option<T>>
where
    T: AssociatedOid + for<'a> Decode<'a, Error = der::Error>,
{
    let mut found = extensions.unwrap_or_default().iter().filter(|extension| extension.extn_id == T::OID);
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some(extension), None) => Ok(Some(T::from_der(extension.extn_value.as_bytes())?)),
        (Some(_), Some(_)) => bail!("an extension stands twice"),
    }
}

/// A CRL's number; nothing when it has more than 64 bits.
fn number_of(number: &CrlNumber) -> Option<u64> {
    let bytes = number.0.as_bytes();
    (bytes.len() <= 8).then(|| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
