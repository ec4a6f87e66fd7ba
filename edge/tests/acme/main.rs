//! The ACME core without a platform: whole lives of orders on rows in memory, every pair of state and event, and storage
//! that fails at every commit.

mod accounts;
mod alternates;
mod authorizations;
mod bindings;
mod caa;
mod challenges;
mod choices;
mod desk;
mod dns_challenges;
mod faults;
mod finality;
mod identifiers;
mod incidents;
mod issuance;
mod key_changes;
mod kubernetes;
mod kubernetes_challenges;
mod kubernetes_config;
mod life;
mod limits;
mod lists;
mod news;
mod nonces;
mod orders;
mod perspectives;
mod records;
mod refusals;
mod replacements;
mod revocations;
mod scopes;
mod states;
mod terms;
mod tls_alpn;
mod whole_life;
mod workloads;
