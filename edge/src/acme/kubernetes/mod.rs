//! kubernetes-01: a workload proves its names by the ServiceAccount token that its cluster projects into it, or by the address
//! of its pod (docs/kubernetes-01.md). All of it is pure: what to fetch is a [`judgement::Question`], what came is
//! [`judgement::Seen`], and the same checks run before anything is fetched and again when it is judged.
//!
//! A token is never written to a log, and stays in its row only for as long as its probe may have to be done again.

pub mod bearer;
pub mod cluster;
pub mod judgement;
pub mod keys;
pub mod pods;
pub mod presented;
pub mod refusal;
pub mod review;
pub mod template;
pub mod token;
pub mod workload;
