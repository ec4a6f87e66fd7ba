//! Bound ServiceAccount tokens: compact JWS (RFC 7515 §7.1) of JWT claims (RFC 7519 §4.1) and the claim `kubernetes.io`.
//! The header names a key of the cluster and nothing else: keys that a token brings or points to are refused, not ignored.

use super::{evidence::MAX_TOKEN, keys::KeySet, refusal::BadToken, workload::Workload};
use crate::{base64url, json, jwk::Algorithm, timestamp::Timestamp};
use serde::{Deserialize, de::IgnoredAny};

/// Seconds that a cluster's clock may differ from ours.
const SKEW: u64 = 30;

/// The longest key id or issuer, in bytes.
const MAX_TEXT: usize = 512;

/// A token whose form is right and of which nothing is proven.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// Header, dot, claims: what is signed.
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: String,
    claims: Claims,
}

/// What a token must meet beside its signature.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The audience that is bound to the account and the challenge.
    pub bound: &'a str,
    /// The audience that is not, where it is allowed.
    pub unbound: Option<&'a str>,
    /// From `iat` to `exp`, in seconds.
    pub max_seconds: u64,
    /// The time.
    pub now: Timestamp,
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`BadToken::Form`], [`BadToken::Header`], [`BadToken::Algorithm`], [`BadToken::Legacy`], [`BadToken::Subject`].
    pub fn parse(text: &'a str) -> Result<Self, BadToken> {
        if text.len() > MAX_TOKEN {
            return Err(BadToken::Form);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(BadToken::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Form)?;
        let part = |text: &str| base64url::decode(text).map_err(|_| BadToken::Form);
        let (algorithm, key_id) = read_header(&part(header)?)?;
        let claims = Claims::parse(&part(claims)?)?;
        let signature = part(signature)?;
        if signature.is_empty() {
            Err(BadToken::Form)
        } else {
            Ok(Self { signed, signature, algorithm, key_id, claims })
        }
    }

    /// Who says that it made the token: which cluster to ask.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// The key that is said to have signed it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The token's one audience, when it is one of those that are accepted.
    ///
    /// # Errors
    /// [`BadToken::Audience`].
    pub fn audience(&self, terms: &Terms<'_>) -> Result<&str, BadToken> {
        let audience = match &self.claims.aud {
            Audience::One(audience) => audience,
            // A token for several could be presented here by any of the others.
            Audience::Several(list) => match list.as_slice() {
                [audience] => audience,
                _ => return Err(BadToken::Audience),
            },
        };
        let accepted = audience == terms.bound || terms.unbound.is_some_and(|unbound| audience == unbound);
        if accepted { Ok(audience) } else { Err(BadToken::Audience) }
    }

    /// Checks the audience and the times.
    ///
    /// # Errors
    /// [`BadToken::Audience`], [`BadToken::Expired`], [`BadToken::NotYet`], [`BadToken::TooLong`].
    pub fn check(&self, terms: &Terms<'_>) -> Result<(), BadToken> {
        self.audience(terms)?;
        let (now, latest) = (terms.now.seconds(), terms.now.plus(SKEW).seconds());
        let Claims { exp, nbf, iat, .. } = self.claims;
        if exp.saturating_add(SKEW) <= now || exp <= iat {
            return Err(BadToken::Expired);
        }
        if iat > latest || nbf.is_some_and(|nbf| nbf > latest) {
            return Err(BadToken::NotYet);
        }
        if exp.saturating_sub(iat) > terms.max_seconds { Err(BadToken::TooLong) } else { Ok(()) }
    }

    /// Checks the signature under the cluster's keys.
    ///
    /// # Errors
    /// [`BadToken::UnknownKey`], [`BadToken::Signature`].
    pub fn verify(&self, keys: &KeySet) -> Result<(), BadToken> {
        if !keys.has(&self.key_id) {
            return Err(BadToken::UnknownKey);
        }
        let valid = keys
            .of(&self.key_id)
            .any(|key| key.algorithm() == self.algorithm && key.verify(self.signed.as_bytes(), &self.signature));
        if valid { Ok(()) } else { Err(BadToken::Signature) }
    }

    /// Whose token it says to be.
    #[must_use]
    pub fn workload(&self) -> Workload {
        let kubernetes = &self.claims.kubernetes;
        Workload {
            namespace: kubernetes.namespace.clone(),
            service_account: kubernetes.serviceaccount.name.clone(),
            pod: kubernetes.pod.name.clone(),
        }
    }

    /// The pod that it is bound to, by the cluster's id: another pod of the same name has another.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        &self.claims.kubernetes.pod.uid
    }

    /// `sub`: the user name that the API server knows it by.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.claims.sub
    }

    /// The service account, by the cluster's id.
    #[must_use]
    pub fn service_account_uid(&self) -> &str {
        &self.claims.kubernetes.serviceaccount.uid
    }
}

fn read_header(bytes: &[u8]) -> Result<(Algorithm, String), BadToken> {
    let header: Header = json::object(bytes).map_err(|_| BadToken::Form)?;
    let forbidden = [
        ("crit", header.crit),
        ("b64", header.b64),
        ("jku", header.jku),
        ("jwk", header.jwk),
        ("x5u", header.x5u),
        ("x5c", header.x5c),
    ];
    if let Some((name, _)) = forbidden.iter().find(|(_, member)| member.is_some()) {
        return Err(BadToken::Header(name));
    }
    let algorithm = match header.alg.as_str() {
        "RS256" => Algorithm::Rs256,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        _ => return Err(BadToken::Algorithm),
    };
    let key_id = header.kid.filter(|id| (1..=MAX_TEXT).contains(&id.len())).ok_or(BadToken::Form)?;
    Ok((algorithm, key_id))
}

/// Duplicate members are errors.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
}

/// The claims of a bound token, all of which it must have but `nbf`. Whole seconds: a fraction is refused.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    nbf: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Reference,
    serviceaccount: Reference,
}

#[derive(Debug, Deserialize)]
struct Reference {
    name: String,
    uid: String,
}

/// Tells a legacy token, so that its holder learns what to do.
#[derive(Deserialize)]
struct Legacy {
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: Option<IgnoredAny>,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: Option<IgnoredAny>,
}

impl Claims {
    fn parse(bytes: &[u8]) -> Result<Self, BadToken> {
        let legacy: Legacy = json::object(bytes).map_err(|_| BadToken::Form)?;
        if legacy.namespace.is_some() || legacy.name.is_some() {
            return Err(BadToken::Legacy);
        }
        let claims: Self = json::object(bytes).map_err(|_| BadToken::Form)?;
        let Kubernetes { namespace, pod, serviceaccount } = &claims.kubernetes;
        let texts = [&claims.iss, namespace, &pod.name, &pod.uid, &serviceaccount.name, &serviceaccount.uid];
        if !texts.iter().all(|text| (1..=MAX_TEXT).contains(&text.len())) {
            return Err(BadToken::Form);
        }
        let subject = format!("system:serviceaccount:{namespace}:{}", serviceaccount.name);
        if claims.sub == subject { Ok(claims) } else { Err(BadToken::Subject) }
    }
}
