//! Status under load: what it costs the tokens, how soon a revocation shows, and what caches are told.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod caches;
mod cost;
mod revocation;
mod world;
