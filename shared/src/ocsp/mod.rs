//! OCSP (RFC 6960): what clients ask, and what is answered.

mod cert_id;
mod request;
mod response;
mod response_asn1;

pub use cert_id::{CertId, CertIdHash, IssuerHashes};
pub use request::{Asked, BadRequest, Request};
pub(crate) use response::crl_reason;
pub use response::{
    BadResponse, CertStatus, Delegate, Failure, Responder, Response, ResponseContent, TbsResponseDer, read_tbs,
};
