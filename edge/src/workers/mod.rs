//! The platform: the only code that knows workers, objects, sockets and bindings. It decides nothing: it carries requests
//! to the pure core, commits what the core says, and starts the effects that the core asks for.
//!
//! [`front`] answers or forwards every request. An [`account`] object runs the steps of its account. A [`nonce_shard`]
//! object remembers spent nonces of newNonce, a [`status`] object what became of certificates, for [`ocsp_responder`] and [`crl`], a [`meter`]
//! object how often something happened, a [`journal`] object what a signer's journal was like; a [`perspective`] object looks at
//! challenges from elsewhere. `main.mjs` puts a guard
//! around all of them.

mod absorbed;
mod account;
mod addresses;
mod alarm;
mod body;
mod caa;
mod crl;
mod dns;
mod effects;
mod environment;
mod external_account;
mod fetch;
mod flight;
mod forward;
mod front;
mod front_status;
mod http;
mod issuers;
mod journal;
mod kubernetes;
mod meter;
mod metrics;
mod news;
mod nonce_shard;
mod ocsp_responder;
mod perspective;
mod pool;
mod probe;
mod progress;
mod purge;
mod reconciliation;
mod renewal;
mod reply;
mod rollover;
mod signed_request;
mod signer;
mod status;
mod storage;
mod tcp;
mod timeout;
mod tls;
mod webcrypto;
