//! What an issuer's chain lets its certificates be: names (name constraints), uses (extended key usages), CRLs (key usage), and how many
//! CAs may stand below another (path length). RFC 5280 §4.2.1.3, §4.2.1.9, §4.2.1.10, §4.2.1.12, §6.1.
//!
//! A certificate outside of these is signed by the issuer and refused by every verifier. So the policy is compared with them before
//! anything is issued, and each certificate again.

use std::{collections::BTreeSet, fmt};

use der::{
    Decode,
    asn1::ObjectIdentifier,
    oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH},
};
use shared::{
    chain::{Issuer, IssuerChain},
    identifier::{DnsName, Identifier},
    network::Network,
    profile::{Profile, ProfileName},
};
use x509_cert::{
    Certificate,
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, constraints::name::GeneralSubtree,
        name::GeneralName,
    },
};

use crate::policy::Policy;

/// What a chain permits, certificate by certificate; the issuer's own first.
#[derive(Clone, Debug)]
pub(crate) struct ChainLimits(Vec<CaLimits>);

/// What one CA certificate permits below it.
#[derive(Clone, Debug)]
struct CaLimits {
    subject: String,
    permitted: Subtrees,
    excluded: Subtrees,
    /// Nothing: every use.
    usages: Option<BTreeSet<ObjectIdentifier>>,
    signs_crls: bool,
}

/// Subtrees of the two kinds of names that leaves have.
#[derive(Clone, Debug, Default)]
struct Subtrees {
    dns: Vec<String>,
    /// An address and its mask.
    ip: Vec<Vec<u8>>,
}

/// Why certificates would not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotVerify {
    /// Extensions that cannot be read.
    #[error("the CA certificate {0} has extensions that cannot be read")]
    Form(String),
    /// A CA that may not have one below it.
    #[error(
        "the CA certificate {subject} has the path length {allowed}, and {below} CA certificates stand below it in the chain"
    )]
    PathLength { subject: String, allowed: u8, below: usize },
    /// Constraints that no leaf of this CA is known to keep.
    #[error(
        "the CA certificate {0} has name constraints of a kind that is not understood here: only those on DNS names and addresses are"
    )]
    Constraints(String),
    /// A name outside of the constraints.
    #[error("no verifier would accept {name} under the CA certificate {subject}: its name constraints {why}")]
    Name { name: String, subject: String, why: Why },
    /// A use outside of the extended key usages.
    #[error(
        "no verifier would accept the usages of the profile {profile} under the CA certificate {subject}: {usage} is not among its extended key usages"
    )]
    Usage { profile: ProfileName, subject: String, usage: ObjectIdentifier },
    /// An issuer of no TLS certificates at all.
    #[error("the CA certificate {0} has extended key usages, and neither serverAuth nor clientAuth is among them")]
    NoTls(String),
    /// CRLs that verifiers refuse.
    #[error("the policy has profiles with CRLs, and the key usage of the CA certificate {0} lacks cRLSign")]
    Crl(String),
}

/// How constraints keep a name out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is under none of these.
    Permit(Vec<String>),
    /// It is under this one.
    Exclude(String),
}

/// How much of what a policy gives can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// None of it: an error of the configuration.
    Never(String),
    /// Some of it does not: that is refused when it is asked for.
    Partly(String),
}

/// How much of a suffix or a network is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    All,
    Part,
    None(CannotVerify),
}

impl ChainLimits {
    /// Reads the limits of a chain; `root` where the chain's file does not have it.
    ///
    /// # Errors
    /// When nothing that this issuer signs could verify.
    pub(crate) fn of(chain: &IssuerChain, root: Option<&Issuer>) -> Result<Self, CannotVerify> {
        let mut limits = Vec::new();
        let above = root.filter(|root| chain.all().all(|issuer| issuer.der() != root.der()));
        for (below, issuer) in chain.all().chain(above).enumerate() {
            limits.push(CaLimits::of(issuer, below)?);
        }
        Ok(Self(limits))
    }

