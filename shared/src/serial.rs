//! Serial numbers: 127 random bits, positive, never zero (RFC 5280 §4.1.2.2).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_cert::serial_number::SerialNumber as X509SerialNumber;

/// The serial number of a certificate: 16 bytes, big-endian, the top bit clear. As text 32 lower-case hex digits.
/// Its first byte names the status shard. Source: RFC 5280 §4.1.2.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SerialNumber([u8; 16]);

/// Not a serial number that this CA gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a serial number: 32 lower-case hex digits, the top bit clear, not zero")]
pub struct NotASerialNumber;

impl SerialNumber {
    /// From 16 fresh random bytes; the top bit is dropped, so 127 bits are random. Zero, which is as likely as a
    /// collision, becomes one.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        if let Some(first) = bytes.first_mut() {
            *first &= 0x7f;
        }
        if bytes == [0; 16] {
            bytes = 1_u128.to_be_bytes();
        }
        Self(bytes)
    }

    /// The value as 16 bytes, big-endian.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// For a certificate: a DER INTEGER of the shortest form.
    ///
    /// # Errors
    /// Never for a value of this type; the library's bound is its own.
    pub fn to_x509(&self) -> Result<X509SerialNumber, NotASerialNumber> {
        let start = self.0.iter().position(|byte| *byte != 0).unwrap_or(15);
        X509SerialNumber::new(self.0.get(start..).unwrap_or_default()).map_err(|_| NotASerialNumber)
    }

    /// From a certificate that was parsed.
    ///
    /// # Errors
    /// As [`Self::from_integer`].
    pub fn from_x509(serial: &X509SerialNumber) -> Result<Self, NotASerialNumber> {
        Self::from_integer(serial.as_bytes())
    }

    /// From the content of a DER INTEGER.
    ///
    /// # Errors
    /// When the number is zero, negative, or wider than 127 bits.
    pub fn from_integer(given: &[u8]) -> Result<Self, NotASerialNumber> {
        let mut bytes = [0; 16];
        let given = match given {
            // The sign is the top bit of the first byte.
            [128..=255, ..] => return Err(NotASerialNumber),
            other => other,
        };
        let given = match given {
            [0, rest @ ..] => rest,
            other => other,
        };
        let start = bytes.len().checked_sub(given.len()).ok_or(NotASerialNumber)?;
        bytes.get_mut(start..).ok_or(NotASerialNumber)?.copy_from_slice(given);
        Self::checked(bytes)
    }

    fn checked(bytes: [u8; 16]) -> Result<Self, NotASerialNumber> {
        let value = u128::from_be_bytes(bytes);
        if value == 0 || value > u128::MAX >> 1 { Err(NotASerialNumber) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SerialNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SerialNumber {
    type Err = NotASerialNumber;

    fn from_str(text: &str) -> Result<Self, NotASerialNumber> {
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(NotASerialNumber);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| NotASerialNumber)?;
        Self::checked(value.to_be_bytes())
    }
}

impl Serialize for SerialNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SerialNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_become_a_positive_number_that_is_not_zero() {
        assert_eq!(SerialNumber::from_random([0xff; 16]).to_string(), format!("7f{}", "ff".repeat(15)));
        assert_eq!(SerialNumber::from_random([0; 16]).to_string(), format!("{}01", "00".repeat(15)));
    }

    #[test]
    fn x509_form_and_back_is_the_same_number() {
        for bytes in [[0xff; 16], [0; 16], [0, 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]] {
            let serial = SerialNumber::from_random(bytes);
            assert_eq!(SerialNumber::from_x509(&serial.to_x509().unwrap()), Ok(serial));
        }
    }

    #[test]
    fn text_that_is_not_ours_is_refused() {
        for text in ["", "00", &"00".repeat(16), &"ff".repeat(16), &"AB".repeat(16), &"+1".repeat(16)] {
            assert_eq!(text.parse::<SerialNumber>(), Err(NotASerialNumber), "{text}");
        }
    }
}
