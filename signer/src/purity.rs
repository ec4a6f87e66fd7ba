//! What a signer signs is a function of profile, names, key, serial number and times, whatever a CSR says (RFC 8555 §7.4): tried with
//! requests that ask for anything at all.

use std::collections::BTreeSet;

use der::asn1::{Ia5String, ObjectIdentifier, OctetString};
use proptest::{collection::vec, option, prelude::*};
use shared::{
    certificate::Content,
    identifier::DnsName,
    serial::SerialNumber,
    signing::Refusal,
    testing::{TestCa, TestKey, TestRequest, dns_names, server_profile},
    timestamp::Timestamp,
};
use x509_cert::ext::{Extension, pkix::name::GeneralName};

use crate::{
    admit::{Bounds, Evidence},
    bound::Bound,
    budget::Spendings,
    clock,
    fixture::{self, EDGE},
    issuer::Issuer,
    policy,
    stops::Stops,
};

/// In everything that a request says beside its names and its key.
const MARK: &str = "smuggled";
/// Extensions of certificates (RFC 5280 §4.2, RFC 7633, RFC 9608), and one of nobody's. The names and the extended key usages are not
/// among them: those are read.
const EXTENSIONS: [&str; 12] = [
    "2.5.29.14",
    "2.5.29.15",
    "2.5.29.18",
    "2.5.29.19",
    "2.5.29.30",
    "2.5.29.31",
    "2.5.29.32",
    "2.5.29.35",
    "2.5.29.56",
    "1.3.6.1.5.5.7.1.1",
    "1.3.6.1.5.5.7.1.24",
    "1.3.6.1.4.1.99999.1",
];
const USAGES: ObjectIdentifier = const_oid::db::rfc5912::ID_CE_EXT_KEY_USAGE;

/// What a request says beside its key and the order's names.
#[derive(Clone, Debug)]
struct Said {
    /// Attributes of the subject, by their short names.
    subject: Vec<(&'static str, u16)>,
    /// An extension by its position above, whether it is critical, and its value.
    extensions: Vec<(usize, bool, Vec<u8>)>,
    attributes: Vec<Vec<u8>>,
    /// DER of the extended key usages.
    usages: Option<Vec<u8>>,
    /// More names, of a kind that no order has.
    others: Vec<u8>,
}

fn said() -> impl Strategy<Value = Said> {
    let subject = vec((prop::sample::select(vec!["O", "OU", "L", "ST"]), any::<u16>()), 0..3);
    let extensions = vec((0..EXTENSIONS.len(), any::<bool>(), vec(any::<u8>(), 0..40)), 0..4);
    let attributes = vec(vec(any::<u8>(), 0..40), 0..3);
    // serverAuth, codeSigning, none at all, and what is none.
    let usages = prop::sample::select(vec![
        b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01".to_vec(),
        b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x03".to_vec(),
        b"\x30\x00".to_vec(),
        b"\x05\x00".to_vec(),
    ]);
    let others = prop_oneof![4 => Just(Vec::new()), 1 => vec(0_u8..3, 1..3)];
    (subject, extensions, attributes, option::weighted(0.3, usages), others).prop_map(
        |(subject, extensions, attributes, usages, others)| Said { subject, extensions, attributes, usages, others },
    )
}

impl Said {
    /// The request, in DER.
    fn request(&self, names: &[&str], common_name: Option<&str>, key: &TestKey) -> Vec<u8> {
        let marked = |value: &[u8]| OctetString::new([MARK.as_bytes(), value].concat()).unwrap();
        let mut subject: Vec<_> = self.subject.iter().map(|(kind, value)| format!("{kind}={MARK}{value}")).collect();
        subject.extend(common_name.map(|name| format!("CN={name}")));
        let mut request = TestRequest::of(names).subject(&subject.join(","));
        for (position, critical, value) in &self.extensions {
            request = request.extension(EXTENSIONS[*position].parse().unwrap(), *critical, &marked(value));
        }
        for (number, value) in (1..).zip(&self.attributes) {
            let oid = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.2").push_arc(number).unwrap();
            request = request.attribute(oid, &marked(value));
        }
        if let Some(usages) = &self.usages {
            let extn_value = OctetString::new(usages.clone()).unwrap();
            request.extensions.push(Extension { extn_id: USAGES, critical: true, extn_value });
        }
        for other in &self.others {
            let text = |before: &str| Ia5String::new(&format!("{before}{MARK}.test")).unwrap();
            request = request.name(match other {
                0 => GeneralName::Rfc822Name(text("root@")),
                1 => GeneralName::UniformResourceIdentifier(text("https://")),
                _ => GeneralName::DirectoryName(format!("CN={MARK}").parse().unwrap()),
            });
        }
        request.sign(key)
    }

