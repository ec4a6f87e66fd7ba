//! Status under load: what it costs the tokens, and how soon a revocation shows.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod cost;
mod revocation;
mod world;
