//! JWS in the one form that ACME uses: flattened JSON with a protected header and nothing beside it (RFC 7515 §7.2.2,
//! RFC 8555 §6.2). Parsing gives an [`Unverified`]; only a valid signature turns it into a [`Verified`].

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{
    base64url,
    json::{self, NotTheObject},
    jwk::{Algorithm, BadJwk, JsonObject, Jwk, Thumbprint},
};

/// A flattened JWS as text, exactly as it was signed (RFC 7515 §7.2.2). Kept and forwarded so that another party can verify it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flattened {
    /// base64url of the protected header's JSON.
    pub protected: String,
    /// base64url of the payload; empty text for a POST-as-GET (RFC 8555 §6.3).
    pub payload: String,
    /// base64url of the signature.
    pub signature: String,
}

/// A JWS whose parts are well formed and whose signature nobody has checked.
#[derive(Debug)]
pub struct Unverified {
    flattened: Flattened,
    header: ProtectedHeader,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// A JWS whose signature is valid under a known key. Made by [`Unverified::verify`] and
/// [`Unverified::settle`], and by nothing else.
#[derive(Debug)]
pub struct Verified {
    flattened: Flattened,
    header: ProtectedHeader,
    payload: Vec<u8>,
    signer: Thumbprint,
}

/// A signature to check: the bytes that were signed, and the signature in JOSE form (RFC 7515 §5.2, RFC 7518 §3).
#[derive(Debug)]
pub struct SignatureClaim<'a> {
    /// base64url of the header, a dot, base64url of the payload.
    pub message: Vec<u8>,
    /// ECDSA: r ‖ s. EdDSA and RSA: as their standards have it.
    pub signature: &'a [u8],
}

/// What the protected header says (RFC 8555 §6.2).
#[derive(Clone, Debug)]
pub struct ProtectedHeader {
    /// The signature algorithm.
    pub algorithm: Algorithm,
    /// The request's own URL (RFC 8555 §6.4).
    pub url: String,
    /// The nonce as it came; absent in inner JWS (RFC 8555 §6.5.2).
    pub nonce: Option<String>,
    /// Whose key it is.
    pub key: KeyReference,
}

/// How a request names its key: either whole or by account URL, never both (RFC 8555 §6.2).
#[derive(Clone, Debug)]
pub enum KeyReference {
    /// The key itself: newAccount, and revocation by a certificate's key.
    Jwk(Box<Jwk>),
    /// The account's URL: everything else.
    Kid(String),
}

