//! Lints of CA certificates, before the real key signs: what was built is signed by a key that is thrown away, read back, and compared
//! with what the ceremony asked for and with the rules of RFC 5280. The very bytes that passed are then signed.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::ensure;
use der::{
    Decode, Encode,
    oid::{AssociatedOid, db::rfc5280::ID_AD_CA_ISSUERS},
};
use p256::ecdsa::VerifyingKey;
use shared::{certificate::ecdsa_with_sha256, chain::Issuer, timestamp::Timestamp};
use x509_cert::{
    Certificate, TbsCertificate,
    certificate::Version,
    ext::pkix::{
        AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage,
        KeyUsage, KeyUsages, NameConstraints, SubjectKeyIdentifier,
        constraints::name::GeneralSubtree,
        name::{DistributionPointName, GeneralName},
    },
    time::Time,
};

use super::{
    intent::CaIntent,
    key::RootKey,
    signed::{self, Signed},
};
use crate::{ceremony::transcript::Transcript, random};

/// Bytes that have passed every lint and may be signed. Only [`Linted::new`] makes one; [`Linted::sign`] uses it up.
#[derive(Debug)]
pub(super) struct Linted {
    what: &'static str,
    tbs: Vec<u8>,
}

/// What reads a signed structure back and tells which rules it keeps.
pub(super) trait Lints {
    /// For transcripts.
    const WHAT: &'static str;

    /// The bytes to be signed, for this key.
    fn build(&self, signer: &VerifyingKey) -> anyhow::Result<Vec<u8>>;

    /// Checks every rule.
    ///
    /// # Errors
    /// Names the first that is broken.
    fn lint(&self, der: &[u8]) -> anyhow::Result<Passed>;
}

/// The rules that were kept, in the order in which they were looked at.
#[derive(Debug, Default)]
pub(super) struct Passed(Vec<&'static str>);

/// A CA certificate under its issuer; a root is under itself.
#[derive(Debug)]
pub(super) struct CaLint<'a> {
    pub(super) intent: &'a CaIntent,
    pub(super) issuer: Option<&'a Issuer>,
}

impl Passed {
    /// Notes a rule that holds.
    pub(super) fn rule(&mut self, rule: &'static str, holds: bool) -> anyhow::Result<()> {
        ensure!(holds, "the lint failed, and nothing was signed: {rule}");
        self.0.push(rule);
        Ok(())
    }
}

impl Linted {
    /// Builds it, signs it with a key that is thrown away, and lints that.
    pub(super) fn new<L: Lints>(lints: &L, key: &RootKey, transcript: &mut Transcript) -> anyhow::Result<Self> {
        let tbs = lints.build(key.public())?;
        let throwaway = RootKey::File(Box::new(random::signing_key()?));
        let der = Signed::assemble(&tbs, &throwaway.sign(&tbs)?)?;
        Signed::parse(&der)?.verify(&signed::public_key(throwaway.public())?)?;
        for rule in lints.lint(&der)?.0 {
            transcript.linted(L::WHAT, rule)?;
        }
        Ok(Self { what: L::WHAT, tbs })
    }

    /// Signs the bytes with the real key, verifies and lints the result again, and compares. Gives DER.
    pub(super) fn sign<L: Lints>(
        self,
        lints: &L,
        key: &RootKey,
        transcript: &mut Transcript,
    ) -> anyhow::Result<Vec<u8>> {
        transcript.touched();
        let der = Signed::assemble(&self.tbs, &key.sign(&self.tbs)?)?;
        let signed = Signed::parse(&der)?;
        signed.verify(&signed::public_key(key.public())?)?;
        ensure!(signed.content()? == self.tbs, "what was signed is not what was linted");
        lints.lint(&der)?;
        transcript.signed(self.what, &der)?;
        Ok(der)
    }
}

