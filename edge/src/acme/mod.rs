//! The ACME core (RFC 8555): one noun a file.
//!
//! A request goes `bytes -> Route -> jws::Unverified -> jws::Verified -> nonce::Redeemed -> step`. A step is a pure function
//! of what is stored, the request, the time and fresh entropy; it returns changes for one commit, at most one effect, and the
//! reply. The effect's outcome comes back as an event through the same door.

pub mod absorb;
pub mod account;
pub mod authentication;
pub mod authorization;
pub mod authorization_object;
pub mod caa;
pub mod caa_check;
pub mod caa_climb;
pub mod certificate;
pub mod challenge;
pub mod config;
pub mod directory;
pub mod dns;
pub mod dns_account;
pub mod dns_persist;
pub mod entropy;
pub mod excerpt;
pub mod external_account;
pub mod finalize;
pub mod found;
pub mod host;
pub mod http_way;
pub mod identifier_refusal;
pub mod issue_value;
pub mod kept;
pub mod key_change;
pub mod kubernetes;
pub mod lease;
pub mod lifetimes;
pub mod network;
pub mod nonce;
pub mod object_id;
pub mod order;
pub mod order_times;
pub mod orders;
pub mod own_hosts;
pub mod page;
pub mod perspective;
pub mod placement;
pub mod policy;
pub mod pool;
pub mod probe;
pub mod probe_redirect;
pub mod problem;
pub mod problem_document;
pub mod rate_limit;
pub mod record;
pub mod renewal_info;
pub mod responder_certificate;
pub mod revoke;
pub mod route;
pub mod scope;
pub mod step;
pub mod storage;
pub mod terms;
pub mod tls_alpn;
pub mod validation;
pub mod view;
