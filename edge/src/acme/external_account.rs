//! External account binding (RFC 8555 §7.3.4): a client shows that an account that the operator keeps elsewhere agrees, by a
//! MAC with a key that the operator handed out. Reading the binding is pure; checking its MAC is behind a port, because
//! whoever holds those keys can make accounts with rights.

use std::{collections::BTreeMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use sha2::{Sha256, Sha384, Sha512};
use shared::{
    base64url::{self, Base64Url},
    json,
    jwk::Jwk,
    jws::Flattened,
};

/// Whether accounts need a binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindingPolicy {
    /// Bindings are ignored, and never shown with an account.
    #[default]
    Off,
    /// A binding that is there must be right.
    Optional,
    /// No account without one.
    Required,
}

/// A MAC algorithm of bindings (RFC 8555 §6.2, RFC 7518 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MacAlgorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}

/// A binding whose form is right and whose MAC nobody has checked.
#[derive(Debug)]
pub struct BindingClaim {
    proof: Flattened,
    key_id: String,
    algorithm: MacAlgorithm,
    mac: Vec<u8>,
}

/// A binding whose MAC is right, as it is stored with its account. Made by [`BindingClaim::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which of the operator's keys.
    pub key_id: String,
    /// What the client sent: shown with the account, and evidence for whoever does not trust the edge.
    pub proof: Flattened,
}

/// The operator's keys by their ids: the JSON object `{"key id": "base64url of the key"}`.
#[derive(Default)]
pub struct BindingKeys(BTreeMap<String, Vec<u8>>);

/// Why a binding is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBinding {
    /// Not a flattened JWS of base64url parts, or its header lacks a member or has one of another type.
    #[error(
        "\"externalAccountBinding\" is not a flattened JWS whose protected header has \"alg\", \"kid\" and \"url\" as texts"
    )]
    Form,
    /// A member that the protected header must not have.
    #[error("the protected header of \"externalAccountBinding\" has \"{0}\"")]
    Forbidden(&'static str),
    /// Not a MAC algorithm.
    #[error("the \"alg\" of \"externalAccountBinding\" is none of HS256, HS384 and HS512")]
    Algorithm,
    /// Not the newAccount URL.
    #[error("the \"url\" of \"externalAccountBinding\" is not the newAccount URL")]
    Url,
    /// The payload is another key than the account's.
    #[error("the payload of \"externalAccountBinding\" is not the account's key")]
    Payload,
    /// The key id is unknown, or the MAC does not verify: which of both a stranger need not learn.
    #[error("the MAC of \"externalAccountBinding\" does not verify under a key of this \"kid\"")]
    Mac,
}

/// Why the operator's keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBindingKeys {
    /// Not a JSON object of texts.
    #[error("not a JSON object of key ids with keys in base64url without padding")]
    Form,
    /// A key id that is empty, overlong or not ASCII (RFC 8555 §7.3.4), or a key that is too short to be one (RFC 7518 §3.2).
    #[error("a key id has 1 to 128 ASCII characters, a key at least 32 bytes")]
    Length,
}

impl MacAlgorithm {
    /// All of them, for `badSignatureAlgorithm`.
    pub const ALL: [Self; 3] = [Self::HS256, Self::HS384, Self::HS512];

    /// The registered name (RFC 7518 §3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }
}

impl BindingClaim {
    /// Reads a binding: everything that RFC 8555 §7.3.4 demands of it but the MAC. `account_key` is the key of the outer
    /// request, `url` the newAccount URL.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BadBinding`].
    pub fn parse(proof: Flattened, account_key: &Jwk, url: &str) -> Result<Self, BadBinding> {
        let decode = |text: &str| base64url::decode(text).map_err(|_| BadBinding::Form);
        let header: Header = json::object(&decode(&proof.protected)?).map_err(|_| BadBinding::Form)?;
        let forbidden = [
            ("nonce", header.nonce),
            ("jwk", header.jwk),
            // Extensions, none of which is known here (RFC 7515 §4.1.11, RFC 7797).
            ("crit", header.crit),
            ("b64", header.b64),
        ];
        if let Some((name, _)) = forbidden.into_iter().find(|(_, member)| member.is_some()) {
            return Err(BadBinding::Forbidden(name));
        }
        let algorithm = MacAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == header.alg);
        let algorithm = algorithm.ok_or(BadBinding::Algorithm)?;
        if header.url != url {
            return Err(BadBinding::Url);
        }
        let bound: Jwk = serde_json::from_slice(&decode(&proof.payload)?).map_err(|_| BadBinding::Payload)?;
        if bound != *account_key {
            return Err(BadBinding::Payload);
        }
        let mac = decode(&proof.signature)?;
        Ok(Self { proof, key_id: header.kid, algorithm, mac })
    }

    /// Checks the MAC, in constant time.
    ///
    /// # Errors
    /// [`BadBinding::Mac`].
    pub fn verify(self, keys: &BindingKeys) -> Result<Binding, BadBinding> {
        let key = keys.0.get(&self.key_id).ok_or(BadBinding::Mac)?;
        let message = [self.proof.protected.as_bytes(), b".", self.proof.payload.as_bytes()].concat();
        let valid = match self.algorithm {
            MacAlgorithm::HS256 => is_mac::<Hmac<Sha256>>(key, &message, &self.mac),
            MacAlgorithm::HS384 => is_mac::<Hmac<Sha384>>(key, &message, &self.mac),
            MacAlgorithm::HS512 => is_mac::<Hmac<Sha512>>(key, &message, &self.mac),
        };
        if valid { Ok(Binding { key_id: self.key_id, proof: self.proof }) } else { Err(BadBinding::Mac) }
    }
}

