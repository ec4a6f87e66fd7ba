//! The signer of Colophon: builds, journals and signs certificates under its own policy, with keys that stay in PKCS#11
//! tokens. A daemon (`signer serve`) and the command line of the ceremonies around it.
//!
//! The rooms, each of which knows only the next: `serve -> listen -> service -> issuance -> queue -> issuer -> token`. Beside
//! them `policy`, `admit` and `revocation` (what may be signed and revoked), `status` (what is said about certificates), `work` (what
//! tokens are given), `journal` (what was), `ceremony` (how keys and chains come to be).
//!
//! What never happens here: nothing is signed that this crate did not build; no signature leaves before its record is on
//! disk; the process that speaks to the network never holds a PIN.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![deny(unsafe_code)]

mod admit;
mod bind;
mod bindings;
mod bound;
mod budget;
mod ceremony;
mod cli;
mod client_roots;
mod clock;
mod config;
mod constraints;
mod disown;
mod exit;
mod expiry;
mod files;
#[cfg(test)]
mod fixture;
mod grant;
mod handshakes;
mod identity;
mod issuance;
mod issuer;
mod journal;
mod listen;
mod metrics;
mod operations;
mod peer;
mod place;
mod policy;
#[cfg(test)]
mod purity;
mod queue;
mod random;
mod rehearsal;
mod revocation;
mod rotation;
mod serve;
mod service;
mod settings;
mod share;
mod status;
mod stops;
mod tls;
mod token;
mod work;

pub use cli::run;

/// Whether a configuration may make tokens slower than they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// No: `latency_ms` is an unknown key.
    AsTheyAre,
    /// Yes, for tests of queues and deadlines.
    #[cfg(feature = "slow-token")]
    MayBeSlowed,
}
