//! What a YubiKey says about an attested key: extensions of Yubico's arc 1.3.6.1.4.1.41482.3.

use std::fmt;

use anyhow::{Context, ensure};
use der::{
    Decode,
    asn1::{ObjectIdentifier, OctetStringRef, UintRef},
};
use serde::Serialize;

use super::chain::AttestationCertificate;

/// Three bytes.
const FIRMWARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.3");
/// An INTEGER.
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.7");
/// Two bytes: PIN policy, touch policy.
const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
/// One byte.
const FORM_FACTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.9");

/// The device and the policies of the key.
#[derive(Debug, Serialize)]
pub(crate) struct Claims {
    /// As the subject of the attestation names it: `9a`.
    slot: Option<String>,
    /// `5.7.4`
    firmware: String,
    /// As it is printed on the device. Security keys of some editions have none.
    serial: Option<u64>,
    pub(super) pin_policy: PinPolicy,
    pub(super) touch_policy: TouchPolicy,
    /// None before firmware 5.
    form_factor: Option<String>,
}

/// When the PIN is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PinPolicy {
    Never,
    Once,
    Always,
    MatchOnce,
    MatchAlways,
}

/// When a touch is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TouchPolicy {
    Never,
    Always,
    Cached,
}

impl Claims {
    /// Reads them. A certificate without firmware version and policies is no attestation: the key may be from anywhere.
    pub(super) fn read(attestation: &AttestationCertificate) -> anyhow::Result<Self> {
        const NONE: &str = "not the attestation of a key that was made in a device: it lacks";
        let firmware = attestation.extension(&FIRMWARE)?.with_context(|| format!("{NONE} the firmware version"))?;
        let firmware = match bytes(&firmware) {
            [major, minor, patch] => format!("{major}.{minor}.{patch}"),
            _ => anyhow::bail!("the firmware version is not three bytes"),
        };
        let policy = attestation.extension(&POLICY)?.with_context(|| format!("{NONE} the PIN and touch policy"))?;
        let (pin_policy, touch_policy) = match bytes(&policy) {
            [pin, touch] => (PinPolicy::of(*pin)?, TouchPolicy::of(*touch)?),
            _ => anyhow::bail!("the PIN and touch policy is not two bytes"),
        };
        let serial = attestation.extension(&SERIAL)?.map(|der| number(&der)).transpose()?;
        let form_factor = attestation.extension(&FORM_FACTOR)?.map(|value| form_factor(&value)).transpose()?;
        Ok(Self { slot: attestation.slot(), firmware, serial, pin_policy, touch_policy, form_factor })
    }
}

impl PinPolicy {
    fn of(byte: u8) -> anyhow::Result<Self> {
        Ok(match byte {
            1 => Self::Never,
            2 => Self::Once,
            3 => Self::Always,
            4 => Self::MatchOnce,
            5 => Self::MatchAlways,
            other => anyhow::bail!("the PIN policy {other} is unknown"),
        })
    }
}

impl TouchPolicy {
    fn of(byte: u8) -> anyhow::Result<Self> {
        Ok(match byte {
            1 => Self::Never,
            2 => Self::Always,
            3 => Self::Cached,
            other => anyhow::bail!("the touch policy {other} is unknown"),
        })
    }
}

/// The bytes of a value, bare as the maker's page says, or in an OCTET STRING.
fn bytes(value: &[u8]) -> &[u8] {
    match <&OctetStringRef>::from_der(value) {
        Ok(inner) if value.len() > 2 => inner.as_bytes(),
        _ => value,
    }
}

fn number(der: &[u8]) -> anyhow::Result<u64> {
    let number = UintRef::from_der(der).context("the serial number is not a number")?;
    let bytes = number.as_bytes();
    ensure!(bytes.len() <= 8, "the serial number is too large");
    Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn form_factor(value: &[u8]) -> anyhow::Result<String> {
    let [byte] = bytes(value) else { anyhow::bail!("the form factor is not one byte") };
    let shape = match byte & 0x0f {
        1 => "USB-A keychain",
        2 => "USB-A nano",
        3 => "USB-C keychain",
        4 => "USB-C nano",
        5 => "USB-C and Lightning",
        6 => "USB-A with fingerprint reader",
        7 => "USB-C with fingerprint reader",
        _ => "unknown",
    };
    let fips = if byte & 0x80 == 0 { "" } else { ", FIPS" };
    Ok(format!("{shape}{fips}"))
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".into());
        writeln!(f, "slot: {}", or_unknown(&self.slot))?;
        writeln!(f, "firmware: {}", self.firmware)?;
        writeln!(f, "serial number: {}", or_unknown(&self.serial.map(|serial| serial.to_string())))?;
        let policies = (serde_json::json!(self.pin_policy), serde_json::json!(self.touch_policy));
        let (pin, touch) = (policies.0.as_str().unwrap_or_default(), policies.1.as_str().unwrap_or_default());
        write!(f, "PIN policy: {pin}\ntouch policy: {touch}\nform factor: {}", or_unknown(&self.form_factor))
    }
}
