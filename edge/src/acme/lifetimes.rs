//! How long things live.

use serde::Deserialize;

/// How long things live, in seconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifetimesConfig {
    /// From newOrder until the order expires.
    pub order: u64,
    /// From its creation until an authorization expires.
    pub authorization: u64,
    /// So long after it was proved an authorization also serves later orders; 0: each order proves anew. One that was
    /// asked for by newAuthz serves orders for as long as it is valid.
    pub authorization_reuse: u64,
    /// A nonce of newNonce.
    pub edge_nonce: u64,
    /// An account that has issued nothing for so long, and has no certificate that is still valid, deletes itself.
    pub idle_account: u64,
    /// So long after its end an order or an authorization can still be read; then it is deleted.
    pub retention: u64,
    /// After so long an alarm drives a lost probe or signature again.
    pub redrive: u64,
    /// So long a finalize waits for its certificate before it answers `processing`.
    pub finalize_wait: u64,
    /// So long a signer may begin to sign an order that is its alone, where there are several; what that says to take comes on
    /// top. Half as long again it is not another's, so that what was signed is heard of.
    #[serde(default = "LifetimesConfig::usual_lease")]
    pub lease: u64,
    /// So far the clocks of the edge and of signers may be apart.
    #[serde(default = "LifetimesConfig::usual_clock_skew")]
    pub clock_skew: u64,
}

impl LifetimesConfig {
    const fn usual_lease() -> u64 {
        20
    }

    const fn usual_clock_skew() -> u64 {
        5
    }
}
