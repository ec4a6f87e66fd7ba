//! The verb `bind` of the signing protocol (see [`crate::signing`]): what a client's external account binding gives it at the signer. The
//! signer holds the keys of the bindings and checks everything itself; the edge forwards what the client signed, and keeps the
//! [`GrantToken`] that comes back. It is of use with the account key that it names, and with no other.

use serde::{Deserialize, Serialize};

use crate::{jws::Flattened, signing::Refused, timestamp::Timestamp};

/// Path of the verb `bind`.
pub const BIND_PATH: &str = "/v1/bind";

/// The signer's own words about an account, with its MAC. Opaque to everybody else: handed back as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantToken(pub String);

/// Asks for a grant. Asking again is harmless: an account that is bound stays bound, and is counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BindRequest {
    /// An account opens with a binding (RFC 8555 §7.3.4).
    NewAccount {
        /// The client's own newAccount request, with `externalAccountBinding` in its payload.
        request: Flattened,
    },
    /// A bound account gets another key (RFC 8555 §7.3.5).
    KeyChange {
        /// The client's own keyChange request: the old key's JWS around the new key's.
        request: Flattened,
        /// What the old key has.
        grant: GrantToken,
    },
    /// The same right for longer, before or after the grant has expired.
    Renew {
        /// What the account has.
        grant: GrantToken,
    },
}

/// The answer to `bind`. HTTP status: 200, or 4xx/5xx by the reason of the refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BindReply {
    /// Here it is; the first one of an account was journaled before this was sent.
    Bound(Bound),
    /// Never, or not in this state.
    Refused(Refused),
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// To be shown with each request for a certificate.
    pub token: GrantToken,
    /// The key id of the binding.
    pub binding: String,
    /// The signer's scope that it gives.
    pub scope: String,
    /// From then on it should be renewed.
    pub renew_after: Timestamp,
    /// After this it gives nothing any more.
    pub expires: Timestamp,
}
