//! What both sides of Colophon say: identifiers, serials, public keys, JWS, CSR, profiles, certificates, and the signing protocol.
//!
//! This crate never does IO, reads no clock, draws no randomness and knows no platform: time and entropy come in as values.
//! It parses bytes of strangers, so nothing in it may panic.
#![cfg_attr(
    not(any(test, feature = "testing")),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod alternate_chain;
pub mod base64url;
pub mod certificate;
pub mod chain;
pub mod checkpoint;
pub mod crl;
pub mod csr;
mod dns_name;
pub mod ecdsa;
pub mod external_account;
pub mod grant;
pub mod handshake_signature;
pub mod identifier;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod kubernetes;
pub mod network;
pub mod ocsp;
pub mod pem;
pub mod pointers;
pub mod profile;
pub mod public_key;
pub mod quoted;
pub mod refusal;
pub mod revocation;
pub mod serial;
pub mod signed_der;
pub mod signing;
#[cfg(feature = "testing")]
pub mod testing;
pub mod timestamp;
