//! Why a ServiceAccount token proves nothing.

/// What is wrong with a token. None repeats a claim of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not a compact JWS of JSON objects with the expected members (RFC 7515 §7.1, RFC 7519 §4.1).
    #[error("the token is not a compact JWS with the claims of a bound ServiceAccount token")]
    Form,
    /// `crit`, `b64`, or a key beside the cluster's own (RFC 7515 §4.1).
    #[error("the token's header has \"{0}\", which is not accepted")]
    Header(&'static str),
    /// None of RS256, ES256 and ES384.
    #[error("the token's \"alg\" is none of RS256, ES256 and ES384")]
    Algorithm,
    /// A token of a Secret: it has no end and is for everybody.
    #[error("the token is a legacy ServiceAccount token of a Secret: project a bound one")]
    Legacy,
    /// No cluster of the configuration has this issuer.
    #[error("the token's issuer is no cluster that is known here")]
    Issuer,
    /// Another audience, several, or the plain one where it is not allowed.
    #[error("the token's one audience is not the one that this challenge expects")]
    Audience,
    /// `sub` is another service account than `kubernetes.io` says.
    #[error("the token's subject is not its service account")]
    Subject,
    /// `exp` is over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is not there yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// From `iat` to `exp` it is longer than the cluster's limit.
    #[error("the token lives longer than is accepted here")]
    TooLong,
    /// The cluster has no such key.
    #[error("the cluster has no key with the token's \"kid\"")]
    UnknownKey,
    /// The key set is not one.
    #[error("the cluster's key set cannot be used")]
    KeySet,
    /// The signature does not verify.
    #[error("the token's signature does not verify under the cluster's key")]
    Signature,
    /// The cluster's list has no such service account.
    #[error("the service account may not have names here")]
    ServiceAccount,
    /// No template gives the workload this name.
    #[error("no name template gives this workload the identifier")]
    Name,
}
