//! DNS names that a certificate may carry, with or without a wildcard (RFC 5280 §4.2.1.6, RFC 5890).

use std::{fmt, net::IpAddr, str::FromStr};

use crate::identifier::NotAnIdentifier;

/// A DNS name in canonical form: lower case, A-labels, no trailing dot, at most 253 bytes; possibly `*.` before it.
/// Never a single `*`, never a wildcard elsewhere. Source: RFC 5280 §4.2.1.6, RFC 8555 §7.1.3.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name as text, with its `*.` where it is a wildcard.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name below the wildcard; the name itself when there is none.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The same name without its wildcard.
    #[must_use]
    pub fn without_wildcard(&self) -> Self {
        Self(self.base().to_owned())
    }

    /// True when it has no dot: its meaning depends on where it is looked up.
    #[must_use]
    pub fn is_single_label(&self) -> bool {
        !self.0.contains('.')
    }

    /// True when the name is `suffix` or ends in `.suffix`. `suffix` is in canonical form.
    #[must_use]
    pub fn is_within(&self, suffix: &str) -> bool {
        let base = self.base();
        base.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for DnsName {
    type Err = NotAnIdentifier;

    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        if !text.is_ascii() {
            return Err(NotAnIdentifier::NotAscii);
        }
        let name = text.to_ascii_lowercase();
        let (base, wildcard) = match name.strip_prefix("*.") {
            Some("") => return Err(NotAnIdentifier::BadWildcard),
            Some(base) => (base, true),
            None if name.contains('*') => return Err(NotAnIdentifier::BadWildcard),
            None => (name.as_str(), false),
        };
        if base.parse::<IpAddr>().is_ok() {
            return Err(if wildcard { NotAnIdentifier::WildcardAddress } else { NotAnIdentifier::LooksLikeAddress });
        }
        match base.as_bytes() {
            [] => return Err(NotAnIdentifier::Empty),
            [.., last, b'.'] if *last != b'.' => return Err(NotAnIdentifier::TrailingDot),
            _ if name.len() > 253 => return Err(NotAnIdentifier::NameTooLong),
            _ => base.split('.').try_for_each(check_label)?,
        }
        let last = base.rsplit('.').next().unwrap_or_default();
        if is_number(last) { Err(NotAnIdentifier::LooksLikeAddress) } else { Ok(Self(name)) }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_label(label: &str) -> Result<(), NotAnIdentifier> {
    match label.as_bytes() {
        [] => Err(NotAnIdentifier::EmptyLabel),
        bytes if bytes.len() > 63 => Err(NotAnIdentifier::LabelTooLong),
        bytes if bytes.contains(&b'*') => Err(NotAnIdentifier::BadWildcard),
        bytes if bytes.contains(&b'_') => Err(NotAnIdentifier::Underscore),
        bytes if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => {
            Err(NotAnIdentifier::BadCharacter)
        }
        [b'-', ..] | [.., b'-'] => Err(NotAnIdentifier::EdgeHyphen),
        _ => label.strip_prefix("xn--").map_or(Ok(()), check_a_label),
    }
}

/// The Punycode of an A-label: well formed, of at least one character that is not ASCII, and of none that no U-label has (of
/// those, what can be told without the tables of RFC 5892). One label has one Punycode, so lower case is the one spelling.
fn check_a_label(encoded: &str) -> Result<(), NotAnIdentifier> {
    let foreign = |character: char| character.is_control() || character.is_whitespace() || character.is_uppercase();
    let good = extended_characters(encoded).is_some_and(|found| !found.is_empty() && !found.into_iter().any(foreign));
    if good { Ok(()) } else { Err(NotAnIdentifier::BadALabel) }
}

/// The characters that Punycode puts between the ASCII ones, in the order of their numbers; nothing when it is not well
/// formed (RFC 3492 §6.2; where they go is of no interest here).
fn extended_characters(encoded: &str) -> Option<Vec<char>> {
    const BASE: u32 = 36;
    let (ascii, digits) = encoded.rsplit_once('-').unwrap_or(("", encoded));
    if ascii.is_empty() && digits.len() < encoded.len() {
        return None;
    }
    let mut length = u32::try_from(ascii.len()).ok()?;
    let (mut code, mut place, mut bias) = (0x80_u32, 0_u32, 72_u32);
    let mut digits = digits.bytes().peekable();
    let mut found = Vec::new();
    while digits.peek().is_some() {
        let (before, mut weight, mut threshold_from) = (place, 1_u32, BASE);
        loop {
            let digit = match digits.next()? {
                letter @ b'a'..=b'z' => u32::from(letter.checked_sub(b'a')?),
                number @ b'0'..=b'9' => u32::from(number.checked_sub(b'0')?).checked_add(26)?,
                _ => return None,
            };
            place = place.checked_add(digit.checked_mul(weight)?)?;
            let threshold = threshold_from.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(BASE.checked_sub(threshold)?)?;
            threshold_from = threshold_from.checked_add(BASE)?;
        }
        length = length.checked_add(1)?;
        bias = adapted_bias(place.checked_sub(before)?, length, found.is_empty())?;
        code = code.checked_add(place.checked_div(length)?)?;
        place = place.checked_rem(length)?.checked_add(1)?;
        found.push(char::from_u32(code)?);
    }
    Some(found)
}

/// RFC 3492 §6.1.
fn adapted_bias(delta: u32, length: u32, first: bool) -> Option<u32> {
    let delta = delta.checked_div(if first { 700 } else { 2 })?;
    let mut delta = delta.checked_add(delta.checked_div(length)?)?;
    let mut bias = 0_u32;
    while delta > 455 {
        delta = delta.checked_div(35)?;
        bias = bias.checked_add(36)?;
    }
    bias.checked_add(delta.checked_mul(36)?.checked_div(delta.checked_add(38)?)?)
}

/// What some parsers of addresses take for a number: decimal, or hexadecimal behind `0x`.
fn is_number(label: &str) -> bool {
    let hexadecimal =
        label.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use idna::punycode;
    use proptest::prelude::*;

    fn dns(text: &str) -> Result<DnsName, NotAnIdentifier> {
        text.parse()
    }

    #[test]
    fn names_are_folded_to_lower_case() {
        assert_eq!(dns("A.Example").unwrap().as_str(), "a.example");
    }

    #[test]
    fn what_is_not_a_name_says_why() {
        use NotAnIdentifier::*;
        let long_label = "a".repeat(64) + ".test";
        let long_name = "a.".repeat(125) + "test";
        let long_wildcard = "*.".to_owned() + &"a.".repeat(124) + "test";
        let table = [
            ("", Empty),
            (".", EmptyLabel),
            ("..", EmptyLabel),
            (".a.test", EmptyLabel),
            ("a..test", EmptyLabel),
            ("a.test..", EmptyLabel),
            ("a.test.", TrailingDot),
            ("test.", TrailingDot),
            ("*.a.test.", TrailingDot),
            (&long_label, LabelTooLong),
            (&long_name, NameTooLong),
            (&long_wildcard, NameTooLong),
            ("-a.test", EdgeHyphen),
            ("a-.test", EdgeHyphen),
            ("-", EdgeHyphen),
            ("a_b.test", Underscore),
            ("_acme-challenge.a.test", Underscore),
            ("ä.test", NotAscii),
            ("a。test", NotAscii),
            ("a b.test", BadCharacter),
            ("a.test:80", BadCharacter),
            ("a.test/", BadCharacter),
            ("a.test\0", BadCharacter),
            ("*", BadWildcard),
            ("*.", BadWildcard),
            ("a.*.test", BadWildcard),
            ("*.*.test", BadWildcard),
            ("a*.test", BadWildcard),
            ("*a.test", BadWildcard),
            ("**.test", BadWildcard),
            ("*.1.2.3.4", WildcardAddress),
            ("*.::1", WildcardAddress),
            ("1.2.3.4", LooksLikeAddress),
            ("::1", LooksLikeAddress),
            ("1.2.3", LooksLikeAddress),
            ("a.1", LooksLikeAddress),
            ("2130706433", LooksLikeAddress),
            ("0x7f000001", LooksLikeAddress),
            ("127.0.0.0x1", LooksLikeAddress),
            ("[::1]", BadCharacter),
        ];
        for (text, why) in table {
            assert_eq!(dns(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn names_as_long_as_they_may_be_are_names() {
        let label = "a".repeat(63);
        assert!(dns(&format!("{label}.test")).is_ok());
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(dns(&longest).is_ok());
        assert_eq!(dns(&(longest + "a")), Err(NotAnIdentifier::NameTooLong));
    }

    #[test]
    fn a_labels_stand_for_u_labels_in_their_one_spelling() {
        // bücher, россия, 例え, faß, कॉम
        for text in ["xn--bcher-kva.test", "XN--H1ALFFA9F.test", "xn--r8jz45g", "*.xn--fa-hia.test", "xn--11b4c3d.test"]
        {
            assert_eq!(dns(text).map(|name| name.as_str().to_owned()), Ok(text.to_ascii_lowercase()));
        }
        // No Punycode, an overflow, U+0080, U+00A0, Ä.
        for text in ["xn--0", "xn--99999999", "xn--a", "xn--6a.test", "a.xn--7ba.test"] {
            assert_eq!(dns(text), Err(NotAnIdentifier::BadALabel), "{text}");
        }
        assert_eq!(dns("xn---4ca.test"), Err(NotAnIdentifier::BadALabel));
        // Punycode of ASCII alone, which ends in a hyphen.
        assert_eq!(dns("xn--abc-.test"), Err(NotAnIdentifier::EdgeHyphen));
    }

    #[test]
    fn a_suffix_matches_whole_labels_only() {
        let name = dns("*.a.test").unwrap();
        assert!(name.is_wildcard() && name.is_within("test") && name.is_within("a.test"));
        assert!(!name.is_within("est") && !name.is_within("b.a.test"));
        assert!(!dns("atest").unwrap().is_within("test"));
        assert!(dns("localhost").unwrap().is_single_label() && !dns("*.localhost").unwrap().is_single_label());
    }
    proptest! {
        #[test]
        fn punycode_is_read_as_another_implementation_reads_it(encoded in "[a-z0-9-]{0,20}", label in "\\PC{1,8}") {
            let extended = |label: Vec<char>| {
                let mut found: Vec<_> = label.into_iter().filter(|character| !character.is_ascii()).collect();
                found.sort_unstable();
                found
            };
            prop_assert_eq!(extended_characters(&encoded), punycode::decode(&encoded).map(extended));
            let label: Vec<char> = label.chars().collect();
            let encoded = punycode::encode(&label).unwrap();
            prop_assert_eq!(extended_characters(&encoded), Some(extended(label)));
        }
    }
}
