//! The certificate resource: a chain in PEM, read by POST-as-GET (RFC 8555 §7.4.2, §9.1).

use der::pem::{LineEnding, encode_string};
use shared::{base64url::Base64Url, jws::Verified};

use super::{
    object_id::ObjectId,
    problem::Problem,
    record::{OrderRecord, OrderState, Record},
    step::{Body, Reply, Step, require_post_as_get},
    storage::{Key, Rows},
};

/// A POST-as-GET of an order's certificate.
///
/// # Errors
/// `orderNotReady` when there is none yet, `malformed` (404) when there is no such order.
pub fn read(rows: &dyn Rows, id: ObjectId, request: &Verified) -> Result<Step, Problem> {
    require_post_as_get(request)?;
    let record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let OrderState::Valid(issued) = &record.state else { return Err(Problem::NoCertificate) };
    let body = Body::PemChain(pem_chain(&issued.chain)?);
    Ok(Step::read(Reply { status: 200, location: None, up: None, next: None, retry_after: None, body }))
}

/// Certificates in PEM, the leaf first (RFC 8555 §9.1).
fn pem_chain(chain: &[Base64Url]) -> Result<String, Problem> {
    chain
        .iter()
        .map(|Base64Url(der)| encode_string("CERTIFICATE", LineEnding::LF, der))
        .collect::<Result<String, _>>()
        .map_err(|_| Problem::Internal("a certificate cannot be written as PEM"))
}
