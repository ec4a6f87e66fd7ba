//! kubernetes-01 (docs/kubernetes-01.md) as both sides check it: bound ServiceAccount tokens, the keys of clusters, and the names
//! that templates give to workloads. The edge checks a token when a client presents it, a signer when a certificate is asked for.

pub mod evidence;
pub mod keys;
pub mod refusal;
pub mod rules;
pub mod template;
pub mod token;
pub mod workload;