    /// Checks a certificate of these names and this profile.
    ///
    /// # Errors
    /// The first reason for which it would not verify.
    pub(crate) fn admit<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Identifier>,
        profile: &Profile,
    ) -> Result<(), CannotVerify> {
        self.admit_usages(profile)?;
        names.into_iter().try_for_each(|name| self.0.iter().try_for_each(|ca| ca.admit(name)))
    }

    fn admit_usages(&self, profile: &Profile) -> Result<(), CannotVerify> {
        for ca in &self.0 {
            let Some(usages) = &ca.usages else { continue };
            let missing =
                profile.extended_key_usage().iter().map(|usage| usage.oid()).find(|oid| !usages.contains(oid));
            if let Some(usage) = missing {
                let (profile, subject) = (profile.name().clone(), ca.subject.clone());
                return Err(CannotVerify::Usage { profile, subject, usage });
            }
        }
        Ok(())
    }

    /// The CA certificate of the chain under which a delegated OCSP responder lacks its usage: some clients refuse it then.
    pub(crate) fn without_ocsp_signing(&self) -> Option<&str> {
        let lacks = |ca: &&CaLimits| ca.usages.as_ref().is_some_and(|usages| !usages.contains(&ID_KP_OCSP_SIGNING));
        self.0.iter().find(lacks).map(|ca| ca.subject.as_str())
    }

    fn extent(&self, of: impl Fn(&CaLimits) -> Extent) -> Extent {
        let mut whole = Extent::All;
        for ca in &self.0 {
            match of(ca) {
                Extent::All => {}
                Extent::Part => whole = Extent::Part,
                none @ Extent::None(_) => return none,
            }
        }
        whole
    }
}

/// Compares a policy with the issuers that decide on certificates under it, by name.
pub(crate) fn compare(policy: &Policy, issuers: &[(&str, &ChainLimits)]) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for profile in policy.profiles() {
        let admitted =
            issuers.iter().map(|(_, limits)| limits.admit_usages(profile).map_or_else(Extent::None, |()| Extent::All));
        found.extend(mismatch(issuers, admitted, || format!("profile {}", profile.name())));
    }
    for scope in policy.scopes() {
        for suffix in scope.dns_suffixes() {
            let extents = issuers.iter().map(|(_, limits)| limits.extent(|ca| ca.suffix(suffix)));
            found.extend(mismatch(issuers, extents, || format!("scope {}: the names under {suffix}", scope.name())));
        }
        for network in scope.ip_networks() {
            let extents = issuers.iter().map(|(_, limits)| limits.extent(|ca| ca.network(network)));
            found.extend(mismatch(issuers, extents, || format!("scope {}: the addresses in {network}", scope.name())));
        }
    }
    if policy.has_crl() {
        let lack = |(name, limits): &(&str, &ChainLimits)| {
            let issuer = limits.0.first().filter(|issuer| !issuer.signs_crls)?;
            Some(Mismatch::Never(format!("issuer {name}: {}", CannotVerify::Crl(issuer.subject.clone()))))
        };
        found.extend(issuers.iter().filter_map(lack));
    }
    found
}

/// What is wrong with something that these issuers permit so far.
fn mismatch(
    issuers: &[(&str, &ChainLimits)],
    extents: impl Iterator<Item = Extent>,
    what: impl Fn() -> String,
) -> Option<Mismatch> {
    let extents: Vec<_> = extents.collect();
    let names = || issuers.iter().map(|(name, _)| *name);
    let reasons = extents.iter().zip(names()).filter_map(|(extent, name)| match extent {
        Extent::All => None,
        Extent::Part => Some(format!("under issuer {name} some of them do not verify, and are refused")),
        Extent::None(why) => Some(format!("issuer {name}: {why}")),
    });
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    if reasons.is_empty() {
        None
    } else if extents.iter().all(|extent| matches!(extent, Extent::None(_))) {
        Some(Mismatch::Never(format!("{}: {reasons}", what())))
    } else {
        Some(Mismatch::Partly(format!("{}: {reasons}", what())))
    }
}

