//! Problem documents as they are sent and stored: their members, and where they name an identifier.

use serde::{Deserialize, Serialize};
use shared::identifier::IdentifierObject;

/// A problem as it is sent and stored (RFC 7807 §3.1, RFC 8555 §6.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// `urn:ietf:params:acme:error:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// The HTTP status; absent in subproblems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where a person can do something about it (RFC 8555 §7.3.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The identifier that it is about (RFC 8555 §6.7.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<IdentifierObject>,
    /// One for each identifier that is refused (RFC 8555 §6.7.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<ProblemDocument>,
    /// Accepted signature algorithms, with `badSignatureAlgorithm` (RFC 8555 §6.2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub algorithms: Vec<String>,
}

impl ProblemDocument {
    /// A document of an ACME error type, given without its prefix.
    #[must_use]
    pub fn new(kind: &str, status: Option<u16>, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:ietf:params:acme:error:{kind}"),
            detail: detail.into(),
            status,
            instance: None,
            identifier: None,
            subproblems: Vec::new(),
            algorithms: Vec::new(),
        }
    }

    /// The same about one identifier.
    #[must_use]
    pub fn about(self, identifier: IdentifierObject) -> Self {
        Self { identifier: Some(identifier), ..self }
    }

    /// Its type and its words alone.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { status: None, identifier: None, ..self }
    }

    /// As it is shown by itself: an identifier is named by a subproblem, never at the top (RFC 8555 §6.7.1).
    #[must_use]
    pub fn shown(self) -> Self {
        if self.identifier.is_none() {
            return self;
        }
        let subproblem = Self { status: None, ..self.clone() };
        Self { identifier: None, subproblems: vec![subproblem], ..self }
    }
}
