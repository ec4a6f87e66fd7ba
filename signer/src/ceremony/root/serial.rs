//! Serial numbers of what a root certified, whatever made them: OpenSSL's have 20 octets (RFC 5280 §4.1.2.2).

use std::{fmt, str::FromStr};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use x509_cert::serial_number::SerialNumber as X509SerialNumber;

/// The octets of a serial number at most.
const OCTETS: usize = 20;

/// A positive serial number: big-endian, zeros in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AnySerial([u8; OCTETS]);

impl AnySerial {
    /// From a certificate or a CRL.
    ///
    /// # Errors
    /// When the number is not positive, or has more than 20 octets.
    pub(super) fn from_x509(serial: &X509SerialNumber) -> anyhow::Result<Self> {
        let bytes = serial.as_bytes();
        ensure!(bytes.first().is_none_or(|first| *first < 0x80), "a serial number is negative");
        Self::from_bytes(bytes)
    }

    pub(super) fn to_x509(self) -> anyhow::Result<X509SerialNumber> {
        Ok(X509SerialNumber::new(self.significant())?)
    }

    fn from_bytes(given: &[u8]) -> anyhow::Result<Self> {
        let zeros = given.iter().take_while(|byte| **byte == 0).count();
        let given = given.get(zeros..).unwrap_or_default();
        let mut octets = [0; OCTETS];
        let start = OCTETS.checked_sub(given.len()).context("a serial number has more than 20 octets")?;
        octets.get_mut(start..).unwrap_or_default().copy_from_slice(given);
        match (start, octets.first()) {
            (OCTETS, _) => bail!("a serial number is zero"),
            // With the octet of its sign it has 21.
            (_, Some(0x80..)) => bail!("a serial number has more than 20 octets"),
            _ => Ok(Self(octets)),
        }
    }

    fn significant(&self) -> &[u8] {
        let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
        self.0.get(zeros..).unwrap_or_default()
    }
}

impl FromStr for AnySerial {
    type Err = anyhow::Error;

    /// Hexadecimal digits, with or without colons, as transcripts and OpenSSL write them.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let digits: String = text.chars().filter(|digit| *digit != ':').collect();
        let describe = || format!("{text:?} is not a serial number: 2 to 40 hexadecimal digits");
        ensure!((2..=40).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), describe());
        let padded = format!("{digits:0>40}");
        let (pairs, _) = padded.as_bytes().as_chunks::<2>();
        let octet = |pair: &[u8; 2]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let octets: Option<Vec<u8>> = pairs.iter().map(octet).collect();
        Self::from_bytes(&octets.with_context(describe)?).with_context(describe)
    }
}

impl TryFrom<String> for AnySerial {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: anyhow::Error| format!("{error:#}"))
    }
}

impl From<AnySerial> for String {
    fn from(serial: AnySerial) -> Self {
        serial.to_string()
    }
}

impl fmt::Display for AnySerial {
    /// As ours are written, 32 digits, and longer ones with all of theirs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.significant().iter().map(|octet| format!("{octet:02x}")).collect();
        write!(f, "{digits:0>32}")
    }
}

impl fmt::Debug for AnySerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_of_up_to_20_octets_are_read_and_written() {
        let of_openssl = "6A:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13";
        for text in [of_openssl, "7f0102030405060708090a0b0c0d0e0f", "80", "01"] {
            let serial: AnySerial = text.parse().unwrap();
            assert_eq!(AnySerial::from_x509(&serial.to_x509().unwrap()).unwrap(), serial, "{text}");
            assert_eq!(serial.to_string().parse::<AnySerial>().unwrap(), serial);
            assert!(serial.to_string().ends_with(&text.replace(':', "").to_lowercase()));
        }
        for text in ["", "00", "0x12", &"ff".repeat(20), &"11".repeat(21)] {
            assert!(text.parse::<AnySerial>().is_err(), "{text}");
        }
    }
}
