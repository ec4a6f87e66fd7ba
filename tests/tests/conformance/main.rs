//! What RFC 8555 demands of a server, on the real stack: a test for each demand, which says it in its own words. Lines of the
//! form `RFC 8555 §6.5 MUST: …` over a test are read by a tool: they make up docs/rfc8555.md. Demands that are met by tests
//! elsewhere have such lines there; those without a test are in tests/src/requirements/untested.rs, with why.
#![cfg(feature = "stack")]

mod account_updates;
mod accounts;
mod ask;
mod authorizations;
mod certificates;
mod challenges;
mod directory;
mod external_accounts;
mod finalize;
mod http_challenges;
mod jws;
mod key_changes;
mod keys;
mod nonces;
mod orders;
mod pre_authorizations;
mod problems;
mod reading;
mod revocations;
mod terms;
mod urls;
mod world;
