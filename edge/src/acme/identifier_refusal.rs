//! Why an identifier is refused, and what its subproblem says: what is wrong with this one, and what to do (RFC 8555 §6.7.1).

use shared::identifier::{IdentifierObject, NotAnIdentifier};

use super::problem::{ProblemDocument, sentence};

/// The most characters of an identifier that a text repeats: longer than any name is.
const SHOWN: usize = 260;

/// Why one identifier is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierRefusal {
    /// Not of an acceptable form.
    Form(NotAnIdentifier),
    /// A type without a challenge here.
    Unsupported,
    /// Not below a permitted suffix.
    NotPermitted,
    /// Not in a permitted network.
    AddressNotPermitted,
    /// A name of one label, which are not issued.
    SingleLabel,
    /// Wildcards are not issued.
    Wildcard,
    /// A wildcard in newAuthz.
    WildcardInAdvance,
}

impl IdentifierRefusal {
    /// Its subproblem, about this identifier.
    #[must_use]
    pub fn document(self, identifier: &IdentifierObject) -> ProblemDocument {
        ProblemDocument::new(self.kind(), None, self.words(identifier)).about(identifier.clone())
    }

    /// What is wrong with this identifier, and what to do: a text that can stand alone.
    #[must_use]
    pub fn words(self, identifier: &IdentifierObject) -> String {
        let IdentifierObject { kind, value } = identifier;
        let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
        let (kind, value) = (shown(kind), shown(value));
        let why = match self {
            Self::Form(NotAnIdentifier::UnknownType) => {
                return format!("{value:?} is of the type {kind:?}; only \"dns\" and \"ip\" are known.");
            }
            Self::Form(error) => return format!("{value:?}: {}", sentence(&error)),
            Self::Unsupported => "Only identifiers of type \"dns\" are issued here.",
            Self::NotPermitted => "The policy does not permit certificates for this name.",
            Self::AddressNotPermitted => "The policy does not permit certificates for this address.",
            Self::SingleLabel => {
                "A name of one label means another host in each network, and the policy does not permit those. Ask for the \
                 name with its domain."
            }
            Self::Wildcard => "The policy does not permit wildcards.",
            Self::WildcardInAdvance => "A wildcard is authorized by an order only. Make an order for it.",
        };
        format!("{value:?}: {why}")
    }

    /// The ACME error type, without its prefix.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Form(NotAnIdentifier::UnknownType) | Self::Unsupported => "unsupportedIdentifier",
            Self::Form(_) => "malformed",
            Self::NotPermitted
            | Self::AddressNotPermitted
            | Self::SingleLabel
            | Self::Wildcard
            | Self::WildcardInAdvance => "rejectedIdentifier",
        }
    }
}
