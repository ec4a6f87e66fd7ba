//! Why a proof by kubernetes-01 is refused.

use shared::kubernetes::refusal::BadToken;

/// What is wrong with a proof. None repeats a claim of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token itself.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The API server does not authenticate the token: revoked, deleted pod, deleted service account.
    #[error("the cluster's API server does not authenticate the token")]
    NotAuthenticated,
    /// `status.audiences` lacks ours.
    #[error("the cluster's API server does not confirm the token's audience")]
    ReviewAudience,
    /// The API server names another user or pod than the token.
    #[error("the cluster's API server names another workload than the token")]
    ReviewUser,
    /// Not an answer of the API.
    #[error("the cluster's API server gave no usable answer")]
    ApiAnswer,
    /// No running pod of its own has the address, or several have it.
    #[error("the request's address is not that of exactly one running pod with an address of its own")]
    NoPod,
    /// The client gave nothing, or what is not allowed any more.
    #[error("nothing was presented that this deployment accepts")]
    NothingPresented,
}

impl Refusal {
    /// The problem type (RFC 8555 §6.7).
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Token(BadToken::ServiceAccount | BadToken::Name) | Self::NotAuthenticated | Self::NoPod => {
                "unauthorized"
            }
            Self::Token(BadToken::KeySet) | Self::ApiAnswer => "serverInternal",
            _ => "incorrectResponse",
        }
    }
}