impl Lints for CaLint<'_> {
    const WHAT: &'static str = "certificate";

    fn build(&self, signer: &VerifyingKey) -> anyhow::Result<Vec<u8>> {
        self.intent.tbs(signer)
    }

    fn lint(&self, der: &[u8]) -> anyhow::Result<Passed> {
        let mut passed = Passed::default();
        let certificate = Certificate::from_der(der);
        passed.rule("it is a certificate in DER (§4.1)", certificate.as_ref().is_ok_and(|read| is_der(read, der)))?;
        let certificate = certificate?;
        let tbs = certificate.tbs_certificate();
        self.fields(&mut passed, tbs, &certificate)?;
        self.validity(&mut passed, tbs)?;
        self.ca_extensions(&mut passed, tbs)?;
        self.pointers(&mut passed, tbs)?;
        Ok(passed)
    }
}

impl CaLint<'_> {
    fn fields(&self, passed: &mut Passed, tbs: &TbsCertificate, whole: &Certificate) -> anyhow::Result<()> {
        let intent = self.intent;
        passed.rule("version 3 (§4.1.2.1)", tbs.version() == Version::V3)?;
        let serial = tbs.serial_number().as_bytes();
        let positive = serial.first().is_some_and(|first| *first < 0x80) && serial.iter().any(|byte| *byte != 0);
        let expected = intent.serial.to_x509()?;
        passed.rule(
            "a positive serial number of 8 to 20 bytes, the one that was drawn (§4.1.2.2)",
            positive && (8..=20).contains(&serial.len()) && *tbs.serial_number() == expected,
        )?;
        let algorithm = ecdsa_with_sha256();
        passed.rule(
            "ecdsa-with-SHA256 inside and outside of the signed part (§4.1.1.2, §4.1.2.3)",
            *tbs.signature() == algorithm && *whole.signature_algorithm() == algorithm,
        )?;
        let own = self.issuer.map_or(&intent.subject, Issuer::subject);
        passed
            .rule("the issuer is the root's name (§4.1.2.4)", tbs.issuer() == own && tbs.issuer() == &intent.issuer)?;
        let named = tbs.subject() == &intent.subject && tbs.subject().iter().next().is_some();
        passed.rule("the subject is the name asked for, and not empty (§4.1.2.6)", named)?;
        let other = self.issuer.is_none_or(|issuer| issuer.subject() != tbs.subject());
        passed.rule("a subordinate has another name than its root (§3.2)", other)?;
        passed.rule(
            "the public key is the requested one (§4.1.2.7)",
            tbs.subject_public_key_info() == intent.public.spki(),
        )?;
        passed.rule(
            "no unique identifiers (§4.1.2.8)",
            tbs.issuer_unique_id().is_none() && tbs.subject_unique_id().is_none(),
        )
    }

    fn validity(&self, passed: &mut Passed, tbs: &TbsCertificate) -> anyhow::Result<()> {
        let (first, last) = (&tbs.validity().not_before, &tbs.validity().not_after);
        let form = |time: &Time| matches!(time, Time::UtcTime(_)) == (Timestamp::from_x509(time) < first_of_2050());
        passed.rule("UTCTime through 2049, GeneralizedTime from 2050 (§4.1.2.5)", form(first) && form(last))?;
        let (first, last) = (Timestamp::from_x509(first), Timestamp::from_x509(last));
        let as_asked = first == self.intent.not_before && last == self.intent.not_after && first < last;
        passed.rule("the validity is the one asked for (§4.1.2.5)", as_asked)?;
        let within = self.issuer.is_none_or(|issuer| issuer.not_before() <= first && last <= issuer.not_after());
        passed.rule("the validity lies within the root's", within)
    }

    fn ca_extensions(&self, passed: &mut Passed, tbs: &TbsCertificate) -> anyhow::Result<()> {
        let intent = self.intent;
        let ids: Vec<_> = tbs.extensions().into_iter().flatten().map(|extension| extension.extn_id).collect();
        let set: BTreeSet<_> = ids.iter().copied().collect();
        let exactly = set.len() == ids.len() && set == intent.extension_ids();
        passed.rule("exactly the extensions that were meant, each once (§4.2)", exactly)?;
        let expected = BasicConstraints { ca: true, path_len_constraint: intent.path_length };
        passed.rule(
            "basicConstraints: critical, CA, the path length asked for (§4.2.1.9)",
            critical(tbs).is_some_and(|constraints: BasicConstraints| constraints == expected),
        )?;
        let depth = self.issuer.is_none() || intent.path_length == Some(0);
        passed.rule("a subordinate issues no further CA: path length 0 (§4.2.1.9)", depth)?;
        let above = self.issuer.map(|issuer| Certificate::from_der(issuer.der())).transpose()?;
        let length = above.as_ref().and_then(|above| present::<BasicConstraints>(above.tbs_certificate()));
        let allowed = length.and_then(|(_, constraints)| constraints.path_len_constraint) != Some(0);
        passed.rule("the root's own path length allows a subordinate (§6.1.4)", allowed)?;
        passed.rule(
            "keyUsage: critical, keyCertSign and cRLSign alone (§4.2.1.3)",
            critical(tbs).is_some_and(|usage: KeyUsage| usage == KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)),
        )?;
        let identifier = intent.public.key_identifier();
        passed.rule(
            "subjectKeyIdentifier: not critical, of the public key (§4.2.1.2, RFC 7093 §2)",
            uncritical(tbs).is_some_and(|key: SubjectKeyIdentifier| key.0.as_bytes() == identifier),
        )?;
        let authority = uncritical::<AuthorityKeyIdentifier>(tbs);
        let wanted = self.issuer.map(Issuer::key_identifier);
        let alone = authority
            .as_ref()
            .is_none_or(|key| key.authority_cert_issuer.is_none() && key.authority_cert_serial_number.is_none());
        let same = authority.as_ref().and_then(|key| key.key_identifier.as_ref()).map(|key| key.as_bytes()) == wanted;
        passed.rule("authorityKeyIdentifier: not critical, of the root's key (§4.2.1.1)", alone && same)?;
        self.constraints(passed, tbs)
    }

    fn constraints(&self, passed: &mut Passed, tbs: &TbsCertificate) -> anyhow::Result<()> {
        let asked = &self.intent.constraints;
        let found = critical::<NameConstraints>(tbs);
        passed
            .rule("nameConstraints: critical, when there are any (§4.2.1.10)", found.is_some() != asked.is_empty())?;
        let (permitted, excluded) =
            found.map_or((None, None), |found| (found.permitted_subtrees, found.excluded_subtrees));
        let not_empty = |list: &Option<Vec<GeneralSubtree>>| list.as_ref().is_none_or(|list| !list.is_empty());
        let whole = |tree: &GeneralSubtree| tree.minimum == 0 && tree.maximum.is_none();
        let trees = || permitted.iter().chain(&excluded).flatten();
        passed.rule(
            "nameConstraints: no empty list, no minimum and no maximum (§4.2.1.10)",
            not_empty(&permitted) && not_empty(&excluded) && trees().all(whole),
        )?;
        let texts = |list: &Option<Vec<GeneralSubtree>>| {
            list.iter().flatten().map(|tree| text_of(&tree.base)).collect::<Option<Vec<_>>>()
        };
        let wanted = |dns: &[String], ip: &[String]| Some(dns.iter().chain(ip).cloned().collect::<Vec<_>>());
        passed.rule(
            "nameConstraints: DNS suffixes without a dot, ranges as address and mask, as asked for (§4.2.1.10)",
            texts(&permitted) == wanted(&asked.permitted_dns, &asked.permitted_ip)
                && texts(&excluded) == wanted(&asked.excluded_dns, &asked.excluded_ip),
        )
    }

    fn pointers(&self, passed: &mut Passed, tbs: &TbsCertificate) -> anyhow::Result<()> {
        let intent = self.intent;
        let usages = uncritical::<ExtendedKeyUsage>(tbs).map(|usages| usages.0).unwrap_or_default();
        let wanted: Vec<_> = intent.extended_key_usage.iter().map(|usage| usage.oid()).collect();
        let any = usages.contains(&der::oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE);
        passed.rule(
            "extendedKeyUsage: not critical, as asked for, never any (§4.2.1.12)",
            usages == wanted && !any && usages.iter().collect::<BTreeSet<_>>().len() == usages.len(),
        )?;
        let access = uncritical::<AuthorityInfoAccessSyntax>(tbs).map(|places| places.0).unwrap_or_default();
        let urls: Option<Vec<_>> = access
            .iter()
            .map(|place| url_of(&place.access_location).filter(|_| place.access_method == ID_AD_CA_ISSUERS))
            .collect();
        let wanted =
            |list: &[super::intent::PlainUrl]| Some(list.iter().map(|url| url.as_str().to_owned()).collect::<Vec<_>>());
        passed.rule(
            "authorityInfoAccess: not critical, caIssuers alone, over plain HTTP (§4.2.2.1)",
            urls == wanted(&intent.issuer_urls),
        )?;
        let points = uncritical::<CrlDistributionPoints>(tbs).map(|points| points.0).unwrap_or_default();
        let urls: Option<Vec<_>> = points
            .iter()
            .flat_map(|point| match &point.distribution_point {
                Some(DistributionPointName::FullName(names))
                    if point.reasons.is_none() && point.crl_issuer.is_none() =>
                {
                    names.iter().map(url_of).collect()
                }
                _ => vec![None],
            })
            .collect();
        passed.rule(
            "cRLDistributionPoints: not critical, one point without reasons, over plain HTTP (§4.2.1.13)",
            points.len() <= 1 && urls == wanted(&intent.crl_urls),
        )
    }
}

