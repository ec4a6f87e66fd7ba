//! kubernetes-01: a workload proves its names by the ServiceAccount token that its cluster projects into it, or by the address
//! of its pod (docs/kubernetes-01.md). All of it is pure: what to fetch is a [`judgement::Question`], what came is
//! [`judgement::Seen`], and the same checks run before anything is fetched and again when it is judged.
//!
//! Tokens, keys and templates are [`shared::kubernetes`]'s: signers check the same tokens again.
//!
//! A token is never written to a log. It stays in its authorization's row until no order can be finalized by it any more.

pub mod bearer;
pub mod cluster;
pub mod judgement;
pub mod pods;
pub mod presented;
pub mod refusal;
pub mod review;
