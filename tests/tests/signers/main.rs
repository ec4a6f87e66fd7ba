//! Several signers behind one URL, on the real stack: all of the load at once, blows in turn, and neighbours that are not delayed.
//! Small by default; at full size by `COLOPHON_BURST=2000x500` (docs/operations.md).
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod crowd;
mod figures;
mod full_load;
mod neighbours;
mod turns;
mod watch;
mod world;
