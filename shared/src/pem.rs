//! The one reader of files in PEM (RFC 7468): text around the blocks, a byte-order mark, line ends of any system and blank lines are
//! accepted, and a block that cannot be used is an error with its number. No block is ever dropped.

use base64ct::{Base64, Encoding};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const BOM: char = '\u{feff}';

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Certificates (RFC 7468 §5).
    Certificate,
    /// Certification requests (RFC 7468 §7).
    Request,
    /// CRLs (RFC 7468 §6).
    Crl,
    /// Public keys (RFC 7468 §13).
    PublicKey,
}

/// Why a file in PEM is refused. Blocks and lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPem {
    /// Neither PEM nor DER.
    #[error("there is no block -----BEGIN {0}----- in it, and it is not DER")]
    Nothing(&'static str),
    /// More blocks than one where one is expected.
    #[error("one block of {label} is expected, and there are {count}")]
    Several {
        /// What is expected.
        label: &'static str,
        /// How many there are.
        count: usize,
    },
    /// A block of another kind.
    #[error("block {number} is {seen}, where {label} is expected: take it out of the file")]
    Label {
        /// Which block.
        number: usize,
        /// Its label, where it is a known one.
        seen: &'static str,
        /// What is expected.
        label: &'static str,
    },
    /// A line that looks like a block's first or last one, and is none.
    #[error("line {0} is not a first or last line of a block as RFC 7468 writes it, with five hyphens on each side")]
    Boundary(usize),
    /// A block without its last line, or with one of another label.
    #[error("block {0} has no last line -----END ...----- of its own label")]
    Open(usize),
    /// A block that is not base64.
    #[error("block {0} is not base64")]
    Base64(usize),
}

impl Label {
    /// The labels that are read; the first one is written.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Certificate => &["CERTIFICATE", "X509 CERTIFICATE", "X.509 CERTIFICATE"],
            Self::Request => &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
            Self::Crl => &["X509 CRL"],
            Self::PublicKey => &["PUBLIC KEY"],
        }
    }

    fn name(self) -> &'static str {
        self.names().first().copied().unwrap_or_default()
    }
}

/// Returns the DER of every block of a file, or the file itself when it is one element of DER; at least one.
///
/// # Errors
/// The first thing that is wrong; see [`BadPem`].
pub fn read(file: &[u8], label: Label) -> Result<Vec<Vec<u8>>, BadPem> {
    if is_der(file) {
        return Ok(vec![file.to_vec()]);
    }
    let text = String::from_utf8_lossy(file).replace("\r\n", "\n");
    let mut ders = Vec::new();
    let mut block: Option<(&str, String)> = None;
    for (position, line) in text.split(['\n', '\r']).enumerate() {
        let line = line.trim_start_matches(BOM).trim();
        let number = ders.len().saturating_add(1);
        match &mut block {
            None => block = first_line(line, position.saturating_add(1))?.map(|name| (name, String::new())),
            Some((name, _)) if line.starts_with(DASHES) => {
                if boundary(line, END) != Some(*name) {
                    return Err(BadPem::Open(number));
                }
                if !label.names().contains(name) {
                    return Err(BadPem::Label { number, seen: known(name), label: label.name() });
                }
                let (_, body) = block.take().unwrap_or_default();
                ders.push(Base64::decode_vec(&body).map_err(|_| BadPem::Base64(number))?);
            }
            Some((_, body)) => body.extend(line.split_ascii_whitespace()),
        }
    }
    match (block, ders.is_empty()) {
        (Some(_), _) => Err(BadPem::Open(ders.len().saturating_add(1))),
        (None, true) => Err(BadPem::Nothing(label.name())),
        (None, false) => Ok(ders),
    }
}

/// Returns the DER of the one block of a file, or the file itself when it is one element of DER.
///
/// # Errors
/// As [`read`], and when there are several blocks.
pub fn read_one(file: &[u8], label: Label) -> Result<Vec<u8>, BadPem> {
    let ders = read(file, label)?;
    let count = ders.len();
    <[Vec<u8>; 1]>::try_from(ders).map(|[der]| der).map_err(|_| BadPem::Several { label: label.name(), count })
}

/// Returns a text without the byte-order mark and the blanks around it, for the readers of private keys, which erase what they read.
#[must_use]
pub fn trimmed(text: &str) -> &str {
    text.trim_start_matches(BOM).trim()
}

/// The label of a block's first line; nothing for explanatory text.
fn first_line(line: &str, number: usize) -> Result<Option<&str>, BadPem> {
    if let Some(name) = boundary(line, BEGIN) {
        return Ok(Some(name));
    }
    let looks_like_one = line.starts_with('-') && (line.contains("BEGIN ") || line.contains("END "));
    if looks_like_one || line.contains(BEGIN) || line.contains(END) {
        return Err(BadPem::Boundary(number));
    }
    Ok(None)
}

fn boundary<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(DASHES)
}

/// The name of a label, if it is a usual one: nothing else of a file is put into a message.
fn known(name: &str) -> &'static str {
    const KNOWN: [&str; 13] = [
        "CERTIFICATE",
        "X509 CERTIFICATE",
        "TRUSTED CERTIFICATE",
        "CERTIFICATE REQUEST",
        "NEW CERTIFICATE REQUEST",
        "X509 CRL",
        "PKCS7",
        "PUBLIC KEY",
        "PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PARAMETERS",
    ];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("of an unknown label")
}

/// True when the bytes are one SEQUENCE of DER, whole, by its length.
fn is_der(file: &[u8]) -> bool {
    <&der::asn1::SequenceRef as der::Decode>::from_der(file).is_ok()
}
