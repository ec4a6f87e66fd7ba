//! What goes wrong between the edge and its signers: the way is cut at every place, and processes die at every step. Each order is
//! settled exactly once, and nobody has to help.
//!
//! `COLOPHON_CUTS=all` makes every cut in every way; without it every place is cut in the ways that a table deals out. Any other value
//! is a part of the names of the cuts that are made (`Revoke at Sent by Close`).
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod connections;
mod exchanges;
mod kills;
mod verbs;
mod world;
