//! Why a signer refuses, in every answer of the signing protocol (see [`crate::signing`]).

use serde::{Deserialize, Serialize};

/// A refusal: the reason for programs, the detail for the operator's log (not for the client).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// What exactly, for the log of the edge. Never a secret.
    pub detail: String,
    /// Seconds after which the same request may be taken; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// Why a signer refuses. Closed: a new reason is a new version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Not a request of this protocol's version. HTTP 400.
    Malformed,
    /// The caller's certificate names no edge of the configuration, or one that may not speak for this URL. HTTP 403.
    UnknownEdge,
    /// The client's JWS is not by the key that is named, or not about what is asked for. HTTP 403.
    BadEvidence,
    /// The CSR is not well formed or its key is refused. HTTP 422.
    BadCsr,
    /// The CSR's names are not the order's. HTTP 422.
    NameMismatch,
    /// No scope of the policy gives this account these names by these methods, or the edge may disown nothing. HTTP 403.
    NotPermitted,
    /// What proves a name by kubernetes-01 is missing, does not hold, or gives another name. HTTP 403.
    BadProof,
    /// The profile is unknown, the times are outside of it, or nobody could see its certificates' revocation. HTTP 422.
    BadProfile,
    /// The binding is not of RFC 8555 §7.3.4's form, or its MAC does not verify. HTTP 403.
    BadBinding,
    /// There is no such binding: never was, was revoked, or has expired. HTTP 403.
    UnknownBinding,
    /// As many accounts have this binding as may. HTTP 403.
    BindingUsed,
    /// The grant is not one of ours, not this account's, or not of this binding as it is. HTTP 403.
    BadGrant,
    /// The grant has expired, or its account has another key now. HTTP 403.
    GrantExpired,
    /// This order was used for another CSR or by another key. Final. HTTP 409.
    OrderUsed,
    /// What would be signed does not pass the signer's own checks; nothing was. HTTP 500.
    Flawed,
    /// The journal has no such certificate, not for this edge, or one that has expired. HTTP 404.
    UnknownCertificate,
    /// The scope's budget is spent, or what the edge may disown in a day. There is more later. HTTP 429.
    OverBudget,
    /// An operator has stopped the edge, the binding, the scope or everything. HTTP 503.
    Stopped,
    /// No issuer can serve this in time: queue full or deadline too near. Ask again later. HTTP 503.
    Busy,
    /// No token works at the moment, or the journal cannot be written. Ask again later. HTTP 503.
    Unavailable,
}

impl Refusal {
    /// True when the same request may succeed later, so that the order stays `processing`.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable | Self::UnknownEdge | Self::OverBudget | Self::Stopped)
    }

    /// The HTTP status that carries it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::UnknownEdge
            | Self::BadEvidence
            | Self::NotPermitted
            | Self::BadProof
            | Self::BadBinding
            | Self::UnknownBinding
            | Self::BindingUsed
            | Self::BadGrant
            | Self::GrantExpired => 403,
            Self::UnknownCertificate => 404,
            Self::OrderUsed => 409,
            Self::BadCsr | Self::NameMismatch | Self::BadProfile => 422,
            Self::OverBudget => 429,
            Self::Flawed => 500,
            Self::Busy | Self::Unavailable | Self::Stopped => 503,
        }
    }
}
