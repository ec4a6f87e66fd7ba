//! Names of CAs as Go, OpenSSL and Java parse them: the string types and the lengths of RFC 5280 (§4.1.2.4, appendix A.1).

use anyhow::{Context, bail, ensure};
use der::{
    Tag, Tagged,
    oid::db::{rfc3280::EMAIL_ADDRESS, rfc4519 as oid},
};
use x509_cert::name::Name;

/// Checks a CA's name.
///
/// # Errors
/// Names the attribute and the rule that it breaks.
pub(super) fn check(name: &Name) -> anyhow::Result<()> {
    ensure!(name.iter().next().is_some(), "the subject of a CA is not empty");
    for attribute in name.iter() {
        let shown = attribute.to_string();
        let (value, tag) = (attribute.value.value(), attribute.value.tag());
        let text = std::str::from_utf8(value).with_context(|| format!("{shown}: the value is not UTF-8"))?;
        let expected: &[Tag] = match attribute.oid {
            oid::COUNTRY_NAME | oid::SERIAL_NUMBER | oid::DN_QUALIFIER => &[Tag::PrintableString],
            oid::DOMAIN_COMPONENT | EMAIL_ADDRESS => &[Tag::Ia5String],
            _ => &[Tag::Utf8String, Tag::PrintableString],
        };
        ensure!(
            expected.contains(&tag),
            "{shown}: the value is a {tag}, and RFC 5280 (appendix A.1) has it as {expected:?}"
        );
        let in_range = match tag {
            Tag::PrintableString => text.bytes().all(is_printable),
            Tag::Ia5String => text.is_ascii(),
            _ => !text.contains(char::is_control),
        };
        ensure!(in_range, "{shown}: the value has characters that a {tag} does not have");
        let (length, most) = (text.chars().count(), upper_bound(attribute.oid));
        match attribute.oid {
            oid::COUNTRY_NAME if length != 2 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                bail!("{shown}: a country is two capital letters (ISO 3166), such as C=DE")
            }
            _ => ensure!(
                (1..=most).contains(&length),
                "{shown}: the value has {length} characters, and 1 to {most} are allowed (RFC 5280 appendix A.1)"
            ),
        }
    }
    Ok(())
}

/// The upper bounds of RFC 5280, appendix A.1; 64 for attributes that it does not name.
fn upper_bound(attribute: der::asn1::ObjectIdentifier) -> usize {
    match attribute {
        oid::LOCALITY_NAME | oid::ST | oid::STREET => 128,
        EMAIL_ADDRESS => 255,
        _ => 64,
    }
}

/// A character of a PrintableString (X.680 §41.4).
const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'\'' | b'(' | b')' | b'+'..=b'/' | b':' | b'=' | b'?')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceremony::subject;

    #[test]
    fn names_are_of_the_types_and_lengths_of_rfc_5280() {
        let long = |kind: &str, length: usize| format!("CN=Root,{kind}={}", "x".repeat(length));
        for good in
            ["CN=Example Root,O=Example,C=DE".to_owned(), "CN=Prüfung".to_owned(), long("O", 64), long("L", 128)]
        {
            assert!(subject(&good).is_ok(), "{good}");
        }
        let name = subject("CN=Example Root,C=DE").unwrap();
        let country = name.iter().find(|attribute| attribute.oid == oid::COUNTRY_NAME).unwrap();
        assert_eq!(country.value.tag(), Tag::PrintableString);
        for (bad, said) in [
            ("CN=Root,C=Germany".to_owned(), "two capital letters"),
            ("CN=Root,C=de".to_owned(), "two capital letters"),
            ("CN=Root,C=".to_owned(), "C="),
            ("CN=".to_owned(), "CN="),
            (long("CN", 65), "1 to 64"),
            (long("O", 65), "1 to 64"),
            (long("ST", 129), "1 to 128"),
            (String::new(), "distinguished name"),
        ] {
            let why = subject(&bad).map_or_else(|error| format!("{error:#}"), |name| format!("accepted as {name}"));
            assert!(why.contains(said) || why.contains("is not empty"), "{bad:?}: {why}");
        }
        assert!(check(&Name::default()).is_err());
        // A request of another tool may have any string type: a country as UTF8String, an organisation as TeletexString.
        for (place, tag, said) in [(0, 0x0c, "appendix A.1"), (1, 0x14, "appendix A.1")] {
            let mut der = der::Encode::to_der(&subject("O=Example,C=DE").unwrap()).unwrap();
            let tags: Vec<usize> = (0..der.len()).filter(|index| der[*index] == [0x13, 0x0c][place]).collect();
            der[*tags.last().unwrap()] = tag;
            let name: Name = der::Decode::from_der(&der).unwrap();
            assert!(check(&name).unwrap_err().to_string().contains(said), "{tag:#x}");
        }
    }
}