    /// Whether it names somebody else, or cannot be read.
    fn is_refused(&self) -> bool {
        let kinds: BTreeSet<_> = self.extensions.iter().map(|(position, ..)| position).collect();
        let unreadable = self.usages.as_ref().is_some_and(|usages| usages.len() < 3);
        !self.others.is_empty() || kinds.len() < self.extensions.len() || unreadable
    }
}

/// What the issuer of this CA would sign for that request.
fn tbs(ca: &TestCa, names: &[&str], csr: &[u8], serial: SerialNumber, now: Timestamp) -> Result<Vec<u8>, Refusal> {
    let policy = policy::tests::policy();
    let (spendings, stops, bound) = (Spendings::default(), Stops::default(), Bound::default());
    let bounds = Bounds { spendings: &spendings, stops: &stops, bound: &bound };
    let evidence = Evidence::verify(&policy, EDGE, fixture::request(names, csr)).map_err(|refused| refused.reason)?;
    let admitted = evidence.admit(&policy, EDGE, now, None, bounds).map_err(|refused| refused.reason)?;
    let issuer = Issuer::new("a1".into(), ca.chain.clone(), Vec::new());
    Ok(issuer.prepare(&admitted, serial, now).unwrap().tbs.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_csrs_of_one_key_and_the_same_names_make_the_same_certificate(
        labels in prop::collection::btree_set("[a-z]{1,8}", 1..4),
        has_common_name: bool,
        seed in 2_u8..,
        bytes: [u8; 16],
        (one, other) in (said(), said()),
    ) {
        let names: Vec<_> = labels.iter().map(|label| format!("{label}.a.test")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let common_name = names.first().copied().filter(|_| has_common_name);
        let (ca, key, now) = (TestCa::new(1), TestKey::new(seed), clock::now());
        let serial = SerialNumber::from_random(bytes);
        // What it must be, by somebody who has seen no CSR.
        let (profile, set) = (server_profile(), dns_names(&names));
        let parsed: Option<DnsName> = common_name.map(|name| name.parse().unwrap());
        let not_before = now.minus(profile.backdate_seconds());
        let content = Content {
            profile: &profile,
            names: &set,
            common_name: parsed.as_ref(),
            public_key: &key.public_key(),
            serial,
            not_before,
            not_after: not_before.plus(profile.validity_seconds()).minus(1),
            status: None,
            crl_shards: 1,
        };
        let expected = content.tbs(ca.chain.issuer()).unwrap();
        for said in [one, other] {
            let csr = said.request(&names, common_name, &key);
            match tbs(&ca, &names, &csr, serial, now) {
                Ok(tbs) => {
                    prop_assert!(!said.is_refused());
                    prop_assert!(!tbs.windows(MARK.len()).any(|part| part == MARK.as_bytes()));
                    prop_assert_eq!(tbs.as_slice(), expected.as_bytes());
                }
                Err(reason) => {
                    prop_assert!(said.is_refused());
                    prop_assert_eq!(reason, Refusal::BadCsr);
                }
            }
        }
    }

    #[test]
    fn a_csr_with_other_names_than_the_order_makes_no_certificate(
        ordered in prop::collection::btree_set("[a-c]{1,2}", 1..4),
        asked in prop::collection::btree_set("[a-c]{1,2}", 1..4),
        said in said(),
    ) {
        let whole = |labels: &BTreeSet<String>| labels.iter().map(|label| format!("{label}.a.test")).collect::<Vec<_>>();
        let (order, csr) = (whole(&ordered), whole(&asked));
        let order: Vec<_> = order.iter().map(String::as_str).collect();
        let csr: Vec<_> = csr.iter().map(String::as_str).collect();
        let csr = said.request(&csr, None, &TestKey::new(9));
        let made = tbs(&TestCa::new(1), &order, &csr, SerialNumber::from_random([9; 16]), clock::now());
        let reason = match (said.is_refused(), ordered == asked) {
            (true, _) => Some(Refusal::BadCsr),
            (false, false) => Some(Refusal::NameMismatch),
            (false, true) => None,
        };
        prop_assert_eq!(made.err(), reason);
    }
}