impl CaLimits {
    /// Reads those of a certificate that has so many CA certificates below it in the chain.
    fn of(issuer: &Issuer, below: usize) -> Result<Self, CannotVerify> {
        let subject = issuer.subject().to_string();
        let form = || CannotVerify::Form(subject.clone());
        let certificate = Certificate::from_der(issuer.der()).map_err(|_| form())?;
        let tbs = certificate.tbs_certificate();
        let (_, basic) = tbs.get_extension::<BasicConstraints>().map_err(|_| form())?.ok_or_else(form)?;
        if let Some(allowed) = basic.path_len_constraint
            && usize::from(allowed) < below
        {
            return Err(CannotVerify::PathLength { subject, allowed, below });
        }
        let (_, usage) = tbs.get_extension::<KeyUsage>().map_err(|_| form())?.ok_or_else(form)?;
        let usages = tbs.get_extension::<ExtendedKeyUsage>().map_err(|_| form())?;
        let usages = usages.map(|(_, usages)| BTreeSet::from_iter(usages.0));
        let usages = usages.filter(|usages| !usages.contains(&ANY_EXTENDED_KEY_USAGE));
        let lacks_tls =
            |usages: &BTreeSet<_>| !usages.contains(&ID_KP_SERVER_AUTH) && !usages.contains(&ID_KP_CLIENT_AUTH);
        if usages.as_ref().is_some_and(lacks_tls) {
            return Err(CannotVerify::NoTls(subject));
        }
        let constraints = tbs.get_extension::<NameConstraints>().map_err(|_| form())?;
        let (permitted, excluded) = constraints
            .map_or((None, None), |(_, constraints)| (constraints.permitted_subtrees, constraints.excluded_subtrees));
        let read = |subtrees: Option<Vec<GeneralSubtree>>| {
            Subtrees::of(&subtrees.unwrap_or_default()).ok_or_else(|| CannotVerify::Constraints(subject.clone()))
        };
        let (permitted, excluded) = (read(permitted)?, read(excluded)?);
        Ok(Self { permitted, excluded, usages, signs_crls: usage.crl_sign(), subject })
    }

    fn admit(&self, name: &Identifier) -> Result<(), CannotVerify> {
        match name {
            Identifier::Dns(name) => {
                let text = name.as_str();
                // A wildcard is the name of each host below its domain, of an excluded one too.
                let covers = |base: &str| {
                    let domain = base.split_once('.').map(|(_, domain)| domain);
                    domain.is_some() && domain == text.strip_prefix("*.")
                };
                if let Some(base) = self.excluded.dns.iter().find(|base| within(text, base) || covers(base)) {
                    return Err(self.refuses(name, Why::Exclude(base.clone())));
                }
                let fits = self.permitted.dns.is_empty() || self.permitted.dns.iter().any(|base| within(text, base));
                if fits { Ok(()) } else { Err(self.refuses(name, Why::Permit(self.permitted.dns.clone()))) }
            }
            Identifier::Ip(address) => {
                let octets = match address {
                    std::net::IpAddr::V4(address) => address.octets().to_vec(),
                    std::net::IpAddr::V6(address) => address.octets().to_vec(),
                };
                let whole = [octets.as_slice(), &vec![0xff; octets.len()]].concat();
                match self.range(&whole, address) {
                    Extent::None(why) => Err(why),
                    Extent::All | Extent::Part => Ok(()),
                }
            }
        }
    }

    fn suffix(&self, suffix: &DnsName) -> Extent {
        let name = suffix.as_str();
        if let Some(base) = self.excluded.dns.iter().find(|base| within(name, base)) {
            return Extent::None(self.refuses(suffix, Why::Exclude(base.clone())));
        }
        let permitted = &self.permitted.dns;
        let is_whole = permitted.is_empty() || permitted.iter().any(|base| within(name, base));
        if !is_whole && !permitted.iter().any(|base| within(base.trim_start_matches('.'), name)) {
            return Extent::None(self.refuses(suffix, Why::Permit(permitted.clone())));
        }
        let cut = self.excluded.dns.iter().any(|base| within(base.trim_start_matches('.'), name));
        if is_whole && !cut { Extent::All } else { Extent::Part }
    }

    fn network(&self, network: &Network) -> Extent {
        self.range(&network.octets_and_mask(), network)
    }

    /// How much of a range, an address and its mask, is permitted.
    fn range(&self, range: &[u8], name: &impl fmt::Display) -> Extent {
        if let Some(base) = self.excluded.ip.iter().find(|base| holds(base, range)) {
            return Extent::None(self.refuses(name, Why::Exclude(text_of(base))));
        }
        let permitted = &self.permitted.ip;
        let is_whole = permitted.is_empty() || permitted.iter().any(|base| holds(base, range));
        if !is_whole && !permitted.iter().any(|base| holds(range, base)) {
            return Extent::None(self.refuses(name, Why::Permit(permitted.iter().map(|base| text_of(base)).collect())));
        }
        let cut = self.excluded.ip.iter().any(|base| holds(range, base));
        if is_whole && !cut { Extent::All } else { Extent::Part }
    }

    fn refuses(&self, name: &impl fmt::Display, why: Why) -> CannotVerify {
        CannotVerify::Name { name: name.to_string(), subject: self.subject.clone(), why }
    }
}

