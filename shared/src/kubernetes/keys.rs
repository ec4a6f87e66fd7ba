//! A cluster's key set (RFC 7517 §5), as its API server publishes it for the discovery of its issuer.

use serde::Deserialize;

use super::refusal::BadToken;
use crate::{
    json,
    jwk::{Algorithm, BadJwk, JsonObject, Jwk},
};

/// The largest key set, in bytes.
pub const MAX_KEY_SET: usize = 64 * 1024;

/// The most keys of one set.
const MAX_KEYS: usize = 32;

/// The keys that may sign tokens, each with its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<(String, Jwk)>);

impl KeySet {
    /// Reads a set. Keys without an id, for another use, or of a kind that signs no token are left out.
    ///
    /// # Errors
    /// [`BadToken::KeySet`]: not a set, too large, with private keys, or nothing is left of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadToken> {
        let object: KeySetObject = json::object(bytes).map_err(|_| BadToken::KeySet)?;
        if bytes.len() > MAX_KEY_SET || object.keys.len() > MAX_KEYS {
            return Err(BadToken::KeySet);
        }
        let mut keys = Vec::new();
        for key in object.keys {
            let text = |member: &str| key.get(member).and_then(serde_json::Value::as_str);
            let (id, signs) = (text("kid").map(str::to_owned), text("use").is_none_or(|purpose| purpose == "sig"));
            let named = text("alg").map(str::to_owned);
            // Only the members of the key itself: others, such as a certificate chain, say nothing here.
            let members = ["kty", "crv", "x", "y", "n", "e", "d", "k", "p", "q", "dp", "dq", "qi", "oth"];
            let bare: JsonObject = key.into_iter().filter(|(name, _)| members.contains(&name.as_str())).collect();
            match (Jwk::try_from(bare), id) {
                (Ok(jwk), Some(id)) => {
                    let algorithm = jwk.algorithm();
                    if signs && algorithm != Algorithm::EdDsa && named.is_none_or(|name| name == algorithm.name()) {
                        keys.push((id, jwk));
                    }
                }
                (Err(BadJwk::Private), _) => return Err(BadToken::KeySet),
                _ => {}
            }
        }
        if keys.is_empty() { Err(BadToken::KeySet) } else { Ok(Self(keys)) }
    }

    /// The keys of this id.
    pub fn of(&self, id: &str) -> impl Iterator<Item = &Jwk> {
        self.0.iter().filter(move |(known, _)| known == id).map(|(_, jwk)| jwk)
    }

    /// True when it has a key of this id.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.of(id).next().is_some()
    }
}

#[derive(Deserialize)]
struct KeySetObject {
    keys: Vec<JsonObject>,
}
