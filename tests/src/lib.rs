//! The harness of the stack tests: the real parts as `cargo xtask up` starts them, and around them clients that can do every wrong
//! thing, a DNS server, and OpenSSL as a second opinion.
//!
//! Nothing here knows how a part works inside: only what it listens on, what it answers, and the files that it documents.
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

pub mod account;
pub mod binding;
pub mod cable;
pub mod challtestsrv;
pub mod client;
pub mod cpu;
pub mod cut;
pub mod differences;
pub mod doh;
pub mod figures;
pub mod journal;
pub mod keeper;
pub mod key;
pub mod modules;
pub mod named;
pub mod ocsp;
pub mod openssl;
pub mod pebble;
pub mod random;
pub mod relay;
pub mod renewal;
pub mod requirements;
pub mod resolver;
pub mod responder;
pub mod stack;
pub mod subject;
pub mod tls_responder;
pub mod tree;
pub mod week;
mod wire;
