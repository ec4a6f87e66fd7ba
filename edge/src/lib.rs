//! The edge: an ACME server as one WebAssembly module.
//!
//! [`acme`], [`status`] and [`tls`] are the pure core: no IO, no clock, no randomness, no async, no platform. `workers` is the only code that knows
//! the platform, and exists on wasm32 alone, so native builds prove that the core does without it. `http` is async and knows no platform: it
//! exists for `workers` and for its own tests.
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

pub mod acme;
#[cfg(any(target_arch = "wasm32", test))]
mod http;
pub mod status;
pub mod tls;
#[cfg(target_arch = "wasm32")]
pub mod workers;