/// What an extension may hold.
trait ExtensionValue: AssociatedOid + Encode + for<'a> Decode<'a, Error = der::Error> {}

impl<T: AssociatedOid + Encode + for<'a> Decode<'a, Error = der::Error>> ExtensionValue for T {}

/// True when what was read is written as the same bytes.
pub(super) fn is_der<T: Encode>(read: &T, der: &[u8]) -> bool {
    read.to_der().is_ok_and(|again| again == der)
}

/// The first second that X.509 writes as GeneralizedTime.
pub(super) fn first_of_2050() -> Timestamp {
    Timestamp::from_seconds(2_524_608_000)
}

/// An extension, whether it is critical, and its value when that is in DER.
fn present<T: ExtensionValue>(tbs: &TbsCertificate) -> Option<(bool, T)> {
    let extension = tbs.extensions().into_iter().flatten().find(|extension| extension.extn_id == T::OID)?;
    let der = extension.extn_value.as_bytes();
    // Some values can be read that are not in DER, a key usage with zeros at its end among them (X.690 §11.2.2).
    let value = T::from_der(der).ok().filter(|value| is_der(value, der))?;
    Some((extension.critical, value))
}

fn critical<T: ExtensionValue>(tbs: &TbsCertificate) -> Option<T> {
    present(tbs).and_then(|(critical, value)| critical.then_some(value))
}

