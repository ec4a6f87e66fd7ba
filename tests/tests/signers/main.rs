//! Several signers behind one URL, on the real stack: they are killed and hung in turn, and share a burst.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod burst;
mod outages;
mod world;
