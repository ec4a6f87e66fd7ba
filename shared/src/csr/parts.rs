//! The parts of a PKCS#10 request in the bytes that the client sent (RFC 2986 §4). The signature is over the bytes of the
//! CertificationRequestInfo, so nothing here is encoded again: a client that sorts a SET differently has signed its own order.

use const_oid::db::rfc5912::ID_EXTENSION_REQ;
use der::{
    Decode,
    asn1::{BitString, ObjectIdentifier},
};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::ext::Extensions;

use super::BadCsr;

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const ATTRIBUTES: u8 = 0xa0;

/// A request, taken apart. Nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The CertificationRequestInfo: what the signature is over.
    pub(crate) info: &'a [u8],
    /// The public key.
    pub(crate) spki: SubjectPublicKeyInfoOwned,
    /// The signature's algorithm.
    pub(crate) algorithm: AlgorithmIdentifierOwned,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    subject: &'a [u8],
    attributes: &'a [u8],
}

/// One attribute of a subject: its type and its value, which is a string of some kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubjectAttribute<'a> {
    kind: &'a [u8],
    value: Element<'a>,
}

/// One element of DER, with the bytes of its content and all its bytes.
#[derive(Clone, Copy, Debug)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes a request apart.
    ///
    /// # Errors
    /// [`BadCsr::NotDer`] or [`BadCsr::Version`].
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, BadCsr> {
        let [request] = elements(der)?;
        let [info, algorithm, signature] = elements(request.content_of(SEQUENCE)?)?;
        let parts: Vec<_> = all(info.content_of(SEQUENCE)?)?;
        let (version, subject, spki, attributes) = match parts.as_slice() {
            [version, subject, spki, attributes] => (version, subject, spki, attributes.content_of(ATTRIBUTES)?),
            // Some clients leave empty attributes out.
            [version, subject, spki] => (version, subject, spki, [].as_slice()),
            _ => return Err(BadCsr::NotDer),
        };
        match version.content_of(INTEGER)? {
            [0..=2] => {}
            [] => return Err(BadCsr::NotDer),
            other => return Err(BadCsr::Version(crate::quoted::hex(other))),
        }
        let signature = BitString::from_der(signature.whole).map_err(|_| BadCsr::NotDer)?;
        Ok(Self {
            info: info.whole,
            spki: SubjectPublicKeyInfoOwned::from_der(spki.whole).map_err(|_| BadCsr::NotDer)?,
            algorithm: AlgorithmIdentifierOwned::from_der(algorithm.whole).map_err(|_| BadCsr::NotDer)?,
            signature: signature.as_bytes().ok_or(BadCsr::NotDer)?.to_vec(),
            subject: subject.content_of(SEQUENCE)?,
            attributes,
        })
    }

    /// The attributes of the subject, in its order.
    pub(super) fn subject(&self) -> Result<Vec<SubjectAttribute<'a>>, BadCsr> {
        let mut attributes = Vec::new();
        for set in all(self.subject)? {
            for attribute in all(set.content_of(SET)?)? {
                let [kind, value] = elements(attribute.content_of(SEQUENCE)?)?;
                attributes.push(SubjectAttribute { kind: kind.content_of(OBJECT_IDENTIFIER)?, value });
            }
        }
        Ok(attributes)
    }

    /// The extensions that the request asks for; none when it has no such attribute.
    pub(super) fn extensions(&self) -> Result<Extensions, BadCsr> {
        let mut found = None;
        for attribute in all(self.attributes)? {
            let [kind, values] = elements(attribute.content_of(SEQUENCE)?)?;
            if kind.content_of(OBJECT_IDENTIFIER)? != ID_EXTENSION_REQ.as_bytes() {
                continue;
            }
            let [value] = elements(values.content_of(SET)?).map_err(|_| BadCsr::Extensions)?;
            let extensions = Extensions::from_der(value.whole).map_err(|_| BadCsr::Extensions)?;
            if found.replace(extensions).is_some() {
                return Err(BadCsr::Extensions);
            }
        }
        Ok(found.unwrap_or_default())
    }
}

impl SubjectAttribute<'_> {
    pub(super) fn is(&self, kind: ObjectIdentifier) -> bool {
        self.kind == kind.as_bytes()
    }

    /// The text, decoded as its tag says (X.680 §41); nothing when it is not text of that kind.
    pub(super) fn text(&self) -> Option<String> {
        let bytes = self.value.content;
        match self.value.tag {
            // UTF8String.
            0x0c => String::from_utf8(bytes.to_vec()).ok(),
            // NumericString, PrintableString, IA5String, VisibleString.
            0x12 | 0x13 | 0x16 | 0x1a if bytes.is_ascii() => String::from_utf8(bytes.to_vec()).ok(),
            // TeletexString, which everyone writes and reads as Latin-1.
            0x14 => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
            // UniversalString: UTF-32.
            0x1c => {
                let (units, rest) = bytes.as_chunks::<4>();
                let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect();
                if rest.is_empty() { text } else { None }
            }
            // BMPString: 16 bits a character, without surrogates.
            0x1e => {
                let (units, rest) = bytes.as_chunks::<2>();
                let text = units.iter().map(|unit| char::from_u32(u16::from_be_bytes(*unit).into())).collect();
                if rest.is_empty() { text } else { None }
            }
            _ => None,
        }
    }

    /// The value's bytes, for a message.
    pub(super) const fn bytes(&self) -> &[u8] {
        self.value.content
    }
}

impl<'a> Element<'a> {
    fn content_of(self, tag: u8) -> Result<&'a [u8], BadCsr> {
        if self.tag == tag { Ok(self.content) } else { Err(BadCsr::NotDer) }
    }
}

/// Exactly this many elements.
fn elements<const N: usize>(der: &[u8]) -> Result<[Element<'_>; N], BadCsr> {
    all(der)?.try_into().map_err(|_| BadCsr::NotDer)
}

/// All elements of some content.
fn all(mut der: &[u8]) -> Result<Vec<Element<'_>>, BadCsr> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (element, rest) = next(der).ok_or(BadCsr::NotDer)?;
        elements.push(element);
        der = rest;
    }
    Ok(elements)
}

/// The first element: a tag of one byte and a length of the shortest form (X.690 §10.1).
fn next(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0_u32, |length, byte| (length << 8) | u32::from(*byte));
            let shortest = bytes.first() != Some(&0) && length > 0x7f;
            (usize::try_from(length).ok().filter(|_| shortest)?, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let whole = der.get(..der.len().checked_sub(after.len())?)?;
    (tag & 0x1f != 0x1f).then_some((Element { tag, content, whole }, after))
}
