//! The TLS client of probes, without its sockets and its generator: what rustls needs for a handshake (RFC 8446, RFC 5246),
//! on the cryptography that the rest of the module uses already. It trusts no certificate: whoever asks gets to see the
//! one that was presented, and that its key signed the handshake.
//!
//! Deliberately few algorithms: AES-128-GCM with SHA-256, key exchange on P-256 (RFC 8446 §9.1 makes both mandatory).

pub mod cipher;
pub mod client;
pub mod fault;
pub mod hash;
pub mod key_exchange;
pub mod provider;
pub mod verifier;
