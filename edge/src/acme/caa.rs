//! Certification authority authorization: what the CAA records of a name let this CA do (RFC 8659, RFC 8657). Where the
//! records are is [`super::caa_climb`]'s to find.

use shared::identifier::DnsName;

use super::{
    dns::Record,
    excerpt,
    issue_value::{BadIssueValue, IssueValue},
};

/// The records that count for a name: those of the name itself, or of the nearest one above it that has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// Where they are.
    pub at: String,
    /// At least one.
    pub properties: Vec<Property>,
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Who does not know the tag must not issue.
    pub critical: bool,
    /// As it was written.
    pub tag: String,
    /// Not read yet.
    pub value: Vec<u8>,
}

/// What is to be issued.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    /// The domain names of this CA.
    pub issuers: &'a [DnsName],
    /// True for the wildcard over the name.
    pub wildcard: bool,
    /// The account's URL (RFC 8657 §3).
    pub account_url: &'a str,
    /// How the name was proved (RFC 8657 §4).
    pub method: &'a str,
}

/// Why the records do not permit it: of several properties, the reason of the one that came furthest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Forbidden {
    /// No property names this CA.
    #[error("they name other issuers than this CA, or none at all")]
    OtherIssuer,
    /// A value is against the grammar, or has a parameter twice. With its beginning, escaped.
    #[error("the value {0} is malformed, and no well-formed one names this CA")]
    Malformed(String),
    /// `accounturi` is another account's. With the one that is expected.
    #[error("the one that names this CA has another accounturi than this account's, {0}")]
    OtherAccount(String),
    /// `validationmethods` lacks the one that was used.
    #[error("the one that names this CA does not list {0} among its validationmethods")]
    OtherMethod(String),
    /// A critical property that is not known here. With the beginning of its tag, escaped.
    #[error("the one with the tag {0} is critical, and this CA does not know that tag")]
    Critical(String),
}

impl RecordSet {
    /// Of the answer to a question for CAA records; nothing when there are none in it.
    #[must_use]
    pub fn new(at: String, records: Vec<Record>) -> Option<Self> {
        let property = |record| match record {
            Record::Caa { critical, tag, value } => Some(Property { critical, tag, value }),
            Record::Address(_) | Record::Text(_) => None,
        };
        let properties: Vec<_> = records.into_iter().filter_map(property).collect();
        (!properties.is_empty()).then_some(Self { at, properties })
    }

    /// Whether these records let this CA issue (RFC 8659 §4).
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn permit(&self, issuance: &Issuance<'_>) -> Result<(), Forbidden> {
        let known = |tag: &str| ["issue", "issuewild", "iodef"].iter().any(|known| tag.eq_ignore_ascii_case(known));
        if let Some(unknown) = self.properties.iter().find(|property| property.critical && !known(&property.tag)) {
            return Err(Forbidden::Critical(excerpt::of_name(unknown.tag.as_bytes())));
        }
        // For a wildcard `issuewild` counts alone where there is one, and `issue` where there is none (RFC 8659 §4.3).
        let has_issuewild = self.tagged("issuewild").next().is_some();
        let tag = if issuance.wildcard && has_issuewild { "issuewild" } else { "issue" };
        let mut furthest = None;
        for property in self.tagged(tag) {
            match issuance.check(&property.value) {
                Ok(()) => return Ok(()),
                Err(why) => furthest = furthest.max(Some(why)),
            }
        }
        // Records that say nothing about issuing permit it.
        furthest.map_or(Ok(()), Err)
    }

    fn tagged(&self, tag: &'static str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.tag.eq_ignore_ascii_case(tag))
    }
}