/// Why bytes are not a JWS that ACME accepts, or do not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJws {
    /// Not JSON of the flattened serialization.
    #[error("the body is not a flattened JWS, a JSON object of \"protected\", \"payload\" and \"signature\": {0}")]
    NotFlattened(NotTheObject),
    /// An unprotected header, or several signatures.
    #[error("the JWS has the member \"{0}\", which ACME does not allow")]
    Forbidden(&'static str),
    /// A member that is not base64url without padding; the nonce is one, too.
    #[error("the member \"{0}\" is not base64url without padding")]
    NotBase64Url(&'static str),
    /// The protected header is not a JSON object of the expected members.
    #[error("the protected header is not a JSON object with \"alg\", \"url\" and \"jwk\" or \"kid\": {0}")]
    NotAHeader(NotTheObject),
    /// A critical or unencoded-payload extension, none of which is known here (RFC 7515 §4.1.11, RFC 7797).
    #[error("the protected header has \"{0}\", which is not supported")]
    Extension(&'static str),
    /// Both `jwk` and `kid`, or neither.
    #[error("the protected header must have either \"jwk\" or \"kid\", not both and not neither")]
    JwkXorKid,
    /// An algorithm that account keys may not use; for `badSignatureAlgorithm` with `algorithms`.
    #[error("this signature algorithm is not accepted")]
    Algorithm,
    /// The key is of another algorithm than the header says.
    #[error("the header's \"alg\" does not fit the key")]
    AlgorithmKeyMismatch,
    /// The key in the header cannot be an account key; for `badPublicKey`.
    #[error(transparent)]
    Key(#[from] BadJwk),
    /// The signature does not verify.
    #[error("the signature does not verify under the key")]
    Signature,
}

impl Unverified {
    /// Parses a request's body. The caller has limited its size.
    ///
    /// # Errors
    /// The first thing that is wrong with its form; see [`BadJws`].
    pub fn parse(body: &[u8]) -> Result<Self, BadJws> {
        let object: FlattenedObject = json::object(body).map_err(BadJws::NotFlattened)?;
        if object.header.is_some() {
            return Err(BadJws::Forbidden("header"));
        }
        if object.signatures.is_some() {
            return Err(BadJws::Forbidden("signatures"));
        }
        Self::from_flattened(Flattened {
            protected: object.protected,
            payload: object.payload,
            signature: object.signature,
        })
    }

    /// Decodes the parts of a JWS that already is in its three members.
    ///
    /// # Errors
    /// The first thing that is wrong with its form; see [`BadJws`].
    pub fn from_flattened(flattened: Flattened) -> Result<Self, BadJws> {
        let part = |text: &str, name: &'static str| base64url::decode(text).map_err(|_| BadJws::NotBase64Url(name));
        let header = ProtectedHeader::parse(&part(&flattened.protected, "protected")?)?;
        let payload = part(&flattened.payload, "payload")?;
        let signature = part(&flattened.signature, "signature")?;
        Ok(Self { flattened, header, payload, signature })
    }

    /// The header, of which nothing is proven yet.
    #[must_use]
    pub const fn header(&self) -> &ProtectedHeader {
        &self.header
    }

    /// The payload, of which nothing is proven yet. Only routing may look at it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Checks that the algorithm fits the key, then the signature (RFC 7515 §5.2).
    ///
    /// # Errors
    /// [`BadJws::AlgorithmKeyMismatch`] or [`BadJws::Signature`].
    pub fn verify(self, key: &Jwk) -> Result<Verified, BadJws> {
        let claim = self.claim(key)?;
        let valid = key.verify(&claim.message, claim.signature);
        self.settle(key, valid)
    }

    /// What must be checked under the key, for a platform whose own cryptography is faster than this crate's. Its verdict goes
    /// to [`Self::settle`].
    ///
    /// # Errors
    /// [`BadJws::AlgorithmKeyMismatch`].
    pub fn claim(&self, key: &Jwk) -> Result<SignatureClaim<'_>, BadJws> {
        if key.algorithm() != self.header.algorithm {
            return Err(BadJws::AlgorithmKeyMismatch);
        }
        let message = [self.flattened.protected.as_bytes(), b".", self.flattened.payload.as_bytes()].concat();
        Ok(SignatureClaim { message, signature: &self.signature })
    }

    /// Takes the verdict on [`Self::claim`]: was the signature valid under this key?
    ///
    /// # Errors
    /// [`BadJws::Signature`] when it was not, [`BadJws::AlgorithmKeyMismatch`] when there was no claim to judge.
    pub fn settle(self, key: &Jwk, valid: bool) -> Result<Verified, BadJws> {
        if key.algorithm() != self.header.algorithm {
            return Err(BadJws::AlgorithmKeyMismatch);
        }
        let Self { flattened, header, payload, .. } = self;
        if valid {
            Ok(Verified { flattened, header, payload, signer: key.thumbprint() })
        } else {
            Err(BadJws::Signature)
        }
    }
}

impl Verified {
    /// The header that the key has signed.
    #[must_use]
    pub const fn header(&self) -> &ProtectedHeader {
        &self.header
    }

    /// The payload that the key has signed; empty for a POST-as-GET.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The thumbprint of the key that signed.
    #[must_use]
    pub const fn signer(&self) -> Thumbprint {
        self.signer
    }

    /// The JWS as text, for another party to verify.
    #[must_use]
    pub const fn flattened(&self) -> &Flattened {
        &self.flattened
    }

    /// Gives up the proof, keeping the text.
    #[must_use]
    pub fn into_flattened(self) -> Flattened {
        self.flattened
    }
}

impl ProtectedHeader {
    fn parse(json: &[u8]) -> Result<Self, BadJws> {
        let header: HeaderObject = json::object(json).map_err(BadJws::NotAHeader)?;
        if header.crit.is_some() {
            return Err(BadJws::Extension("crit"));
        }
        if header.b64.is_some() {
            return Err(BadJws::Extension("b64"));
        }
        let algorithm =
            Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == header.alg).ok_or(BadJws::Algorithm)?;
        let key = match (header.jwk, header.kid) {
            (Some(jwk), None) => {
                let jwk = Jwk::try_from(jwk)?;
                if jwk.algorithm() != algorithm {
                    return Err(BadJwk::OtherAlgorithm.into());
                }
                KeyReference::Jwk(Box::new(jwk))
            }
            (None, Some(kid)) => KeyReference::Kid(kid),
            _ => return Err(BadJws::JwkXorKid),
        };
        // RFC 8555 §6.5.2.
        if header.nonce.as_deref().is_some_and(|nonce| base64url::decode(nonce).is_err()) {
            return Err(BadJws::NotBase64Url("nonce"));
        }
        Ok(Self { algorithm, url: header.url, nonce: header.nonce, key })
    }
}

/// Duplicate members are errors (serde's derive); unknown ones are ignored, as RFC 7515 §7.2.1 requires, but for the two
/// that ACME forbids.
#[derive(Deserialize)]
struct FlattenedObject {
    protected: String,
    payload: String,
    signature: String,
    header: Option<IgnoredAny>,
    signatures: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct HeaderObject {
    alg: String,
    url: String,
    nonce: Option<String>,
    jwk: Option<JsonObject>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::{Signature, SigningKey, signature::Signer};
    use serde_json::{Value, json};

    fn key() -> SigningKey {
        SigningKey::from_slice(&[7; 32]).unwrap()
    }

    fn jwk() -> Value {
        let point = key().verifying_key().to_sec1_point(false);
        json!({"kty": "EC", "crv": "P-256", "x": base64url::encode(point.x().unwrap()), "y": base64url::encode(point.y().unwrap())})
    }

    fn signed(header: &Value, payload: &[u8]) -> Value {
        let protected = base64url::encode(header.to_string().as_bytes());
        let payload = base64url::encode(payload);
        let signature: Signature = key().sign(format!("{protected}.{payload}").as_bytes());
        json!({"protected": protected, "payload": payload, "signature": base64url::encode(&signature.to_bytes())})
    }

    fn header() -> Value {
        json!({"alg": "ES256", "url": "https://ca.test/acme/new-account", "nonce": "bm9uY2U", "jwk": jwk()})
    }

    fn parse(value: &Value) -> Result<Unverified, BadJws> {
        Unverified::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_signed_request_verifies_and_keeps_its_text() {
        let body = signed(&header(), b"{}");
        let key: Jwk = serde_json::from_value(jwk()).unwrap();
        let verified = parse(&body).unwrap().verify(&key).unwrap();
        assert_eq!(verified.payload(), b"{}");
        assert_eq!(verified.signer(), key.thumbprint());
        let again = Unverified::from_flattened(verified.into_flattened()).unwrap();
        assert!(again.verify(&key).is_ok());
    }

    #[test]
    fn every_changed_part_breaks_the_signature() {
        let key: Jwk = serde_json::from_value(jwk()).unwrap();
        let mut body = signed(&header(), b"{}");
        body["payload"] = json!(base64url::encode(b"{ }"));
        assert_eq!(parse(&body).unwrap().verify(&key).unwrap_err(), BadJws::Signature);
        let mut body = signed(&header(), b"{}");
        body["signature"] = json!(base64url::encode(&[0; 64]));
        assert_eq!(parse(&body).unwrap().verify(&key).unwrap_err(), BadJws::Signature);
    }

    #[test]
    fn a_der_signature_is_refused() {
        let key: Jwk = serde_json::from_value(jwk()).unwrap();
        let mut body = signed(&header(), b"{}");
        let message = format!("{}.{}", body["protected"].as_str().unwrap(), body["payload"].as_str().unwrap());
        let signature: Signature = self::key().sign(message.as_bytes());
        body["signature"] = json!(base64url::encode(signature.to_der().as_bytes()));
        assert_eq!(parse(&body).unwrap().verify(&key).unwrap_err(), BadJws::Signature);
    }

    #[test]
    fn forms_that_acme_forbids_are_refused() {
        let mut body = signed(&header(), b"");
        body["header"] = json!({});
        assert_eq!(parse(&body).unwrap_err(), BadJws::Forbidden("header"));
        let mut body = signed(&header(), b"");
        body["signatures"] = json!([]);
        assert_eq!(parse(&body).unwrap_err(), BadJws::Forbidden("signatures"));
        let mut body = signed(&header(), b"");
        body["payload"] = json!("e30=");
        assert_eq!(parse(&body).unwrap_err(), BadJws::NotBase64Url("payload"));
        let twice = r#"{"protected":"","protected":"","payload":"","signature":""}"#;
        assert_eq!(
            Unverified::parse(twice.as_bytes()).unwrap_err().to_string(),
            "the body is not a flattened JWS, a JSON object of \"protected\", \"payload\" and \"signature\": \
             \"protected\": duplicate field `protected`"
        );
    }

    #[test]
    fn headers_that_acme_forbids_are_refused() {
        let with = |name: &str, value: Value| {
            let mut header = header();
            header[name] = value;
            parse(&signed(&header, b"")).unwrap_err()
        };
        assert_eq!(with("crit", json!(["exp"])), BadJws::Extension("crit"));
        assert_eq!(with("b64", json!(false)), BadJws::Extension("b64"));
        assert_eq!(with("kid", json!("https://ca.test/acme/account/1")), BadJws::JwkXorKid);
        assert_eq!(with("alg", json!("none")), BadJws::Algorithm);
        assert_eq!(with("alg", json!("HS256")), BadJws::Algorithm);
        let other_type = with("url", json!(1));
        assert!(matches!(other_type, BadJws::NotAHeader(_)), "{other_type}");
        assert!(
            other_type.to_string().ends_with("\"url\": invalid type: integer `1`, expected a string"),
            "{other_type}"
        );
        assert_eq!(with("alg", json!("RS256")), BadJws::Key(BadJwk::OtherAlgorithm));
        for nonce in ["n", "AAAA=", "AA+A", "a nonce"] {
            assert_eq!(with("nonce", json!(nonce)), BadJws::NotBase64Url("nonce"), "{nonce}");
        }
    }

    #[test]
    fn an_algorithm_of_another_key_is_refused_before_the_signature() {
        let key: Jwk = serde_json::from_value(jwk()).unwrap();
        let header = json!({"alg": "RS256", "url": "https://ca.test/", "kid": "https://ca.test/acme/account/1"});
        assert_eq!(parse(&signed(&header, b"")).unwrap().verify(&key).unwrap_err(), BadJws::AlgorithmKeyMismatch);
    }
}
