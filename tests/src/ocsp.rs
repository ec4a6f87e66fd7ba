//! OCSP as a client speaks it: a request of one certificate, and the answer over plain HTTP (RFC 6960 §A.1).

use anyhow::{Result, ensure};
use shared::{
    chain::Issuer,
    ocsp::{CertIdHash, IssuerHashes, Response, ResponseContent},
    serial::SerialNumber,
};

use crate::client::{Client, Reply};

/// DER of a request about this certificate, without a nonce, by SHA-1.
///
/// # Errors
/// Never for an issuer that was read.
pub fn request(issuer: &Issuer, serial: SerialNumber) -> Result<Vec<u8>> {
    let IssuerHashes { name, key } = IssuerHashes::of(issuer, CertIdHash::Sha1)?;
    let serial = serial.to_x509()?;
    // id-sha1 with NULL, as clients write it.
    let algorithm = tagged(0x30, &[&[0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a][..], &[0x05, 0x00]].concat())?;
    let cert_id = [algorithm, tagged(0x04, &name)?, tagged(0x04, &key)?, tagged(0x02, serial.as_bytes())?].concat();
    // CertID, Request, requestList, TBSRequest, OCSPRequest.
    (0..5).try_fold(cert_id, |content, _| tagged(0x30, &content))
}

/// The answer to a request, by POST.
///
/// # Errors
/// When there is none.
pub fn ask(client: &Client, url: &str, request: &[u8]) -> Result<Reply> {
    client.post_as(url, "application/ocsp-request", request)
}

/// What an answer says, when it is one and its issuer has signed it; nothing for an error that nobody signs.
///
/// # Errors
/// When it is neither.
pub fn read(reply: &Reply, issuer: &Issuer) -> Result<Option<ResponseContent>> {
    ensure!(reply.media_type() == Some("application/ocsp-response"), "{reply:?}");
    Ok(match Response::verify(&reply.body, issuer)? {
        Response::Answer(content) => Some(content),
        Response::Failure(_) => None,
    })
}

/// A DER value of less than 128 bytes.
fn tagged(tag: u8, content: &[u8]) -> Result<Vec<u8>> {
    let length = u8::try_from(content.len())?;
    ensure!(length < 128, "longer than a request of one certificate is");
    Ok([&[tag, length], content].concat())
}
