//! Validation on the real stack: every way to prove a name, against right, wrong and hostile targets.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

mod cluster;
mod dns;
mod fetch;
mod http;
mod kubernetes;
mod perspectives;
mod scopes;
mod ssrf;
mod target;
mod tls_alpn;
mod world;