impl BindingKeys {
    /// Reads the operator's keys.
    ///
    /// # Errors
    /// [`BadBindingKeys`].
    pub fn parse(text: &str) -> Result<Self, BadBindingKeys> {
        let keys: BTreeMap<String, Base64Url> = json::object(text.as_bytes()).map_err(|_| BadBindingKeys::Form)?;
        let fits =
            |(id, key): (&String, &Base64Url)| (1..=128).contains(&id.len()) && id.is_ascii() && key.0.len() >= 32;
        if !keys.iter().all(fits) {
            return Err(BadBindingKeys::Length);
        }
        Ok(Self(keys.into_iter().map(|(id, key)| (id, key.0)).collect()))
    }
}

impl fmt::Debug for BindingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BindingKeys({} keys)", self.0.len())
    }
}

fn is_mac<M: Mac + KeyInit>(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(key).is_ok_and(|hmac| hmac.chain_update(message).verify_slice(mac).is_ok())
}

/// RFC 8555 §7.3.4. Members that are not known are ignored.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    url: String,
    nonce: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::testing::TestKey;

    use super::*;

    const URL: &str = "https://ca.test/acme/new-account";

    fn keys() -> BindingKeys {
        BindingKeys::parse(&json!({"one": base64url::encode(&[7; 32])}).to_string()).unwrap()
    }

    fn account_key() -> Jwk {
        TestKey::new(1).jwk()
    }

    fn header() -> Value {
        json!({"alg": "HS256", "kid": "one", "url": URL})
    }

    fn bind<M: Mac + KeyInit>(header: &Value, payload: &str) -> Flattened {
        let (protected, payload) =
            (base64url::encode(header.to_string().as_bytes()), base64url::encode(payload.as_bytes()));
        let mac = <M as KeyInit>::new_from_slice(&[7; 32]).unwrap().chain_update(format!("{protected}.{payload}"));
        Flattened { protected, payload, signature: base64url::encode(&mac.finalize().into_bytes()) }
    }

    fn check(proof: Flattened) -> Result<Binding, BadBinding> {
        BindingClaim::parse(proof, &account_key(), URL)?.verify(&keys())
    }

    #[test]
    fn a_binding_by_each_algorithm_is_accepted() {
        let payload = account_key().canonical_json();
        let with = |algorithm: &str| {
            let mut header = header();
            header["alg"] = json!(algorithm);
            header
        };
        assert_eq!(check(bind::<Hmac<Sha256>>(&with("HS256"), &payload)).unwrap().key_id, "one");
        assert!(check(bind::<Hmac<Sha384>>(&with("HS384"), &payload)).is_ok());
        assert!(check(bind::<Hmac<Sha512>>(&with("HS512"), &payload)).is_ok());
        assert_eq!(check(bind::<Hmac<Sha256>>(&with("HS512"), &payload)), Err(BadBinding::Mac));
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let key = account_key().canonical_json();
        let changed = |member: &str, value: Value| {
            let mut header = header();
            header[member] = value;
            bind::<Hmac<Sha256>>(&header, &key)
        };
        assert_eq!(check(changed("alg", json!("ES256"))), Err(BadBinding::Algorithm));
        assert_eq!(check(changed("alg", json!("none"))), Err(BadBinding::Algorithm));
        assert_eq!(check(changed("alg", json!(null))), Err(BadBinding::Form));
        assert_eq!(check(changed("kid", json!(1))), Err(BadBinding::Form));
        assert_eq!(check(changed("kid", json!("two"))), Err(BadBinding::Mac));
        assert_eq!(check(changed("url", json!("https://ca.test/acme/new-order"))), Err(BadBinding::Url));
        assert_eq!(check(changed("nonce", json!("x"))), Err(BadBinding::Forbidden("nonce")));
        assert_eq!(check(changed("jwk", json!({}))), Err(BadBinding::Forbidden("jwk")));
        assert_eq!(check(changed("crit", json!([]))), Err(BadBinding::Forbidden("crit")));
        assert_eq!(check(changed("b64", json!(false))), Err(BadBinding::Forbidden("b64")));
        assert_eq!(check(bind::<Hmac<Sha256>>(&header(), "{}")), Err(BadBinding::Payload));
        let other = TestKey::new(2).jwk().canonical_json();
        assert_eq!(check(bind::<Hmac<Sha256>>(&header(), &other)), Err(BadBinding::Payload));
        let good = bind::<Hmac<Sha256>>(&header(), &key);
        let cut = good.signature.chars().take(20).collect();
        assert_eq!(check(Flattened { signature: cut, ..good.clone() }), Err(BadBinding::Mac));
        assert_eq!(check(Flattened { signature: String::new(), ..good.clone() }), Err(BadBinding::Mac));
        assert_eq!(check(Flattened { protected: "e30".into(), ..good }), Err(BadBinding::Form));
    }

    /// RFC 8555 §7.3.4 MUST: a key id is ASCII.
    #[test]
    fn keys_that_are_none_are_refused_and_never_shown() {
        for text in ["", "[]", "{\"one\":1}", "{\"one\":\"AAAA=\"}"] {
            assert_eq!(BindingKeys::parse(text).unwrap_err(), BadBindingKeys::Form, "{text}");
        }
        let short = json!({"one": base64url::encode(&[7; 31])}).to_string();
        let unnamed = json!({"": base64url::encode(&[7; 32])}).to_string();
        let foreign = json!({"\u{fc}": base64url::encode(&[7; 32])}).to_string();
        for text in [short, unnamed, foreign] {
            assert_eq!(BindingKeys::parse(&text).unwrap_err(), BadBindingKeys::Length, "{text}");
        }
        assert_eq!(format!("{:?}", keys()), "BindingKeys(1 keys)");
    }
}