fn uncritical<T: ExtensionValue>(tbs: &TbsCertificate) -> Option<T> {
    present(tbs).and_then(|(critical, value)| (!critical).then_some(value))
}

fn url_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(url) if url.as_str().starts_with("http://") => Some(url.to_string()),
        _ => None,
    }
}

/// A constraint as a ceremony file has it; nothing for one of another form.
fn text_of(base: &GeneralName) -> Option<String> {
    match base {
        GeneralName::DnsName(name) => Some(name.to_string()).filter(|name| !name.starts_with('.')),
        GeneralName::IpAddress(octets) => match octets.as_bytes() {
            [a, b, c, d, mask @ ..] => match <[u8; 4]>::try_from(mask) {
                Ok(mask) => range(IpAddr::from([*a, *b, *c, *d]), u32::from_be_bytes(mask).into(), 32),
                Err(_) => {
                    let (address, mask) = octets.as_bytes().split_at_checked(16)?;
                    let address = <[u8; 16]>::try_from(address).ok()?;
                    let mask = u128::from_be_bytes(<[u8; 16]>::try_from(mask).ok()?);
                    range(IpAddr::from(address), mask, 128)
                }
            },
            _ => None,
        },
        _ => None,
    }
}

/// An address and the length of its mask, when the mask is ones and then zeros.
fn range(address: IpAddr, mask: u128, width: u32) -> Option<String> {
    let ones = mask.count_ones();
    let zeros = width.checked_sub(ones)?;
    let contiguous = mask == 0 || mask.trailing_zeros() == zeros;
    contiguous.then(|| format!("{address}/{ones}"))
}