impl Subtrees {
    /// Reads subtrees; nothing when one is of a kind that leaves might have and that is not compared here.
    fn of(subtrees: &[GeneralSubtree]) -> Option<Self> {
        let mut read = Self::default();
        for subtree in subtrees {
            match &subtree.base {
                GeneralName::DnsName(base) => read.dns.push(base.as_str().to_ascii_lowercase()),
                GeneralName::IpAddress(octets) if matches!(octets.as_bytes().len(), 8 | 32) => {
                    read.ip.push(octets.as_bytes().to_vec());
                }
                // Leaves have no names of these kinds.
                GeneralName::Rfc822Name(_) | GeneralName::UniformResourceIdentifier(_) => {}
                _ => return None,
            }
        }
        Some(read)
    }
}

/// True when a name is a constraint's base or below it. A base with a dot before it has only what is below.
fn within(name: &str, base: &str) -> bool {
    let (bare, is_below_only) = base.strip_prefix('.').map_or((base, false), |bare| (bare, true));
    let below = || name.strip_suffix(bare).is_some_and(|rest| rest.ends_with('.'));
    bare.is_empty() || (name == bare && !is_below_only) || below()
}

/// True when all addresses of the inner range are in the outer one. Both are an address and a mask of one family, or the answer is no.
fn holds(outer: &[u8], inner: &[u8]) -> bool {
    let half = outer.len() / 2;
    let (outer_address, outer_mask) = outer.split_at_checked(half).unwrap_or_default();
    let (inner_address, inner_mask) = inner.split_at_checked(half).unwrap_or_default();
    outer.len() == inner.len()
        && outer_address.iter().zip(outer_mask).zip(inner_address.iter().zip(inner_mask)).all(
            |((outer, outer_mask), (inner, inner_mask))| {
                outer_mask & inner_mask == *outer_mask && (outer ^ inner) & outer_mask == 0
            },
        )
}

