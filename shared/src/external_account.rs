//! External account binding (RFC 8555 §7.3.4): a client shows that an account that the operator keeps elsewhere agrees, by a
//! MAC with a key that the operator handed out. The edge reads it for its form; the signer, which holds the keys, checks it.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, de::IgnoredAny};
use sha2::{Sha256, Sha384, Sha512};

use crate::{base64url, json, jwk::Jwk, jws::Flattened};

/// The shortest key in bytes (RFC 7518 §3.2 for HS256).
pub const KEY_MIN_BYTES: usize = 32;

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

/// The most characters of a client's text that an error repeats.
const SHOWN: usize = 300;

/// Why a binding is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    #[error("the \"url\" of \"externalAccountBinding\" is {seen:?}, and must be the newAccount URL: {expected:?}")]
    Url {
        /// The newAccount URL.
        expected: String,
        /// The beginning of what it is instead.
        seen: String,
    },
    /// The payload is another key than the account's.
    #[error("the payload of \"externalAccountBinding\" is not the account's key")]
    Payload,
    /// The key id is unknown, or the MAC does not verify: which of both a stranger need not learn.
    #[error("the MAC of \"externalAccountBinding\" does not verify under a key of this \"kid\"")]
    Mac,
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
            let seen = header.url.chars().take(SHOWN).collect();
            return Err(BadBinding::Url { expected: url.to_owned(), seen });
        }
        let bound: Jwk = serde_json::from_slice(&decode(&proof.payload)?).map_err(|_| BadBinding::Payload)?;
        if bound != *account_key {
            return Err(BadBinding::Payload);
        }
        let mac = decode(&proof.signature)?;
        Ok(Self { proof, key_id: header.kid, algorithm, mac })
    }

    /// Which of the operator's keys it is by.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What the client sent.
    #[must_use]
    pub const fn proof(&self) -> &Flattened {
        &self.proof
    }

    /// Checks the MAC, in constant time.
    ///
    /// # Errors
    /// [`BadBinding::Mac`].
    pub fn verify(&self, key: &[u8]) -> Result<(), BadBinding> {
        let message = [self.proof.protected.as_bytes(), b".", self.proof.payload.as_bytes()].concat();
        let valid = match self.algorithm {
            MacAlgorithm::HS256 => is_mac::<Hmac<Sha256>>(key, &message, &self.mac),
            MacAlgorithm::HS384 => is_mac::<Hmac<Sha384>>(key, &message, &self.mac),
            MacAlgorithm::HS512 => is_mac::<Hmac<Sha512>>(key, &message, &self.mac),
        };
        if valid { Ok(()) } else { Err(BadBinding::Mac) }
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

    use super::*;
    use crate::testing::TestKey;

    const URL: &str = "https://ca.test/acme/new-account";

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

    /// The key id of a binding that is right.
    fn check(proof: Flattened) -> Result<String, BadBinding> {
        let claim = BindingClaim::parse(proof, &account_key(), URL)?;
        claim.verify(&[7; 32])?;
        Ok(claim.key_id().to_owned())
    }

    #[test]
    fn a_binding_by_each_algorithm_is_accepted() {
        let payload = account_key().canonical_json();
        let with = |algorithm: &str| {
            let mut header = header();
            header["alg"] = json!(algorithm);
            header
        };
        assert_eq!(check(bind::<Hmac<Sha256>>(&with("HS256"), &payload)).unwrap(), "one");
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
        assert_eq!(
            check(changed("url", json!("https://ca.test/acme/new-order"))),
            Err(BadBinding::Url { expected: URL.into(), seen: "https://ca.test/acme/new-order".into() })
        );
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
}
