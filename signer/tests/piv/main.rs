//! The real daemon with PIV cards: cards of our own behind real middleware, that is vpcd, pcscd, and the modules of Yubico and of
//! OpenSC. Each test runs with both modules. Needs Debian's packages vsmartcard-vpcd, pcscd, ykcs11 and opensc-pkcs11, and
//! fails without them.
#![allow(missing_docs, reason = "a test binary has no readers of its documentation")]

mod always;
mod applet;
mod attest;
mod attester;
mod card;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use all of it")]
#[path = "../daemon/client.rs"]
mod client;
mod estate;
mod faults;
mod readers;
#[allow(dead_code, reason = "shared with the tests of the daemon, which use all of it")]
#[path = "../daemon/site.rs"]
mod site;
#[cfg(feature = "measure")]
mod throughput;
mod tlv;
mod wrong;
