//! The certificate of a server that a probe talks to, as far as probes need it: the public key and the extensions. Everything else
//! (version, serial number, names, dates, the signature) is skipped as it is: RFC 8737 demands nothing of it, and responders write
//! dates of the year 1, serial numbers of any length and versions of every kind.

use der::{Reader, SliceReader, Tag, TagNumber, asn1::AnyRef};

/// What is read of a certificate (RFC 5280 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponderCertificate<'a> {
    /// The SubjectPublicKeyInfo, DER as it was sent.
    pub public_key: &'a [u8],
    /// In their order.
    pub extensions: Vec<Extension<'a>>,
}

/// One extension (RFC 5280 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The content octets of its object identifier.
    pub oid: &'a [u8],
    /// Whether software that does not know it must refuse the certificate.
    pub critical: bool,
    /// The content of its OCTET STRING.
    pub value: &'a [u8],
}

/// The bytes are no certificate, as far as they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate")]
pub struct NotACertificate;

/// The tag of the version (RFC 5280 §4.1.2.1) and that of the extensions (§4.1.2.9).
const VERSION: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };

impl<'a> ResponderCertificate<'a> {
    /// Parses a certificate, DER.
    ///
    /// # Errors
    /// [`NotACertificate`].
    pub fn parse(der: &'a [u8]) -> Result<Self, NotACertificate> {
        let mut outer = SliceReader::new(der).map_err(|_| NotACertificate)?;
        let mut certificate = sequence(&mut outer)?;
        if !outer.is_finished() {
            return Err(NotACertificate);
        }
        let mut fields = sequence(&mut certificate)?;
        if Tag::peek(&fields).map_err(|_| NotACertificate)? == VERSION {
            raw(&mut fields)?;
        }
        // Serial number, signature algorithm, issuer, validity, subject.
        for _ in 0..5 {
            raw(&mut fields)?;
        }
        let public_key = raw(&mut fields)?;
        let mut extensions = Vec::new();
        while !fields.is_finished() {
            let field = any(&mut fields)?;
            // Before them are the unique identifiers (RFC 5280 §4.1.2.8).
            if der::Tagged::tag(&field) == EXTENSIONS {
                let mut explicit = SliceReader::new(field.value()).map_err(|_| NotACertificate)?;
                let mut list = sequence(&mut explicit)?;
                while !list.is_finished() {
                    extensions.push(Extension::read(&mut sequence(&mut list)?)?);
                }
            }
        }
        Ok(Self { public_key, extensions })
    }

    /// Returns the extension with this object identifier; nothing when there are none or several (RFC 5280 §4.2).
    #[must_use]
    pub fn single(&self, oid: &const_oid::ObjectIdentifier) -> Option<Extension<'a>> {
        let mut found = self.extensions.iter().filter(|extension| extension.oid == oid.as_bytes());
        found.next().filter(|_| found.next().is_none()).copied()
    }
}

impl<'a> Extension<'a> {
    fn read(reader: &mut SliceReader<'a>) -> Result<Self, NotACertificate> {
        let oid = of_tag(any(reader)?, Tag::ObjectIdentifier)?;
        let next = any(reader)?;
        // Any byte but zero is true, as in BER: some write 1 in place of 255.
        let (critical, value) = match of_tag(next, Tag::Boolean) {
            Ok(critical) => (critical.iter().any(|byte| *byte != 0), any(reader)?),
            Err(NotACertificate) => (false, next),
        };
        Ok(Self { oid, critical, value: of_tag(value, Tag::OctetString)? })
    }
}

/// Reads the elements of a list, each with its tag and content: the entries of a subjectAltName, say.
///
/// # Errors
/// [`NotACertificate`].
pub fn elements(der: &[u8]) -> Result<Vec<AnyRef<'_>>, NotACertificate> {
    let mut outer = SliceReader::new(der).map_err(|_| NotACertificate)?;
    let mut list = sequence(&mut outer)?;
    let mut elements = Vec::new();
    while !list.is_finished() {
        elements.push(any(&mut list)?);
    }
    Ok(elements)
}

/// Reads the content of one element that is the whole of `der` and has this tag.
///
/// # Errors
/// [`NotACertificate`].
pub fn content(der: &[u8], tag: Tag) -> Result<&[u8], NotACertificate> {
    let mut reader = SliceReader::new(der).map_err(|_| NotACertificate)?;
    let element = any(&mut reader)?;
    if reader.is_finished() { of_tag(element, tag) } else { Err(NotACertificate) }
}

fn sequence<'a>(reader: &mut SliceReader<'a>) -> Result<SliceReader<'a>, NotACertificate> {
    let content = of_tag(any(reader)?, Tag::Sequence)?;
    SliceReader::new(content).map_err(|_| NotACertificate)
}

/// Reads an element with its tag and length.
fn raw<'a>(reader: &mut SliceReader<'a>) -> Result<&'a [u8], NotACertificate> {
    reader.tlv_bytes().map_err(|_| NotACertificate)
}

fn any<'a>(reader: &mut SliceReader<'a>) -> Result<AnyRef<'a>, NotACertificate> {
    reader.decode().map_err(|_| NotACertificate)
}

fn of_tag(element: AnyRef<'_>, tag: Tag) -> Result<&[u8], NotACertificate> {
    if der::Tagged::tag(&element) == tag { Ok(element.value()) } else { Err(NotACertificate) }
}