fn text_of(range: &[u8]) -> String {
    let (address, mask) = range.split_at_checked(range.len() / 2).unwrap_or_default();
    let length: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let address = <[u8; 4]>::try_from(address)
        .map(std::net::IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(address).map(std::net::IpAddr::from));
    address.map_or_else(|_| "an unreadable range".to_owned(), |address| format!("{address}/{length}"))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit(bases) => write!(f, "permit {}, and nothing else of this kind", bases.join(", ")),
            Self::Exclude(base) if base.is_empty() => f.write_str("exclude every name of this kind"),
            Self::Exclude(base) => write!(f, "exclude {base}"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never(text) | Self::Partly(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(permitted: (&[&str], &[&str]), excluded: (&[&str], &[&str])) -> CaLimits {
        let subtrees = |(dns, ip): (&[&str], &[&str])| Subtrees {
            dns: dns.iter().map(|base| (*base).to_owned()).collect(),
            ip: ip.iter().map(|base| base.parse::<Network>().unwrap().octets_and_mask()).collect(),
        };
        CaLimits {
            subject: "CN=Issuing".into(),
            permitted: subtrees(permitted),
            excluded: subtrees(excluded),
            usages: None,
            signs_crls: true,
        }
    }

    fn identifier(text: &str) -> Identifier {
        text.parse().map_or_else(|_| Identifier::Dns(text.parse().unwrap()), Identifier::Ip)
    }

    #[test]
    fn names_are_judged_as_verifiers_do() {
        let ca = ca((&["corp.example", ".sub.test"], &["10.0.0.0/8"]), (&["secret.corp.example"], &["10.9.0.0/16"]));
        let table = [
            ("corp.example", true),
            ("a.corp.example", true),
            ("*.a.corp.example", true),
            ("acorp.example", false),
            ("example", false),
            ("x.sub.test", true),
            ("*.sub.test", true),
            ("sub.test", false),
            ("secret.corp.example", false),
            ("a.secret.corp.example", false),
            // It would be a name of the excluded host.
            ("*.corp.example", false),
            ("10.1.2.3", true),
            ("10.9.2.3", false),
            ("192.0.2.1", false),
            // The other family has no permitted range.
            ("fd00::1", false),
        ];
        for (name, good) in table {
            assert_eq!(ca.admit(&identifier(name)).is_ok(), good, "{name}");
        }
        let error = ca.admit(&identifier("db.other.example")).unwrap_err().to_string();
        assert!(error.contains("db.other.example") && error.contains("permit corp.example"), "{error}");
    }

    #[test]
    fn a_kind_of_name_without_constraints_is_free() {
        let ca = ca((&["corp.example"], &[]), (&[], &["0.0.0.0/0"]));
        assert!(ca.admit(&identifier("fd00::1")).is_ok());
        assert!(ca.admit(&identifier("10.0.0.1")).is_err());
    }

    #[test]
    fn a_suffix_or_network_verifies_wholly_partly_or_never() {
        let ca = ca((&["corp.example"], &["10.0.0.0/8"]), (&["secret.corp.example"], &["10.9.0.0/16"]));
        let suffix = |text: &str| ca.suffix(&text.parse().unwrap());
        assert_eq!(suffix("a.corp.example"), Extent::All);
        assert_eq!((suffix("corp.example"), suffix("example")), (Extent::Part, Extent::Part));
        assert!(matches!(suffix("other.example"), Extent::None(_)));
        assert!(matches!(suffix("x.secret.corp.example"), Extent::None(_)));
        let network = |text: &str| ca.network(&text.parse().unwrap());
        assert_eq!((network("10.1.0.0/16"), network("10.0.0.0/8")), (Extent::All, Extent::Part));
        assert_eq!(network("0.0.0.0/0"), Extent::Part);
        assert!(matches!(network("10.9.1.0/24"), Extent::None(_)) && matches!(network("fd00::/8"), Extent::None(_)));
    }

    /// A chain of CAs that rcgen makes, as each of these changes its parameters; the root first.
    fn chain(changes: &[&dyn Fn(&mut rcgen::CertificateParams)]) -> IssuerChain {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
        let mut issuers: Vec<CertifiedIssuer<'static, KeyPair>> = Vec::new();
        for (number, change) in changes.iter().enumerate() {
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name = rcgen::DistinguishedName::new();
            parameters.distinguished_name.push(DnType::CommonName, format!("CA {number}"));
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            change(&mut parameters);
            let key = KeyPair::generate().unwrap();
            let issuer = match issuers.last() {
                None => CertifiedIssuer::self_signed(parameters, key),
                Some(above) => CertifiedIssuer::signed_by(parameters, key, above),
            };
            issuers.push(issuer.unwrap());
        }
        IssuerChain::from_ders(issuers.iter().rev().map(|issuer| &**issuer.der())).unwrap()
    }

    #[test]
    fn a_chain_that_cannot_verify_is_none() {
        use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyUsagePurpose};
        let plain = |_: &mut rcgen::CertificateParams| {};
        let length = |allowed| {
            move |parameters: &mut rcgen::CertificateParams| {
                parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(allowed));
            }
        };
        let judged =
            |changes: &[&dyn Fn(&mut rcgen::CertificateParams)]| ChainLimits::of(&chain(changes), None).map(drop);
        assert_eq!(judged(&[&plain, &plain, &plain]), Ok(()));
        assert_eq!(judged(&[&length(2), &length(1), &length(0)]), Ok(()));
        let short = |number, allowed, below| {
            Err(CannotVerify::PathLength { subject: format!("CN=CA {number}"), allowed, below })
        };
        assert_eq!(judged(&[&length(1), &plain, &plain]), short(0, 1, 2));
        assert_eq!(judged(&[&plain, &length(0), &plain]), short(1, 0, 1));

        let code_signing = |parameters: &mut rcgen::CertificateParams| {
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        };
        assert_eq!(judged(&[&plain, &code_signing]), Err(CannotVerify::NoTls("CN=CA 1".into())));
        let directory = |parameters: &mut rcgen::CertificateParams| {
            let mut name = rcgen::DistinguishedName::new();
            name.push(DnType::OrganizationName, "Example");
            let permitted_subtrees = vec![GeneralSubtree::DirectoryName(name)];
            parameters.name_constraints =
                Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        };
        assert_eq!(judged(&[&directory, &plain]), Err(CannotVerify::Constraints("CN=CA 0".into())));

        let no_crls = |parameters: &mut rcgen::CertificateParams| {
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        };
        let limits = ChainLimits::of(&chain(&[&plain, &no_crls]), None).unwrap();
        assert!(!limits.0.first().unwrap().signs_crls && limits.0.last().unwrap().signs_crls);
    }

    #[test]
    fn a_root_that_the_file_of_the_chain_leaves_out_counts_too() {
        let length = |parameters: &mut rcgen::CertificateParams| {
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        };
        let whole = chain(&[&length, &|_| {}, &|_| {}]);
        let sent: Vec<_> = whole.sent().map(Issuer::der).collect();
        let short = IssuerChain::from_ders(sent).unwrap();
        assert!(ChainLimits::of(&short, None).is_ok());
        assert!(matches!(ChainLimits::of(&short, whole.all().last()), Err(CannotVerify::PathLength { .. })));
    }
}
