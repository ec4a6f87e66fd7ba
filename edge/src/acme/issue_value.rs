//! The value of an `issue` or `issuewild` property (RFC 8659 §4.2), which persistent records in TXT have too
//! (draft-ietf-acme-dns-persist §4): an issuer's domain name and parameters.

/// Parameters that are read at most; a value with more is malformed.
const MAX_PARAMETERS: usize = 32;

/// A value that keeps to the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueValue<'a> {
    /// As it was written; nothing where the value names nobody, which permits nobody.
    pub issuer: Option<&'a str>,
    parameters: Vec<(&'a str, &'a str)>,
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIssueValue {
    /// Against the grammar; such a property permits nobody (RFC 8659 §4.2).
    #[error("it is malformed")]
    Malformed,
    /// A parameter that may be there once is there twice; which one counts is nobody's to guess (RFC 8657 §3, §4).
    #[error("it has a parameter twice")]
    Twice,
}

impl<'a> IssueValue<'a> {
    /// Reads a value.
    ///
    /// # Errors
    /// [`BadIssueValue::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadIssueValue> {
        let text = str::from_utf8(bytes).map_err(|_| BadIssueValue::Malformed)?;
        let (issuer, rest) = match text.split_once(';') {
            Some((issuer, rest)) => (trim(issuer), trim(rest)),
            None => (trim(text), ""),
        };
        let well_formed = issuer.is_empty() || issuer.split('.').all(is_label);
        let issuer = (!issuer.is_empty()).then_some(issuer);
        // A semicolon with nothing behind it is no parameter.
        let written = (!rest.is_empty()).then_some(rest);
        let parameters: Option<Vec<_>> = written
            .into_iter()
            .flat_map(|rest| rest.split(';'))
            .take(MAX_PARAMETERS.saturating_add(1))
            .map(parameter)
            .collect();
        match parameters {
            Some(parameters) if well_formed && parameters.len() <= MAX_PARAMETERS => Ok(Self { issuer, parameters }),
            _ => Err(BadIssueValue::Malformed),
        }
    }

    /// The value of a parameter, whatever the case of its tag.
    ///
    /// # Errors
    /// [`BadIssueValue::Twice`].
    pub fn parameter(&self, tag: &str) -> Result<Option<&'a str>, BadIssueValue> {
        let mut values =
            self.parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag)).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(BadIssueValue::Twice),
        }
    }

    /// Whether it names this issuer; domain names have no case.
    #[must_use]
    pub fn names(&self, issuer: &str) -> bool {
        self.issuer.is_some_and(|named| named.eq_ignore_ascii_case(issuer))
    }
}

fn parameter(text: &str) -> Option<(&str, &str)> {
    let (tag, value) = text.split_once('=')?;
    let (tag, value) = (trim(tag), trim(value));
    (is_label(tag) && value.bytes().all(|byte| byte.is_ascii_graphic())).then_some((tag, value))
}

/// Letters and digits, and hyphens between them.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IssueValue<'_>, BadIssueValue> {
        IssueValue::parse(text.as_bytes())
    }

    #[test]
    fn the_examples_of_the_rfcs_are_read() {
        // RFC 8659 §4.2 and §4.3, RFC 8657 §5.
        let table = [
            ("ca1.example.net", Some("ca1.example.net"), None),
            ("ca1.example.net; account=230123", Some("ca1.example.net"), Some("230123")),
            (";", None, None),
            ("", None, None),
            (" \t; ", None, None),
            (" ca \t ;\taccount = 1 ; x=", Some("ca"), Some("1")),
            ("ca; ACCOUNT=a=b", Some("ca"), Some("a=b")),
        ];
        for (text, issuer, account) in table {
            let value = parse(text).unwrap();
            assert_eq!((value.issuer, value.parameter("account").unwrap()), (issuer, account), "{text:?}");
        }
    }

    #[test]
    fn what_is_against_the_grammar_is_malformed() {
        let table = [
            "%%%%%",
            "ca..net",
            ".ca",
            "ca.",
            "-ca",
            "ca-",
            "ca net",
            "ca; x",
            "ca; =1",
            "ca; x=1;",
            "ca;; x=1",
            "ca; a_b=1",
            "ca; x=1 2",
            "ca; x=\u{e9}",
            "ca; x=\u{1}",
            "\nca",
        ];
        for text in table {
            assert_eq!(parse(text), Err(BadIssueValue::Malformed), "{text:?}");
        }
        assert_eq!(IssueValue::parse(b"ca\xff"), Err(BadIssueValue::Malformed));
        let many = |number| format!("ca;{}", vec!["x=1"; number].join(";"));
        assert!(parse(&many(MAX_PARAMETERS)).is_ok());
        assert!(parse(&many(MAX_PARAMETERS + 1)).is_err());
    }

    #[test]
    fn a_parameter_that_is_there_twice_has_no_value() {
        assert_eq!(parse("ca; a=1; A=1").unwrap().parameter("a"), Err(BadIssueValue::Twice));
        assert_eq!(parse("ca; a=1; A=1").unwrap().parameter("b"), Ok(None));
    }

    #[test]
    fn issuers_have_no_case() {
        assert!(parse("CA.test").unwrap().names("ca.TEST"));
        assert!(!parse("ca.test").unwrap().names("a.test"));
        assert!(!parse(";").unwrap().names(""));
    }
}