impl Issuance<'_> {
    /// Whether one property permits it. Parameters that are not known say nothing.
    fn check(&self, bytes: &[u8]) -> Result<(), Forbidden> {
        let malformed = |_: BadIssueValue| Forbidden::Malformed(excerpt::of_name(bytes));
        let value = IssueValue::parse(bytes).map_err(malformed)?;
        if !self.issuers.iter().any(|issuer| value.names(issuer.as_str())) {
            return Err(Forbidden::OtherIssuer);
        }
        if value.parameter("accounturi").map_err(malformed)?.is_some_and(|account| account != self.account_url) {
            return Err(Forbidden::OtherAccount(self.account_url.to_owned()));
        }
        let methods = value.parameter("validationmethods").map_err(malformed)?;
        if methods.is_some_and(|methods| methods.split(',').all(|method| method != self.method)) {
            return Err(Forbidden::OtherMethod(self.method.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ACCOUNT: &str = "https://ca.test/acct/1";

    fn permit(wildcard: bool, properties: &[(u8, &str, &str)]) -> Result<(), Forbidden> {
        let property = |(flags, tag, value): &(u8, &str, &str)| Property {
            critical: flags & 128 != 0,
            tag: (*tag).to_owned(),
            value: value.as_bytes().to_vec(),
        };
        let set = RecordSet { at: "a.test".to_owned(), properties: properties.iter().map(property).collect() };
        let issuers = ["ca.test".parse().unwrap(), "ca.other.test".parse().unwrap()];
        set.permit(&Issuance { issuers: &issuers, wildcard, account_url: ACCOUNT, method: "dns-01" })
    }

    #[test]
    fn every_set_of_records_permits_or_has_its_reason() {
        use Forbidden::OtherIssuer;
        let critical = || Forbidden::Critical("\"tbs\"".to_owned());
        let malformed = |value: &str| Forbidden::Malformed(format!("\"{value}\""));
        let other_account = || Forbidden::OtherAccount(ACCOUNT.to_owned());
        let method = Forbidden::OtherMethod("dns-01".to_owned());
        type Row<'a> = (&'a [(u8, &'a str, &'a str)], Result<(), Forbidden>);
        let both: [Row<'_>; 22] = [
            (&[(0, "issue", "ca.test")], Ok(())),
            (&[(128, "ISSUE", " CA.test ; x=1")], Ok(())),
            (&[(0, "issue", "ca.other.test")], Ok(())),
            (&[(0, "issue", "other.test"), (0, "issue", "ca.test")], Ok(())),
            (&[(0, "issue", "other.test")], Err(OtherIssuer)),
            (&[(0, "issue", ";")], Err(OtherIssuer)),
            (&[(0, "issue", "")], Err(OtherIssuer)),
            (&[(0, "issue", ";"), (0, "issue", "ca.test")], Ok(())),
            (&[(0, "iodef", "mailto:a@a.test")], Ok(())),
            (&[(0, "tbs", "unknown")], Ok(())),
            (&[(128, "tbs", "unknown")], Err(critical())),
            (&[(128, "tbs", "unknown"), (0, "issue", "ca.test")], Err(critical())),
            (&[(1, "tbs", "a reserved flag"), (0, "issue", "ca.test")], Ok(())),
            (&[(0, "issue", "%%%%")], Err(malformed("%%%%"))),
            (&[(0, "issue", "%%%%"), (0, "issue", "ca.test")], Ok(())),
            (&[(0, "issue", "ca.test; accounturi=https://ca.test/acct/1")], Ok(())),
            (&[(0, "issue", "ca.test; accounturi=https://ca.test/acct/12")], Err(other_account())),
            (
                &[(0, "issue", "ca.test; accounturi=https://ca.test/acct/1; accounturi=x")],
                Err(malformed("ca.test; accounturi=https://ca.test/acct/1; accounturi=x")),
            ),
            (&[(0, "issue", "ca.test; validationmethods=http-01,dns-01")], Ok(())),
            (&[(0, "issue", "ca.test; validationmethods=http-01")], Err(method.clone())),
            (&[(0, "issue", "ca.test; validationmethods=")], Err(method.clone())),
            (
                &[
                    (0, "issue", "ca.test; validationmethods=http-01"),
                    (0, "issue", "ca.test; accounturi=x"),
                    (0, "issue", "other.test"),
                ],
                Err(method),
            ),
        ];
        for (properties, expected) in both {
            for wildcard in [false, true] {
                assert_eq!(permit(wildcard, properties), expected, "{wildcard} {properties:?}");
            }
        }
    }

    #[test]
    fn issuewild_counts_for_wildcards_alone_and_then_in_place_of_issue() {
        type Row<'a> = (&'a [(u8, &'a str, &'a str)], bool, bool);
        let table: [Row<'_>; 6] = [
            (&[(0, "issue", "ca.test"), (0, "issuewild", ";")], true, false),
            (&[(0, "issue", ";"), (0, "issuewild", "ca.test")], false, true),
            (&[(0, "issuewild", "ca.test")], true, true),
            (&[(0, "issuewild", "other.test")], true, false),
            (&[(0, "issuewild", "%%"), (0, "issue", "ca.test")], true, false),
            (&[(128, "issuewild", "ca.test"), (0, "issue", "other.test")], false, true),
        ];
        for (properties, name, wildcard) in table {
            assert_eq!(permit(false, properties).is_ok(), name, "{properties:?}");
            assert_eq!(permit(true, properties).is_ok(), wildcard, "{properties:?}");
        }
    }

    /// EJBCA issued wildcards of names whose only record forbids everything.
    #[test]
    fn a_wildcard_with_issue_of_nobody_and_no_issuewild_is_refused() {
        assert_eq!(permit(true, &[(0, "issue", ";")]), Err(Forbidden::OtherIssuer));
    }

    proptest! {
        #[test]
        fn a_property_of_another_issuer_never_permits(value in prop::collection::vec(any::<u8>(), 0..60), critical: bool) {
            let property = |value| Property { critical, tag: "issue".to_owned(), value };
            let set = RecordSet { at: String::new(), properties: vec![property(value)] };
            let issuers = ["ca.this-is-us.test".parse().unwrap()];
            let issuance = Issuance { issuers: &issuers, wildcard: false, account_url: ACCOUNT, method: "dns-01" };
            prop_assert!(set.permit(&issuance).is_err());
        }
    }
}
