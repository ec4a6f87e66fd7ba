//! Everything that one running stack can show without being broken: issuance, identifiers, nonces, hops, problems, the page,
//! revocation, mutual TLS.
#![cfg(feature = "stack")]

mod choices;
mod hops;
mod identifiers;
mod issuance;
mod mutual_tls;
mod nonces;
mod page;
mod problems;
mod renewals;
mod revocation;
mod rollover;
mod world;
