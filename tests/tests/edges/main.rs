//! Several edges of their own on the same signers, on the real stack: what they share, and that neither has anything of the other's.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod accounts;
mod alternatives;
mod bounds;
mod caller;
mod issuance;
mod status;
mod world;
