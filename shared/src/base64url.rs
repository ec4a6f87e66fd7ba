//! base64url without padding, as JOSE and ACME write every byte string (RFC 7515 §2).

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that are base64url text without padding on the wire. Padding, white space and the other alphabet are errors
/// (RFC 7515 §2).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base64Url(pub Vec<u8>);

/// The text is not base64url without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64url without padding")]
pub struct NotBase64Url;

/// Encodes bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Decodes text.
///
/// # Errors
/// When the text has padding, a character outside the URL-safe alphabet, or trailing bits that are not zero.
pub fn decode(text: &str) -> Result<Vec<u8>, NotBase64Url> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| NotBase64Url)
}

/// True for the text of PEM, which clients send by mistake where DER belongs.
#[must_use]
pub fn is_pem(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN")
}

/// Decodes text of a known length into an array.
///
/// # Errors
/// As [`decode`], and when the length is another.
pub fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], NotBase64Url> {
    let mut bytes = [0; N];
    let decoded = Base64UrlUnpadded::decode(text, &mut bytes).map_err(|_| NotBase64Url)?;
    if decoded.len() == N { Ok(bytes) } else { Err(NotBase64Url) }
}

impl std::fmt::Debug for Base64Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl Serialize for Base64Url {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        decode(&text).map(Self).map_err(|error| de::Error::custom(format!("{error}: {}", oddity(&text))))
    }
}

/// Returns what a text has that base64url without padding does not.
fn oddity(text: &str) -> &'static str {
    let has = |characters: &[char]| text.contains(characters);
    match text {
        _ if is_pem(text.as_bytes()) => "it is PEM; encode the DER inside of it",
        _ if has(&['+', '/']) => "it has \"+\" or \"/\" of base64, for which base64url has \"-\" and \"_\"",
        _ if has(&['=']) => "it has padding, \"=\"",
        _ if text.contains(char::is_whitespace) => "it has white space",
        _ => "it has another character, or does not end at a whole byte",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_the_standard_alphabet_are_refused() {
        assert_eq!(decode("AQ"), Ok(vec![1]));
        assert_eq!(decode("AQ=="), Err(NotBase64Url));
        assert_eq!(decode("+/+/"), Err(NotBase64Url));
        assert_eq!(decode("A Q"), Err(NotBase64Url));
    }

    #[test]
    fn a_text_that_is_refused_says_why() {
        let table = [
            ("-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n", "it is PEM"),
            ("+/+/", "\"-\" and \"_\""),
            ("AQ==", "padding, "),
            ("A Q", "white space"),
            ("AR", "another character, or"),
        ];
        for (text, why) in table {
            let error = serde_json::from_value::<Base64Url>(text.into()).unwrap_err().to_string();
            assert!(error.starts_with("not base64url without padding: it") && error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn trailing_bits_must_be_zero() {
        assert_eq!(decode("AR"), Err(NotBase64Url));
    }

    #[test]
    fn an_array_has_exactly_its_length() {
        assert_eq!(decode_array::<2>("AQI"), Ok([1, 2]));
        assert_eq!(decode_array::<3>("AQI"), Err(NotBase64Url));
        assert_eq!(decode_array::<1>("AQI"), Err(NotBase64Url));
    }
}
