//! The real daemon, driven from outside: real SoftHSM tokens, real mutual TLS, real kills. Needs SoftHSM; fails without it.
#![allow(missing_docs, reason = "a test binary has no readers of its documentation")]

mod attest;
mod ceremony;
mod ceremony_crl;
mod ceremony_root;
mod client;
mod clones;
mod crash;
mod crl;
mod evil;
mod faults;
mod grants;
mod handshake;
mod issue;
mod journal;
mod leases;
mod limits;
mod manual;
mod ocsp;
mod operations;
mod prompt;
#[cfg(all(feature = "slow-token", feature = "measure"))]
mod rates;
mod records;
mod revoke;
mod rotation;
mod secrets;
mod site;
#[cfg(feature = "slow-token")]
mod slow;
mod soak;
mod stops;
#[cfg(feature = "measure")]
mod throughput;
mod tokens;
