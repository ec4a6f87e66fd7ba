//! PKCS#11 URIs (RFC 7512): hints for where to look for a key. What decides is the key's public half.

use serde::{Deserialize, Serialize};

/// The part of a PKCS#11 URI that is understood here: which token, which object. Source: RFC 7512 §2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenUri {
    /// The token's label.
    pub(crate) token: Option<String>,
    /// The token's serial number.
    pub(crate) serial: Option<String>,
    /// The key's label.
    pub(crate) object: Option<String>,
    /// The key's identifier.
    pub(crate) id: Option<Vec<u8>>,
}

/// Why a text is not such a URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadUri {
    /// Another scheme.
    #[error("a token's uri starts with \"pkcs11:\"")]
    Scheme,
    /// An attribute without a value, or with a broken percent escape.
    #[error("the attribute {0:?} of the uri is not \"name=value\" with percent escapes")]
    Attribute(String),
    /// An attribute that is not known, or stands twice. PINs in URIs are among those.
    #[error("the attribute {0:?} of the uri is unknown or stands twice; known are token, serial, object and id")]
    Unknown(String),
}

impl std::str::FromStr for TokenUri {
    type Err = BadUri;

    fn from_str(text: &str) -> Result<Self, BadUri> {
        let path = text.strip_prefix("pkcs11:").ok_or(BadUri::Scheme)?;
        let mut uri = Self::default();
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let bad = || BadUri::Attribute(attribute.to_owned());
            let (name, value) = attribute.split_once('=').ok_or_else(bad)?;
            let value = percent_decode(value).ok_or_else(bad)?;
            let as_text = |value: Vec<u8>| String::from_utf8(value).map_err(|_| bad());
            let taken = match name {
                "token" => uri.token.replace(as_text(value)?).is_some(),
                "serial" => uri.serial.replace(as_text(value)?).is_some(),
                "object" => uri.object.replace(as_text(value)?).is_some(),
                "id" => uri.id.replace(value).is_some(),
                _ => true,
            };
            if taken {
                return Err(BadUri::Unknown(name.to_owned()));
            }
        }
        Ok(uri)
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (hex_digit(bytes.next()?)?, hex_digit(bytes.next()?)?);
                high << 4 | low
            }
            b'?' | b'#' => return None,
            other => other,
        });
    }
    Some(decoded)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_read_with_their_escapes() {
        let uri: TokenUri = "pkcs11:token=My%20token;object=issuing;id=%01%fF".parse().unwrap();
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert_eq!((uri.object.as_deref(), uri.id.as_deref()), (Some("issuing"), Some(&[1, 255][..])));
        assert_eq!("pkcs11:".parse(), Ok(TokenUri::default()));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let parse = |text: &str| text.parse::<TokenUri>().unwrap_err();
        assert_eq!(parse("token=a"), BadUri::Scheme);
        assert_eq!(parse("pkcs11:token"), BadUri::Attribute("token".into()));
        assert_eq!(parse("pkcs11:id=%0"), BadUri::Attribute("id=%0".into()));
        assert_eq!(parse("pkcs11:slot-id=1"), BadUri::Unknown("slot-id".into()));
        assert_eq!(parse("pkcs11:token=a;token=b"), BadUri::Unknown("token".into()));
        assert_eq!(parse("pkcs11:token=a?pin-value=1234"), BadUri::Attribute("token=a?pin-value=1234".into()));
    }
}
